//! A cluster of the reference repository run from its own `flux-system` folder by a `fairway controller` inside it, and what
//! happens when the fleet's hub lays claim to it too.

use serde_json::{Value, json};

use crate::binary::until;
use crate::cluster::{Cluster, Id, Ready, SYSTEM, documents, inventory};
use crate::demo::Demo;

const CLUSTER: &str = "dev-us-west-2";
const FOLDER: &str = "clusters/dev/us-west-2/flux-system";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_runs_alone_and_has_one_owner() {
    let demo = Demo::bare().await;
    let alone = demo.cluster(CLUSTER).await;
    let clone = demo.clone().await;
    let output = demo.at(CLUSTER, &["install", "--replicas=0"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    // What `flux bootstrap` applies: the demo's repository names its own URL already.
    let objects = documents(&clone.read(&format!("{FOLDER}/gotk-sync.yaml")).unwrap());
    assert!(
        objects
            .iter()
            .any(|object| object["spec"]["url"] == *demo.url)
    );
    for object in &objects {
        alone.apply(object).await;
    }
    let controller = demo.controller(CLUSTER);
    let head = clone.git(&["rev-parse", "HEAD"]).await.unwrap();
    let revision = format!("main@sha1:{}", head.trim());
    for name in [SYSTEM, "platform", "apps"] {
        alone.until_applied(name, &revision).await;
    }
    let image = alone.image("myapp", "myapp").await;
    assert_eq!(image, "ghcr.io/example/myapp:1.5.0");
    let owned = alone.owned().await;
    for name in [SYSTEM, "platform", "apps"] {
        let object = alone.get("Kustomization", SYSTEM, name).await.unwrap();
        let mut labelled: Vec<Id> = owned[name].clone();
        labelled.sort();
        assert_eq!(inventory(&object), labelled, "{name}");
    }
    let output = demo.at(CLUSTER, &["get", "kustomizations"]).await;
    assert_eq!(output.stdout.matches(" True ").count(), 3, "{output:?}");

    two_owners(&demo, &alone).await;
    drop(controller);
}

/// The hub's fleet selects the same cluster: refused, with both names, and nothing changes in the cluster.
async fn two_owners(demo: &Demo, alone: &Cluster) {
    let hub = demo.hub().await;
    let before = alone.contents().await;
    let output = demo.fairway(&["install", "--replicas=0"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let create = [
        "create",
        "cluster",
        CLUSTER,
        "--management-context=management",
        "--label=environment=dev",
        "--label=region=us-west-2,cluster-type=workload",
    ];
    let output = demo.at(CLUSTER, &create).await;
    assert_eq!(output.code, 0, "{output:?}");
    let clone = demo.clone().await;
    for file in [
        "gitrepository",
        "platform-kustomization",
        "apps-kustomization",
    ] {
        for object in documents(&clone.read(&format!("flux-manifests/{file}.yaml")).unwrap()) {
            hub.apply(&object).await;
        }
    }
    for object in documents(&clone.read("cluster-config/cluster-labels.yaml").unwrap()) {
        hub.apply(&object).await;
    }
    let controller = demo.controller("management");
    let name = format!("platform-{CLUSTER}");
    let refused = hub
        .until_ready("Kustomization", &name, |_, ready| {
            ready.status == "False" && ready.message.contains("two owners")
        })
        .await;
    let message = Ready::of(&refused).message;
    for part in [
        "FleetKustomization 'flux-system/platform'",
        "Kustomization 'flux-system/platform'",
        "./clusters/dev/us-west-2/platform",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let told = until("an event tells it", async || {
        let events = hub.events("Kustomization", &name).await;
        let told = events
            .iter()
            .find(|(_, _, text)| text.contains("two owners"));
        told.cloned().ok_or_else(|| format!("{events:?}"))
    })
    .await;
    assert_eq!(told.0, "Warning");
    let output = demo.fairway(&["reconcile", "kustomization", &name]).await;
    assert_eq!(output.code, 1, "{output:?}");
    let mut after = alone.contents().await;
    let mut before = before;
    // Registering makes Fairway's accounts there; what the cluster's own Kustomizations manage stays as it is.
    for contents in [&mut before, &mut after] {
        contents.retain(|_, object| own(object));
    }
    assert_eq!(before, after);
    drop(controller);
}

/// Whether a Kustomization of the cluster itself manages the object.
fn own(object: &Value) -> bool {
    object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] != json!(null)
}
