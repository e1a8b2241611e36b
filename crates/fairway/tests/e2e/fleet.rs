//! Commits are pushed to a running demo, and the fleet follows: change, delete, break, repair.

use std::collections::{BTreeMap, BTreeSet};

use fairway_testkit::WorkClone;
use futures::future::join_all;
use serde_json::Value;

use crate::binary::until;
use crate::cluster::{Cluster, Id, Ready, id};
use crate::demo::{CLUSTERS, Demo, push, without_rollout};

// orders has no Pipeline: what is committed stays as it is.
const OVERLAY: &str = "apps/orders/overlays/dev/kustomization.yaml";
const DEV: &str = "dev-us-west-2";

/// Content of all objects of all clusters.
async fn contents(
    clusters: &BTreeMap<&'static str, Cluster>,
) -> BTreeMap<&'static str, BTreeMap<Id, Value>> {
    let all = clusters
        .iter()
        .map(async |(name, cluster)| (*name, cluster.contents().await));
    join_all(all).await.into_iter().collect()
}

async fn until_all_applied(hub: &Cluster, app: &str, stages: &[&str], revision: &str) {
    let names = CLUSTERS
        .iter()
        .filter(|name| stages.iter().any(|stage| name.starts_with(stage)));
    join_all(names.map(async |name| {
        hub.until_applied(&format!("{app}-{name}"), revision).await;
    }))
    .await;
}

/// The ids whose content differs.
fn differing(before: &BTreeMap<Id, Value>, after: &BTreeMap<Id, Value>) -> BTreeSet<Id> {
    let all: BTreeSet<&Id> = before.keys().chain(after.keys()).collect();
    all.into_iter()
        .filter(|id| before.get(*id) != after.get(*id))
        .cloned()
        .collect()
}

