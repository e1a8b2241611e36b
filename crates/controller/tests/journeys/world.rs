//! A hub, workload clusters, a Git server and an engine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fairway_apiserver::{Config, Faults, Server};
use fairway_apply::api::ApplyOptions;
use fairway_apply::{Connection, Mapper, Session, Strictness};
use fairway_controller::clock::Clock;
use fairway_controller::{Engine, Options, Profile};
use fairway_testkit::GitServer;
use serde_json::{Value, json};

pub(crate) const HUB: &str = "management";
pub(crate) const NS: &str = "flux-system";

/// How long anything may take until it is called a failure.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) git: GitServer,
    pub(crate) engine: Option<Engine>,
    sessions: BTreeMap<String, (Session, Mapper, Connection)>,
    data: tempfile::TempDir,
}

impl World {
    /// A hub and these workload clusters; nothing runs yet.
    pub(crate) async fn new(clusters: &[&str]) -> Self {
        Self::with_definitions(clusters, &fairway_types::crds()).await
    }

    /// The same with other definitions on the hub.
    pub(crate) async fn with_definitions(clusters: &[&str], definitions: &[Value]) -> Self {
        let names: Vec<String> = std::iter::once(HUB)
            .chain(clusters.iter().copied())
            .map(str::to_owned)
            .collect();
        let config = Config {
            clusters: names.clone(),
            rollout_delay: Duration::from_millis(50),
            ..Config::default()
        };
        let server = Server::start(config).await.unwrap();
        let mut sessions = BTreeMap::new();
        for name in names {
            let connection = connect(&server, &name).await;
            sessions.insert(
                name,
                (connection.session(), Mapper::new(&connection), connection),
            );
        }
        let git = GitServer::start("fleet").await.unwrap();
        let world = Self {
            server,
            git,
            engine: None,
            sessions,
            data: tempfile::tempdir().unwrap(),
        };
        for definition in definitions {
            world.apply(HUB, definition).await;
        }
        world.namespace(HUB, NS).await;
        for cluster in clusters {
            world.namespace(cluster, NS).await;
        }
        world
    }

    /// The same clusters and the same repository, and a hub that has nothing of what was on the old one.
    pub(crate) async fn with_empty_hub(mut self) -> Self {
        assert!(self.engine.is_none(), "the engine still runs");
        self.server.remove_cluster(HUB).unwrap();
        self.server.add_cluster(HUB).await.unwrap();
        let connection = connect(&self.server, HUB).await;
        let known = (connection.session(), Mapper::new(&connection), connection);
        self.sessions.insert(HUB.to_owned(), known);
        self.data = tempfile::tempdir().unwrap();
        for definition in fairway_types::crds() {
            self.apply(HUB, &definition).await;
        }
        self.namespace(HUB, NS).await;
        self
    }

