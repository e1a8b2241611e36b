//! The engine against API servers, over HTTPS like any cluster: the embedded one, and for the scenarios listed in
//! `everywhere!` a real one too, where `KUBEBUILDER_ASSETS` or `target/envtest` has its programs. Both must answer the
//! same.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, stop at what should not be"
)]

mod admission;
mod applying;
mod contract;
mod definitions;
mod observing;
mod reaching;
mod waiting;

use std::{collections::HashSet, sync::Arc, time::Duration};

use fairway_apiserver::{Config, Faults, Server};
use fairway_apply::{
    Connection, Mapper, Observer, Owner, Session, Strictness, engine, plan, prune,
};
use fairway_testkit::real::{Assets, ControlPlane};
use fairway_types::{Inventory, ObjectId};
use serde_json::{Value, json};

/// One cluster, and a Kustomization that owns objects on it.
struct Cluster {
    server: Option<Server>,
    connection: Connection,
    session: Session,
    mapper: Arc<Mapper>,
    owner: Owner,
    inventory: Inventory,
    observer: Option<Arc<Observer>>,
    force: bool,
    first: bool,
    correction: bool,
}

impl Cluster {
    /// A fresh cluster of the embedded API server.
    async fn start() -> Self {
        let config = Config {
            clusters: vec!["dev".into()],
            rollout_delay: Duration::from_millis(50),
            ..Config::default()
        };
        let server = Server::start(config).await.unwrap();
        let kubeconfig = server.kubeconfig_for("dev").unwrap();
        Self {
            server: Some(server),
            ..Self::reached_by(&kubeconfig).await
        }
    }

    async fn reached_by(kubeconfig: &str) -> Self {
        let connection = Connection::from_kubeconfig_yaml(kubeconfig, None, Strictness::default())
            .await
            .unwrap();
        Self {
            server: None,
            session: connection.session(),
            mapper: Arc::new(Mapper::new(&connection)),
            connection,
            owner: Owner {
                name: "apps".into(),
                namespace: "flux-system".into(),
            },
            inventory: Inventory::default(),
            observer: None,
            force: false,
            first: false,
            correction: false,
        }
    }

    fn server(&self) -> &Server {
        self.server
            .as_ref()
            .expect("only the embedded server is asked for this")
    }

    fn faults(&self) -> Faults {
        self.server().faults("dev").unwrap()
    }

    fn observe(&mut self) -> Arc<Observer> {
        let observer = Observer::new(&self.connection, self.mapper.clone());
        self.observer = Some(observer.clone());
        observer
    }

    /// Applies objects and deletes what is stale, as a reconciler does.
    async fn apply(&mut self, objects: &[Value]) -> Result<engine::Report, String> {
        let settings = plan::Settings {
            owner: &self.owner,
            force: self.force,
            allow_empty: true,
        };
        let plan = plan::plan(objects.to_vec(), &self.inventory, settings)
            .map_err(|error| error.to_string())?;
        let mut options = engine::Options::new(self.owner.clone());
        options.stage_timeout = Duration::from_secs(5);
        options.first = self.first;
        options.correction = self.correction;
        if let Some(observer) = &self.observer {
            options.witness = Some(observer.clone());
        }
        let mut report = match engine::apply(&self.session, &self.mapper, &plan, &options).await {
            Ok(report) => report,
            Err(stopped) => {
                for entry in stopped.report.inventory.entries {
                    self.inventory.insert(entry);
                }
                return Err(stopped.error.to_string());
            }
        };
        self.inventory = report.inventory.clone();
        if let Some(observer) = &self.observer {
            observer.track(&self.owner, &self.inventory, &[]);
        }
        let pruned = prune::prune(
            &self.session,
            &self.mapper,
            &self.owner,
            &plan.stale,
            &report.wanted,
        )
        .await;
        for (entry, _) in &pruned.failed {
            self.inventory.insert(entry.clone());
        }
        report.changes.extend(pruned.changes);
        match pruned.failed.first() {
            Some((_, reason)) => Err(reason.clone()),
            None => Ok(report),
        }
    }

    /// Applies objects and answers the change list.
    async fn changes(&mut self, objects: &[Value]) -> Vec<String> {
        let report = self.apply(objects).await.unwrap();
        report.changes.iter().map(ToString::to_string).collect()
    }

    async fn get(&self, id: &str, version: &str) -> Option<Value> {
        let id: ObjectId = id.parse().unwrap();
        let resource = self
            .mapper
            .served(&id.group, version, &id.kind)
            .await
            .unwrap();
        self.session
            .get(&resource, &id.namespace, &id.name)
            .await
            .unwrap()
    }

    async fn config_map(&self, name: &str) -> Option<Value> {
        self.get(&format!("default_{name}__ConfigMap"), "v1").await
    }

    /// Somebody else writes: a merge patch with a field manager of its own.
    async fn patch_as(&self, manager: &str, path: &str, patch: Value) {
        self.try_patch_as(manager, path, patch).await.unwrap();
    }