fn kinds(ids: &BTreeSet<Id>) -> BTreeSet<&str> {
    ids.iter().map(|(kind, _, _)| kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_roll_out_and_bad_ones_change_nothing() {
    let demo = Demo::converged().await;
    let hub = demo.hub().await;
    let clusters = demo.clusters().await;
    let clone = demo.clone().await;
    let revision = without_rollout(&clone).await;
    until_all_applied(&hub, "apps", &["dev", "staging", "prod"], &revision).await;
    let before = contents(&clusters).await;

    change(&clone, &hub, &clusters, &before).await;
    let before = contents(&clusters).await;
    delete(&clone, &hub, &clusters, &before).await;
    let before = contents(&clusters).await;
    breakages(&demo, &clone, &hub, &clusters, &before).await;
}

/// A new image tag in dev reaches the dev clusters, and nothing else of them or of the others.
async fn change(
    clone: &WorkClone,
    hub: &Cluster,
    clusters: &BTreeMap<&'static str, Cluster>,
    before: &BTreeMap<&'static str, BTreeMap<Id, Value>>,
) {
    clone
        .replace(OVERLAY, "newTag: 2.2.0", "newTag: 2.2.1")
        .unwrap();
    let revision = push(clone, "orders 2.2.1 in dev").await;
    until_all_applied(hub, "apps", &["dev", "staging", "prod"], &revision).await;
    let after = contents(clusters).await;
    for (name, cluster) in clusters {
        let differing = differing(&before[name], &after[name]);
        let image = cluster.image("orders", "orders").await;
        if name.starts_with("dev") {
            assert_eq!(image, "ghcr.io/example/orders:2.2.1", "{name}");
            // The Deployment, and what its rollout makes of it.
            let expected = BTreeSet::from([
                "Deployment",
                "EndpointSlice",
                "Endpoints",
                "Pod",
                "ReplicaSet",
            ]);
            assert!(
                kinds(&differing).is_subset(&expected),
                "{name}: {differing:?}"
            );
            assert!(
                differing
                    .iter()
                    .all(|(_, namespace, _)| namespace == "orders"),
                "{name}: {differing:?}"
            );
            let (old, new) = (&before[name], &after[name]);
            let deployment = id("Deployment", "orders", "orders");
            assert_eq!(
                old[&deployment]["metadata"]["uid"],
                new[&deployment]["metadata"]["uid"]
            );
        } else {
            assert_ne!(image, "ghcr.io/example/orders:2.2.1", "{name}");
            assert_eq!(differing, BTreeSet::new(), "{name}");
        }
    }
}

/// A file that is gone from Git is gone from the clusters, and nothing else is.
async fn delete(
    clone: &WorkClone,
    hub: &Cluster,
    clusters: &BTreeMap<&'static str, Cluster>,
    before: &BTreeMap<&'static str, BTreeMap<Id, Value>>,
) {
    clone.remove("apps/myapp/base/ingress.yaml").unwrap();
    clone
        .replace(
            "apps/myapp/base/kustomization.yaml",
            "  - ingress.yaml\n",
            "",
        )
        .unwrap();
    let revision = push(clone, "myapp is not reachable from outside").await;
    until_all_applied(hub, "apps", &["dev", "staging", "prod"], &revision).await;
    let after = contents(clusters).await;
    for (name, after) in &after {
        let expected = BTreeSet::from([id("Ingress", "myapp", "myapp")]);
        assert_eq!(differing(&before[name], after), expected, "{name}");
        assert!(
            !after.contains_key(&id("Ingress", "myapp", "myapp")),
            "{name}"
        );
    }
}

struct Breakage {
    what: &'static str,
    /// From the good text of the overlay to a bad one.
    text: fn(&str) -> String,
    reason: &'static str,
    /// What the message names.
    names: &'static [&'static str],
}

const BREAKAGES: [Breakage; 5] = [
    Breakage {
        what: "invalid YAML",
        text: |good| format!("{good}commonAnnotations: [\n"),
        reason: "BuildFailed",
        names: &["apps/orders/overlays/dev/kustomization.yaml:18"],
    },
    Breakage {
        what: "an unknown field",
        text: |good| format!("{good}resorces: []\n"),
        reason: "BuildFailed",
        names: &[
            "apps/orders/overlays/dev/kustomization.yaml:18",
            "unknown field \"resorces\"",
            "resources",
        ],
    },
    Breakage {
        what: "a missing path",
        text: |good| good.replace("../../base", "../../bse"),
        reason: "BuildFailed",
        names: &[
            "apps/orders/overlays/dev/kustomization.yaml:5",
            "resources[0]",
            "apps/orders/bse",
        ],
    },
    Breakage {
        what: "a patch without a target",
        text: |good| {
            format!(
                "{good}patches:\n  - patch: |-\n      apiVersion: apps/v1\n      kind: Deployment\n      metadata:\n        name: nope\n      spec:\n        replicas: 2\n"
            )
        },
        reason: "BuildFailed",
        names: &[
            "apps/orders/overlays/dev/kustomization.yaml:19",
            "patches[0]",
            "nope",
        ],
    },
    Breakage {
        what: "a value that the API server refuses",
        text: |good| {
            format!(
                "{good}patches:\n  - patch: |-\n      apiVersion: apps/v1\n      kind: Deployment\n      metadata:\n        name: orders\n        namespace: orders\n      spec:\n        revisionHistoryLimit: many\n"
            )
        },
        reason: "ReconciliationFailed",
        names: &["Deployment/orders/orders", "revisionHistoryLimit"],
    },
];

/// Each bad commit ends in a condition, an event and one clear line; the clusters stay as they are; others go on.
async fn breakages(
    demo: &Demo,
    clone: &WorkClone,
    hub: &Cluster,
    clusters: &BTreeMap<&'static str, Cluster>,
    before: &BTreeMap<&'static str, BTreeMap<Id, Value>>,
) {
    let good = clone.read(OVERLAY).unwrap();
    let name = format!("apps-{DEV}");
    let applied = hub
        .get("Kustomization", "flux-system", &name)
        .await
        .unwrap();
    let applied = applied["status"]["lastAppliedRevision"].clone();
    for breakage in &BREAKAGES {
        let what = breakage.what;
        clone.write(OVERLAY, &(breakage.text)(&good)).unwrap();
        let revision = push(clone, what).await;
        let failed = hub
            .until_ready("Kustomization", &name, |object, ready| {
                ready.status == "False"
                    && ready.reason == breakage.reason
                    && object["status"]["lastAttemptedRevision"] == *revision
            })
            .await;
        let message = Ready::of(&failed).message;
        for part in breakage.names {
            assert!(message.contains(part), "{what}: {message}");
        }
        assert_eq!(failed["status"]["lastAppliedRevision"], applied, "{what}");
        let event = (
            "Warning".to_owned(),
            breakage.reason.to_owned(),
            message.clone(),
        );
        until("the event is written", async || {
            let events = hub.events("Kustomization", &name).await;
            events
                .contains(&event)
                .then_some(())
                .ok_or_else(|| format!("{events:?}"))
        })
        .await;
        said_on_the_command_line(demo, &name, breakage.reason, &message).await;
        // Clusters of other stages don't read the broken file.
        until_all_applied(hub, "apps", &["staging", "prod"], &revision).await;
    }
    let after = contents(clusters).await;
    for (name, after) in &after {
        assert_eq!(differing(&before[name], after), BTreeSet::new(), "{name}");
    }

    // While apps is broken in dev, the platform of the same clusters follows the next commits.
    clone
        .replace(
            "platform/monitoring/kustomization.yaml",
            "newTag: v3.2.1",
            "newTag: v3.2.2",
        )
        .unwrap();
    let revision = push(clone, "A newer Prometheus").await;
    until_all_applied(hub, "platform", &["dev", "staging", "prod"], &revision).await;
    let image = clusters[DEV].image("monitoring", "prometheus").await;
    assert_eq!(image, "quay.io/prometheus/prometheus:v3.2.2");

    // The folder itself is not there.
    clone.write(OVERLAY, &good).unwrap();
    let folder = format!("clusters/{}/apps", DEV.replacen('-', "/", 1));
    clone.git(&["mv", &folder, "elsewhere"]).await.unwrap();
    push(clone, "A folder that is missed").await;
    let failed = hub
        .until_ready("Kustomization", &name, |_, ready| {
            ready.reason == "ArtifactFailed"
        })
        .await;
    let message = Ready::of(&failed).message;
    assert!(message.contains(&folder), "{message}");
    said_on_the_command_line(demo, &name, "ArtifactFailed", &message).await;

    clone.git(&["mv", "elsewhere", &folder]).await.unwrap();
    let revision = push(clone, "All is well again").await;
    until_all_applied(hub, "apps", &["dev", "staging", "prod"], &revision).await;
    let output = demo.fairway(&["reconcile", "kustomization", &name]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let apps = |id: &Id| ["myapp", "orders"].contains(&id.1.as_str());
    let after = contents(clusters).await;
    for (name, after) in &after {
        let mut touched = differing(&before[name], after);
        touched.retain(apps);
        assert_eq!(touched, BTreeSet::new(), "{name}");
    }
}

/// `get` shows one line, `reconcile` says it in one and exits 1.
async fn said_on_the_command_line(demo: &Demo, name: &str, reason: &str, message: &str) {
    let get = demo.fairway(&["get", "kustomizations", name]).await;
    let lines: Vec<&str> = get.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{get:?}");
    assert!(
        lines[1].contains("False") && lines[1].contains(message),
        "{get:?}"
    );
    let reconcile = demo.fairway(&["reconcile", "kustomization", name]).await;
    assert_eq!(reconcile.code, 1, "{reconcile:?}");
    let expected = format!("✗ Kustomization: {reason}: {message}");
    assert_eq!(reconcile.stdout.lines().nth(1), Some(&*expected));
}