    /// Where the engine may keep its mirrors.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.data.path()
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.data.path(), Profile::Flux)
    }

    pub(crate) async fn start(&mut self) {
        let options = self.options();
        self.start_with(options).await;
    }

    pub(crate) async fn start_with(&mut self, options: Options) {
        let connection = connect(&self.server, HUB).await;
        self.engine = Some(Engine::start(connection, options).await.unwrap());
    }

    /// With another clock for what is told.
    pub(crate) async fn start_by(&mut self, clock: Clock) {
        let connection = connect(&self.server, HUB).await;
        let engine = Engine::start_with(connection, self.options(), clock).await;
        self.engine = Some(engine.unwrap());
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.engine.take().unwrap().shutdown().await;
    }

    /// Commits to `main` and lets the engine know.
    pub(crate) async fn push(&self, files: &[(&str, Option<&str>)]) -> String {
        let commit = self.git.commit("Change", files).await.unwrap();
        if let Some(engine) = &self.engine {
            engine.poke_all();
        }
        format!("main@sha1:{commit}")
    }

    fn at(&self, cluster: &str) -> &(Session, Mapper, Connection) {
        &self.sessions[cluster]
    }

    pub(crate) async fn apply(&self, cluster: &str, object: &Value) {
        let (session, mapper, _) = self.at(cluster);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (api_version, kind) = (
                object["apiVersion"].as_str().unwrap(),
                object["kind"].as_str().unwrap(),
            );
            let resource = mapper.resource(api_version, kind).await;
            let options = ApplyOptions {
                manager: "somebody",
                dry_run: false,
            };
            let error = match resource {
                Ok(resource) => match session.apply(&resource, object, options).await {
                    Ok(_) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            assert!(Instant::now() < deadline, "{error}: {object}");
            mapper.expire();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn namespace(&self, cluster: &str, name: &str) {
        self.apply(
            cluster,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await;
    }

    pub(crate) async fn get(
        &self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        let (session, mapper, _) = self.at(cluster);
        let resource = mapper.of_kind(kind).await.ok()?;
        session.get(&resource, namespace, name).await.unwrap()
    }

    /// Until a cluster that was away listens again.
    pub(crate) async fn reachable(&self, cluster: &str) {
        let (session, mapper, _) = self.at(cluster);
        let until = async {
            loop {
                if let Ok(resource) = mapper.of_kind("Namespace").await
                    && session.get(&resource, "", "default").await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let listens = tokio::time::timeout(Duration::from_secs(20), until).await;
        listens.unwrap_or_else(|_| panic!("{cluster} listens again"));
    }

    pub(crate) async fn list(&self, cluster: &str, kind: &str, namespace: &str) -> Vec<Value> {
        let (session, mapper, _) = self.at(cluster);
        let resource = mapper.of_kind(kind).await.unwrap();
        session.list(&resource, namespace, "").await.unwrap().items
    }

    pub(crate) async fn delete(&self, cluster: &str, kind: &str, namespace: &str, name: &str) {
        let (session, mapper, _) = self.at(cluster);
        let resource = mapper.of_kind(kind).await.unwrap();
        assert!(
            session
                .delete(&resource, namespace, name, None)
                .await
                .unwrap()
        );
    }

    /// Patches as a person with kubectl would.
    pub(crate) async fn edit(
        &self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        operations: Value,
    ) {
        let (session, mapper, _) = self.at(cluster);
        let resource = mapper.of_kind(kind).await.unwrap();
        session
            .json_patch(&resource, namespace, name, &operations, "kubectl-edit")
            .await
            .unwrap();
    }

    pub(crate) fn faults(&self, cluster: &str) -> Faults {
        self.server.faults(cluster).unwrap()
    }

    /// Requests to a cluster so far that were no watches.
    pub(crate) fn requests(&self, cluster: &str) -> BTreeMap<(String, String), u64> {
        self.server
            .request_counts(cluster)
            .unwrap()
            .into_iter()
            .filter(|((verb, _), _)| verb != "watch")
            .collect()
    }

    /// The GitRepository `fleet` for the Git server.
    pub(crate) async fn source(&self) {
        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": NS},
            "spec": {"interval": "10m", "url": self.git.url(), "ref": {"branch": "main"}},
        });
        self.apply(HUB, &source).await;
    }

    /// A Kustomization; `more` is added to its spec.
    pub(crate) async fn kustomization(&self, name: &str, path: &str, more: Value) {
        let mut spec = json!({
            "interval": "10m", "retryInterval": "1s", "timeout": "30s", "prune": true, "path": path,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": name, "namespace": NS}, "spec": spec,
        });
        self.apply(HUB, &object).await;
    }

    /// Registers a workload cluster with labels.
    pub(crate) async fn cluster(&self, name: &str, labels: Value, more: Value) {
        let kubeconfig = self.server.kubeconfig_for(name).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("{name}-kubeconfig"), "namespace": NS},
            "stringData": {"value": kubeconfig},
        });
        self.apply(HUB, &secret).await;
        let mut spec = json!({"kubeConfig": {"secretRef": {"name": format!("{name}-kubeconfig")}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let cluster = json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": name, "namespace": NS, "labels": labels}, "spec": spec,
        });
        self.apply(HUB, &cluster).await;
    }

    /// Waits until an object of the hub says this of its Ready condition, and returns the object.
    pub(crate) async fn ready(
        &self,
        kind: &str,
        name: &str,
        wanted: impl Fn(&Value, &str, &str, &str) -> bool,
    ) -> Value {
        self.ready_on(HUB, kind, name, wanted).await
    }

    pub(crate) async fn ready_on(
        &self,
        cluster: &str,
        kind: &str,
        name: &str,
        wanted: impl Fn(&Value, &str, &str, &str) -> bool,
    ) -> Value {
        self.until(async || {
            let object = self
                .get(cluster, kind, NS, name)
                .await
                .ok_or("it is not there")?;
            let ready = condition(&object, "Ready");
            let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
            if wanted(&object, &text("status"), &text("reason"), &text("message")) {
                return Ok(object);
            }
            Err(format!("{kind}/{name}: {}", object["status"]))
        })
        .await
    }

    /// Waits until a Kustomization of the hub is applied at a revision.
    pub(crate) async fn applied(&self, name: &str, revision: &str) -> Value {
        self.ready("Kustomization", name, |object, status, _, _| {
            status == "True" && object["status"]["lastAppliedRevision"] == revision
        })
        .await
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(&self, check: impl AsyncFn() -> Result<T, String>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match check().await {
                Ok(found) => return found,
                Err(error) if Instant::now() > deadline => panic!("still not so: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Changes a Kustomization by a merge patch of its metadata's annotations.
    pub(crate) async fn annotate(&self, name: &str, annotations: Value) {
        self.merge(
            "Kustomization",
            name,
            json!({"metadata": {"annotations": annotations}}),
        )
        .await;
    }

    /// Changes the spec of a Kustomization by a merge patch.
    pub(crate) async fn change(&self, name: &str, spec: Value) {
        self.merge("Kustomization", name, json!({"spec": spec}))
            .await;
    }

    /// A merge patch on an object of the hub.
    pub(crate) async fn merge(&self, kind: &str, name: &str, patch: Value) {
        let (_, mapper, connection) = self.at(HUB);
        let resource = mapper.of_kind(kind).await.unwrap();
        let kind = kube::core::GroupVersionKind::gvk(&resource.group, &resource.version, kind);
        let kind = kube::core::ApiResource::from_gvk_with_plural(&kind, &resource.plural);
        let api: kube::Api<kube::core::DynamicObject> =
            kube::Api::namespaced_with(connection.client(), NS, &kind);
        let params = kube::api::PatchParams::default();
        api.patch(name, &params, &kube::api::Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Waits for an Event about an object of the hub.
    pub(crate) async fn event(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(async || {
            let (session, mapper, _) = self.at(HUB);
            let resource = mapper.resource("v1", "Event").await.unwrap();
            let events = session.list(&resource, NS, "").await.unwrap().items;
            let of: Vec<&Value> = events
                .iter()
                .filter(|event| event["involvedObject"]["name"] == name)
                .collect();
            match of.iter().find(|event| wanted(event)) {
                Some(found) => Ok((*found).clone()),
                None => Err(format!("no such event of {name}: {of:?}")),
            }
        })
        .await
    }

    /// Waits until the source is at a revision.
    pub(crate) async fn source_at(&self, revision: &str) {
        self.ready("GitRepository", "fleet", |object, _, _, _| {
            object["status"]["artifact"]["revision"] == revision
        })
        .await;
    }

    pub(crate) async fn until_gone(&self, cluster: &str, kind: &str, namespace: &str, name: &str) {
        self.until(
            async || match self.get(cluster, kind, namespace, name).await {
                None => Ok(()),
                Some(object) => Err(format!("still there: {}", object["metadata"])),
            },
        )
        .await;
    }

    pub(crate) async fn data(
        &self,
        cluster: &str,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Option<String> {
        let object = self.get(cluster, "ConfigMap", namespace, name).await?;
        object["data"][key].as_str().map(str::to_owned)
    }

    pub(crate) async fn until_data(
        &self,
        cluster: &str,
        namespace: &str,
        name: &str,
        key: &str,
        value: &str,
    ) {
        self.until(
            async || match self.data(cluster, namespace, name, key).await {
                Some(found) if found == value => Ok(()),
                found => Err(format!("{key} of {name} on {cluster} is {found:?}")),
            },
        )
        .await;
    }
}

pub(crate) async fn connect(server: &Server, name: &str) -> Connection {
    let kubeconfig = server.kubeconfig_for(name).unwrap();
    Connection::from_kubeconfig_yaml(&kubeconfig, None, Strictness::default())
        .await
        .unwrap()
}

/// A condition of an object; null where it is not there.
pub(crate) fn condition(object: &Value, kind: &str) -> Value {
    let list = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.into_iter()
        .find(|condition| condition["type"] == kind)
        .unwrap_or(Value::Null)
}

pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: default\ndata:\n  key: \"{value}\"\n"
    )
}