    async fn try_patch_as(
        &self,
        manager: &str,
        path: &str,
        patch: Value,
    ) -> Result<String, kube::Error> {
        let request = http::Request::patch(format!("{path}?fieldManager={manager}"))
            .header("content-type", "application/merge-patch+json")
            .body(serde_json::to_vec(&patch).unwrap())
            .unwrap();
        self.connection.client().request_text(request).await
    }

    /// Somebody with kubectl makes a ConfigMap.
    async fn made_by_kubectl(&self, object: &Value) {
        let path = "/api/v1/namespaces/default/configmaps?fieldManager=kubectl-create";
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(object).unwrap())
            .unwrap();
        let client = self.connection.client();
        client.request_text(request).await.unwrap();
    }

    fn count(&self, verb: &str) -> u64 {
        self.connection
            .requests()
            .get(verb)
            .copied()
            .unwrap_or_default()
    }

    fn writes(&self) -> u64 {
        ["apply", "patch", "create", "update", "delete"]
            .iter()
            .map(|verb| self.count(verb))
            .sum()
    }
}

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"key": value},
    })
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

/// Everything that a reconciler does may move between threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciles_run_on_any_thread() {
    let mut cluster = Cluster::start().await;
    let task = tokio::spawn(async move {
        let report = cluster.apply(&[config_map("a", "1")]).await?;
        let options = fairway_apply::wait::Options::new(Duration::from_secs(5));
        let waited =
            fairway_apply::wait::wait(&cluster.session, &cluster.mapper, &report.checked, &options)
                .await;
        let stale = plan::stale(&cluster.inventory, &none());
        let pruned = prune::prune(
            &cluster.session,
            &cluster.mapper,
            &cluster.owner,
            &stale,
            &none(),
        )
        .await;
        let second = Duration::from_secs(1);
        let gone = prune::wait_for_termination(&cluster.session, &pruned.deleted, second).await;
        gone.map(|()| waited.is_healthy())
            .map_err(|error| error.to_string())
    });
    assert_eq!(task.await.unwrap(), Ok(true));
}

/// Runs scenarios against the embedded API server, each on a cluster of its own and as a test of its own, and one after
/// the other against a real one.
macro_rules! everywhere {
    ($($module:ident::$scenario:ident),* $(,)?) => {
        mod embedded {
            use super::*;
            $(#[tokio::test]
            async fn $scenario() {
                $module::$scenario(Cluster::start().await).await;
            })*
        }

        /// Whatever is trusted of the embedded API server because of these scenarios is true of a real one.
        #[tokio::test]
        async fn a_real_api_server_answers_the_same() {
            let Some(assets) = Assets::find() else {
                eprintln!("skipped: no kube-apiserver; `cargo xtask envtest` builds one");
                return;
            };
            let plane = ControlPlane::start(&assets).await.unwrap();
            $(
                eprintln!("{} …", stringify!($scenario));
                $module::$scenario(Cluster::reached_by(plane.kubeconfig()).await).await;
                sweep(plane.kubeconfig()).await;
            )*
        }
    };
}

everywhere!(
    definitions::our_definitions_are_accepted_and_keep_what_they_should,
    applying::objects_are_created_changed_left_alone_and_pruned,
    applying::definitions_and_namespaces_come_before_what_needs_them,
    applying::an_invalid_object_leaves_its_whole_stage_as_it_was,
    applying::unknown_kinds_and_missing_namespaces_are_named,
    applying::what_kubectl_changed_is_taken_over,
    applying::objects_say_how_they_are_applied,
    applying::an_immutable_field_needs_force_and_a_valid_successor,
    applying::prune_deletes_only_what_is_ours,
    applying::the_same_object_under_another_spelling_is_not_pruned,
    applying::entries_of_kinds_that_are_gone_are_settled,
    applying::writes_are_done_as_the_impersonated_account,
    applying::termination_is_waited_for,
    contract::what_is_known_to_be_absent_is_applied_without_a_check,
    contract::fields_that_a_kind_does_not_have_are_left_out,
    contract::a_new_version_with_a_new_default_is_followed,
    contract::a_fight_over_a_field_slows_down,
    contract::a_job_that_is_done_and_gone_is_left_so_by_a_correction,
    observing::a_hand_edit_is_seen_and_put_back,
    observing::what_is_deleted_or_loses_its_labels_is_missed,
    observing::watches_that_nobody_needs_end,
);

/// Removes what a scenario left in the namespace `default`.
async fn sweep(kubeconfig: &str) {
    let cluster = Cluster::reached_by(kubeconfig).await;
    for (version, kind) in [("v1", "ConfigMap"), ("apps/v1", "Deployment")] {
        let resource = cluster.mapper.resource(version, kind).await.unwrap();
        for object in cluster
            .session
            .list(&resource, "default", "")
            .await
            .unwrap()
            .items
        {
            let name = object["metadata"]["name"].as_str().unwrap();
            cluster
                .session
                .delete(&resource, "default", name, None)
                .await
                .unwrap();
        }
    }
}

fn none() -> HashSet<ObjectId> {
    HashSet::new()
}
