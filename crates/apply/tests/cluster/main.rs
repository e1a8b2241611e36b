//! The engine against the embedded API server, over HTTPS like any cluster.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, stop at what should not be"
)]

mod applying;
mod observing;
mod reaching;
mod waiting;

use std::{collections::HashSet, sync::Arc, time::Duration};

use fairway_apiserver::{Config, Faults, Server};
use fairway_apply::{
    Connection, Mapper, Observer, Owner, Session, Strictness, engine, plan, prune,
};
use fairway_types::{Inventory, ObjectId};
use serde_json::{Value, json};

/// One cluster, and a Kustomization that owns objects on it.
struct Cluster {
    server: Server,
    connection: Connection,
    session: Session,
    mapper: Arc<Mapper>,
    owner: Owner,
    inventory: Inventory,
    observer: Option<Arc<Observer>>,
    force: bool,
}

impl Cluster {
    async fn start() -> Self {
        let config = Config {
            clusters: vec!["dev".into()],
            rollout_delay: Duration::from_millis(50),
            ..Config::default()
        };
        let server = Server::start(config).await.unwrap();
        let kubeconfig = server.kubeconfig_for("dev").unwrap();
        let connection = Connection::from_kubeconfig_yaml(&kubeconfig, None, Strictness::default())
            .await
            .unwrap();
        let mapper = Arc::new(Mapper::new(&connection));
        let owner = Owner {
            name: "apps".into(),
            namespace: "flux-system".into(),
        };
        Self {
            session: connection.session(),
            server,
            connection,
            mapper,
            owner,
            inventory: Inventory::default(),
            observer: None,
            force: false,
        }
    }

    fn faults(&self) -> Faults {
        self.server.faults("dev").unwrap()
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
        let request = http::Request::patch(format!("{path}?fieldManager={manager}"))
            .header("content-type", "application/merge-patch+json")
            .body(serde_json::to_vec(&patch).unwrap())
            .unwrap();
        self.connection
            .client()
            .request_text(request)
            .await
            .unwrap();
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

fn none() -> HashSet<ObjectId> {
    HashSet::new()
}
