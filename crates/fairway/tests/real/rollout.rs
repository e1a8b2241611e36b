//! Flux's own kustomize-controller takes over in the middle of a rollout: who waits for its wave does not move.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::binary::until;
use crate::cluster::{Cluster, SYSTEM};
use crate::world::{Engine, WORKLOADS, World};

/// A folder for each cluster, with the version in a ConfigMap.
async fn push(world: &World, version: u32) {
    let files: Vec<(String, String)> = WORKLOADS
        .iter()
        .map(|cluster| {
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: wave, namespace: default}}\ndata: {{version: \"{version}\"}}\n"
            );
            (format!("waves/{cluster}/map.yaml"), text)
        })
        .collect();
    let files: Vec<(&str, Option<&str>)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    world
        .git
        .commit(&format!("Version {version}"), &files)
        .await
        .unwrap();
}

async fn version(cluster: &Cluster) -> Option<String> {
    let map = cluster.get("ConfigMap", "default", "wave").await?;
    map["data"]["version"].as_str().map(str::to_owned)
}

async fn until_version(cluster: &Cluster, name: &str, wanted: &str) {
    until(&format!("{name} has version {wanted}"), async || {
        let found = version(cluster).await;
        (found.as_deref() == Some(wanted))
            .then_some(())
            .ok_or(format!("{found:?}"))
    })
    .await;
}

fn text(objects: &[Value]) -> String {
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    texts.join("\n---\n")
}

/// Two clusters, dev before prod, and an hour between them.
async fn begin(world: &World) {
    let hub = world.kubectl.in_context("hub");
    hub.apply(&text(&fairway_types::crds())).await.unwrap();
    let mut objects = vec![json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "waves", "namespace": SYSTEM},
        "spec": {"interval": "1s", "url": world.git.url(), "ref": {"branch": "main"}},
    })];
    for name in WORKLOADS {
        let kubeconfig = world.clusters.get(name).unwrap().kubeconfig();
        objects.push(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("{name}-kubeconfig"), "namespace": SYSTEM},
            "stringData": {"value": kubeconfig},
        }));
        objects.push(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": name, "namespace": SYSTEM, "labels": {"environment": name}},
            "spec": {"kubeConfig": {"secretRef": {"name": format!("{name}-kubeconfig")}}},
        }));
    }
    objects.push(json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "waves", "namespace": SYSTEM},
        "spec": {
            "clusterSelector": {},
            "template": {"spec": {
                "interval": "1m", "retryInterval": "2s", "prune": true, "path": "waves/{{ cluster.name }}",
                "sourceRef": {"kind": "GitRepository", "name": "waves"},
            }},
            "rollout": {
                "waves": [{"name": "dev", "clusterSelector": {"matchLabels": {"environment": "dev"}}, "soak": "1h"}],
            },
        },
    }));
    until("the hub takes Fairway's objects", async || {
        hub.apply(&text(&objects))
            .await
            .map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Flux's programs: run `cargo xtask e2e who_waits`"]
async fn who_waits_stays_when_flux_takes_over() {
    let world = World::start().await;
    push(&world, 1).await;
    begin(&world).await;
    let fairway = world.start_fairway();
    world.until_leads(Engine::Fairway).await;
    let dev = Cluster::of(world.clusters.get("dev").unwrap().kubeconfig(), "dev").await;
    let prod = Cluster::of(world.clusters.get("prod").unwrap().kubeconfig(), "prod").await;
    until_version(&dev, "dev", "1").await;
    // The first installation waits for nobody.
    until_version(&prod, "prod", "1").await;
    let hub = world.kubectl.in_context("hub");
    let soak = |time: &str| {
        format!(r#"[{{"op": "replace", "path": "/spec/rollout/waves/0/soak", "value": "{time}"}}]"#)
    };
    let patch = async |time: &str| {
        let (soak, kind) = (soak(time), "fleetkustomization");
        let arguments = [
            "patch",
            kind,
            "waves",
            "-n",
            SYSTEM,
            "--type=json",
            "-p",
            &soak,
        ];
        hub.ok(&arguments).await.unwrap();
    };

    push(&world, 2).await;
    until_version(&dev, "dev", "2").await;
    until("prod is held", async || {
        let child = world.hub.get("Kustomization", SYSTEM, "waves-prod").await;
        let source = child.unwrap_or_default()["spec"]["sourceRef"]["name"].clone();
        (source != "waves").then_some(()).ok_or(source.to_string())
    })
    .await;
    assert_eq!(version(&prod).await.as_deref(), Some("1"));
    crate::handover::stop(fairway).await;

    let flux = world.start_flux().await;
    world.until_leads(Engine::Flux).await;
    push(&world, 3).await;
    let started = Instant::now();
    until_version(&dev, "dev", "3").await;
    let command = world.flux_command();
    let ask = [
        "reconcile",
        "kustomization",
        "waves-prod",
        "--with-source",
        "--timeout=2m",
    ];
    command.ok(&ask).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(version(&prod).await.as_deref(), Some("1"), "prod moved");
    println!(
        "stock Flux brought version 3 to dev in {:.1} s and left prod at 1",
        started.elapsed().as_secs_f64()
    );
    flux.stop().await;

    let fairway = world.start_fairway();
    world.until_leads(Engine::Fairway).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(version(&prod).await.as_deref(), Some("1"), "prod moved");
    patch("1s").await;
    until_version(&prod, "prod", "3").await;
    crate::handover::stop(fairway).await;
}
