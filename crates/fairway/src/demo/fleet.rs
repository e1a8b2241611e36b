//! Starting the simulated clusters, preparing them as a person would, and running the reconcilers on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fairway_apiserver::{Config, Server};
use fairway_apply::{Connection, Strictness};
use fairway_controller::{Engine, Handle, Options};
use kube::Client;
use serde_json::{Value, json};

use super::MANAGEMENT;
use super::origin::Origin;
use super::place::Place;
use super::plan::Plan;
use crate::hub;
use crate::setup::{self, Credentials, Registration};

/// How long a simulated pod takes to become ready.
const ROLLOUT_DELAY: Duration = Duration::from_millis(300);

/// The running clusters.
pub(crate) struct Fleet {
    server: Server,
    kubeconfig: PathBuf,
    hub: Client,
    engine: Option<Engine>,
}

impl Fleet {
    /// Starts the clusters and writes the kubeconfig.
    pub(crate) async fn start(place: &Place, plan: &Plan) -> anyhow::Result<Self> {
        let config = Config {
            clusters: plan.names(),
            data_dir: place.is_kept().then(|| place.dir().join("clusters")),
            rollout_delay: ROLLOUT_DELAY,
            schemaless_unknown: plan.is_foreign(),
            ..Config::default()
        };
        let server = Server::start(config).await?;
        let kubeconfig = place.write_private("kubeconfig", &server.kubeconfig())?;
        let hub = hub::client_for(Some(&kubeconfig), Some(MANAGEMENT)).await?;
        Ok(Self {
            server,
            kubeconfig,
            hub,
            engine: None,
        })
    }

    /// Installs the hub and registers each cluster, as `fairway install` and `fairway create cluster` do; applies
    /// `flux-manifests/`. What is there from the last start stays as it is.
    pub(crate) async fn prepare(&self, plan: &Plan, origin: &Origin) -> anyhow::Result<()> {
        setup::prepare_hub(&self.hub)
            .await
            .context("failed to install on the management cluster")?;
        if !plan.is_reference() {
            setup::apply(&self.hub, &[source(origin)]).await?;
        }
        let work = plan
            .registrations()
            .iter()
            .map(|registration| self.register(registration, plan));
        futures::future::try_join_all(work).await?;
        if plan.is_reference() {
            let view = origin.files()?;
            for path in view.files("flux-manifests")? {
                let bytes = view.read(&path)?;
                let objects = setup::documents(&String::from_utf8_lossy(&bytes))
                    .with_context(|| path.clone())?;
                // The source may have moved to another port since; it would never hear of that from itself.
                setup::apply_as_person(&self.hub, &objects, "GitRepository")
                    .await
                    .with_context(|| path.clone())?;
            }
        }
        Ok(())
    }

