//! The simulated controllers against a real store: what happens, how fast, and that it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_apiserver::auth::TokenIssuer;
use fairway_apiserver::controllers::{self, Context};
use fairway_apiserver::resources::{Registry, builtin};
use fairway_apiserver::store::{GroupResource, Store};
use fairway_apiserver::writer::{DeleteOptions, Propagation, Scope, Writer};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A cluster without an API in front of it.
struct Cluster {
    writer: Writer,
    _controllers: JoinSet<()>,
}

impl Cluster {
    fn start(name: &str, rollout_delay: Duration) -> Self {
        let registry = Arc::new(Registry::new(builtin().iter().cloned()));
        let writer = Writer::new(Store::in_memory(), registry);
        Self::resume(name, writer, rollout_delay)
    }

    /// Starts the controllers on what is there.
    fn resume(name: &str, writer: Writer, rollout_delay: Duration) -> Self {
        let default = json!({"metadata": {"name": "default"}});
        // It is there already where a cluster is resumed.
        let _ = writer.create(&GroupResource::core("namespaces"), default);
        let context = Context {
            cluster: name.to_owned(),
            writer: writer.clone(),
            tokens: TokenIssuer::new(b"key"),
            authority: "certificate".to_owned(),
            rollout_delay,
        };
        Self {
            writer,
            _controllers: controllers::start(&context),
        }
    }

    fn create(&self, id: &GroupResource, object: Value) {
        self.writer.create(id, object).expect("the object is valid");
    }

    fn get(&self, id: &GroupResource, name: &str) -> Option<Arc<Value>> {
        self.writer.store().get(id, "default", name)
    }

    /// Waits until the object looks as wanted; the test fails after a minute.
    async fn wait(&self, id: &GroupResource, name: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let (_, mut watch) = self.writer.store().list_and_watch(id, None);
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            let found = self.get(id, name);
            if wanted(found.as_deref()) {
                return;
            }
            if tokio::time::timeout_at(deadline, watch.next())
                .await
                .is_err()
            {
                panic!("{id} {name} did not come to be as wanted: {found:?}");
            }
        }
    }
}

fn deployments() -> GroupResource {
    GroupResource::new("apps", "deployments")
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn is_rolled_out(object: Option<&Value>) -> bool {
    object.is_some_and(|object| {
        let status = &object["status"];
        status["observedGeneration"] == object["metadata"]["generation"]
            && status["availableReplicas"] == 2
            && status["updatedReplicas"] == 2
            && status["replicas"] == 2
    })
}

#[tokio::test]
async fn a_deployment_rolls_out_and_is_cleared_away() {
    let cluster = Cluster::start("test", Duration::ZERO);
    cluster.create(&deployments(), deployment("web", "nginx:1"));
    cluster.wait(&deployments(), "web", is_rolled_out).await;
    let change = |object: &mut Value| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    };
    cluster
        .writer
        .modify(&deployments(), "default", "web", Scope::Object, change)
        .unwrap();
    cluster.wait(&deployments(), "web", is_rolled_out).await;
    let pods = cluster
        .writer
        .store()
        .list(&GroupResource::core("pods"), None);
    assert!(
        pods.items
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "nginx:2")
    );

    let options = DeleteOptions {
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    cluster
        .writer
        .delete(&deployments(), "default", "web", &options)
        .unwrap();
    cluster
        .wait(&deployments(), "web", |found| found.is_none())
        .await;
    for resource in [
        GroupResource::core("pods"),
        GroupResource::new("apps", "replicasets"),
    ] {
        assert_eq!(cluster.writer.store().count(&resource), 0, "{resource}");
    }
}

#[tokio::test]
async fn controllers_that_start_again_carry_on() {
    let cluster = Cluster::start("test", Duration::from_hours(1));
    cluster.create(&deployments(), deployment("web", "nginx:1"));
    cluster
        .wait(&deployments(), "web", |object| {
            object.is_some_and(|object| object["status"]["replicas"] == 2)
        })
        .await;
    let writer = cluster.writer.clone();
    drop(cluster);
    let cluster = Cluster::resume("test", writer, Duration::ZERO);
    cluster.wait(&deployments(), "web", is_rolled_out).await;
    assert_eq!(
        cluster.writer.store().count(&GroupResource::core("pods")),
        2
    );
}

#[tokio::test]
async fn a_namespace_takes_its_content_with_it() {
    let cluster = Cluster::start("test", Duration::ZERO);
    let namespaces = GroupResource::core("namespaces");
    cluster.create(&deployments(), deployment("web", "nginx:1"));
    cluster.wait(&deployments(), "web", is_rolled_out).await;
    cluster
        .writer
        .delete(&namespaces, "", "default", &DeleteOptions::default())
        .unwrap();
    let (_, mut watch) = cluster.writer.store().list_and_watch(&namespaces, None);
    while cluster
        .writer
        .store()
        .get(&namespaces, "", "default")
        .is_some()
    {
        tokio::time::timeout(Duration::from_secs(10), watch.next())
            .await
            .expect("the namespace goes")
            .unwrap();
    }
    for resource in cluster.writer.store().resources() {
        let left = cluster.writer.store().list(&resource, Some("default"));
        assert!(left.items.is_empty(), "{resource}");
    }
}

#[tokio::test]
async fn an_idle_cluster_writes_nothing() {
    let cluster = Cluster::start("test", Duration::ZERO);
    cluster.create(&deployments(), deployment("web", "nginx:1"));
    cluster.create(&deployments(), deployment("stuck", "nginx:broken"));
    cluster.wait(&deployments(), "web", is_rolled_out).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let revision = cluster.writer.store().revision();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(cluster.writer.store().revision(), revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_rolls_out_in_seconds() {
    const CLUSTERS: usize = 10;
    const DEPLOYMENTS: usize = 40;
    let started = Instant::now();
    let clusters: Vec<Cluster> = (0..CLUSTERS)
        .map(|number| Cluster::start(&format!("c{number}"), Duration::ZERO))
        .collect();
    for cluster in &clusters {
        for number in 0..DEPLOYMENTS {
            cluster.create(
                &deployments(),
                deployment(&format!("web-{number}"), "nginx:1"),
            );
        }
    }
    for cluster in &clusters {
        for number in 0..DEPLOYMENTS {
            cluster
                .wait(&deployments(), &format!("web-{number}"), is_rolled_out)
                .await;
        }
        let events = cluster.writer.store().count(&GroupResource::core("events"));
        assert!(events <= 256, "{events} events");
    }
    let took = started.elapsed();
    eprintln!("{CLUSTERS} clusters of {DEPLOYMENTS} deployments in {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