    async fn register(&self, registration: &Registration, plan: &Plan) -> anyhow::Result<()> {
        let name = &registration.name;
        let kubeconfig = hub::parse(&self.server.kubeconfig_for(name)?)?;
        let client = hub::client_for(Some(&self.kubeconfig), Some(name)).await?;
        // Flux is the cluster's administrator where it is bootstrapped, and its repositories count on it.
        let credentials = if plan.is_reference() {
            Credentials::ServiceAccount
        } else {
            Credentials::OfTheContext
        };
        let stored = setup::prepare(Some(&client), &kubeconfig, None, credentials)
            .await
            .with_context(|| format!("failed to register {name}"))?;
        let mut cluster = setup::cluster_object(registration);
        if let Some(path) = plan.sync_path(name) {
            cluster["spec"]["sync"] = json!({
                "sourceRef": {"kind": "GitRepository", "name": fairway_types::names::SYSTEM_NAMESPACE},
                "path": format!("./{path}"),
            });
            setup::apply_missing(&client, &accounts_of_flux()).await?;
            setup::apply_missing(&client, &setup::flux_definitions()).await?;
        }
        setup::apply_missing(&client, plan.definitions()).await?;
        setup::apply(
            &self.hub,
            &[setup::kubeconfig_secret(registration, &stored)],
        )
        .await?;
        if let Some(remote) = plan.remote(name) {
            let client = hub::client_for(Some(&self.kubeconfig), Some(&remote.hub)).await?;
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": remote.namespace}});
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": remote.secret, "namespace": remote.namespace},
                "stringData": {remote.key.as_deref().unwrap_or("value"): stored},
            });
            setup::apply_missing(&client, &[namespace]).await?;
            setup::apply(&client, &[secret]).await?;
        }
        setup::apply_missing(&self.hub, &[cluster]).await
    }

    /// Runs the reconcilers on the hub, with the account that `fairway install` made for them.
    pub(crate) async fn start_engine(
        &mut self,
        place: &Place,
        origin: &Origin,
        plan: &Plan,
    ) -> anyhow::Result<()> {
        let mut options = Options::new(place.dir().join("mirrors"), plan.profile());
        options.remotes = plan.fetched(origin);
        self.run_engine(options).await.map(|_| ())
    }

    /// The same with these options.
    pub(crate) async fn run_engine(&mut self, options: Options) -> anyhow::Result<Handle> {
        let admin = hub::parse(&self.server.kubeconfig_for(MANAGEMENT)?)?;
        let own = setup::controller_access(&self.hub, &admin)
            .await
            .context("failed to make the controller's account")?;
        let connection =
            Connection::from_kubeconfig_yaml(&own, None, Strictness::default()).await?;
        let engine = Engine::start(connection, options).await?;
        let handle = engine.handle();
        self.engine = Some(engine);
        Ok(handle)
    }

    /// Stops the reconcilers, where they run.
    pub(crate) async fn stop_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await;
        }
    }

    /// Clients of the clusters in which Kustomizations live beside the hub.
    pub(crate) async fn synced(&self, plan: &Plan) -> anyhow::Result<Vec<(String, Client)>> {
        let mut clients = Vec::new();
        for name in plan.synced() {
            let client = hub::client_for(Some(&self.kubeconfig), Some(name)).await?;
            clients.push((name.to_owned(), client));
        }
        Ok(clients)
    }

    /// What to call when something was pushed.
    pub(crate) fn poker(&self) -> impl Fn() + Send + Sync + 'static {
        let handle = self.engine.as_ref().map(Engine::handle);
        move || {
            if let Some(handle) = &handle {
                handle.poke_all();
            }
        }
    }

    /// Client of the management cluster.
    pub(crate) fn hub(&self) -> &Client {
        &self.hub
    }

    /// Path of the kubeconfig with all contexts.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// How many clusters there are.
    pub(crate) fn size(&self) -> usize {
        self.server.names().len()
    }

    /// The contexts, the management cluster first.
    pub(crate) fn contexts(&self) -> Vec<String> {
        let mut names = self.server.names();
        names.sort_by_key(|name| (name != MANAGEMENT, name.clone()));
        names
    }

    /// API requests to all clusters so far.
    pub(crate) fn requests(&self) -> u64 {
        let names = self.server.names();
        names
            .iter()
            .filter_map(|name| self.server.request_counts(name).ok())
            .flat_map(BTreeMap::into_values)
            .sum()
    }

    /// Stops the reconcilers, then the clusters, so that everything is on the disk.
    pub(crate) async fn stop(self) {
        if let Some(engine) = self.engine {
            engine.shutdown().await;
        }
        if let Err(error) = self.server.shutdown().await {
            eprintln!("failed to stop the simulated clusters: {error}");
        }
    }
}

/// The GitRepository on the hub that the synced clusters are bootstrapped from.
fn source(origin: &Origin) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {
            "name": fairway_types::names::SYSTEM_NAMESPACE,
            "namespace": fairway_types::names::SYSTEM_NAMESPACE,
        },
        "spec": {"interval": "1m0s", "url": origin.url(), "ref": {"branch": origin.branch()}},
    })
}

/// The accounts that Flux's own installation has, which Kustomizations of multi-tenant repositories name.
fn accounts_of_flux() -> Vec<Value> {
    const ACCOUNTS: [&str; 2] = ["kustomize-controller", "helm-controller"];
    let namespace = fairway_types::names::SYSTEM_NAMESPACE;
    let mut objects =
        vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})];
    objects.extend(ACCOUNTS.map(|name| {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        })
    }));
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cluster-reconciler-flux-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": ACCOUNTS.map(|name| {
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }),
    }));
    objects
}
