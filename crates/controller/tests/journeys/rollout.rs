//! Changes that spread over clusters in waves.

use std::time::{Duration, Instant};

use fairway_controller::{Controller, Engine, Options, Profile};
use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, connect};

/// Three regions of three clusters each.
const CLUSTERS: [&str; 9] = [
    "eu-1", "eu-2", "eu-3", "us-1", "us-2", "us-3", "ap-1", "ap-2", "ap-3",
];

fn region(cluster: &str) -> &str {
    cluster.split('-').next().unwrap()
}

/// A fleet over all of them; each cluster has a folder of its region.
fn fleet(rollout: Value) -> Value {
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": NS},
        "spec": {
            "clusterSelector": {"matchLabels": {"managed": "yes"}},
            "template": {"spec": {
                "interval": "10m", "retryInterval": "1s", "timeout": "30s", "prune": true,
                "path": "apps/{{ cluster.labels.region }}",
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            }},
            "rollout": rollout,
        },
    })
}

/// eu, then us, then the rest.
fn waves(more: &Value) -> Value {
    let wave =
        |name: &str| json!({"name": name, "clusterSelector": {"matchLabels": {"region": name}}});
    let mut rollout = json!({"waves": [wave("eu"), wave("us")], "progressDeadline": "20s"});
    for (key, value) in more.as_object().unwrap() {
        rollout[key] = value.clone();
    }
    rollout
}

fn app(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: default}}\nspec:\n  progressDeadlineSeconds: 2\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
         spec: {{containers: [{{name: web, image: {image}}}]}}\n"
    )
}

/// Commits an image for regions.
async fn push(world: &World, image: &str, regions: &[&str]) -> String {
    let text = app(image);
    let paths: Vec<String> = regions
        .iter()
        .map(|region| format!("apps/{region}/web.yaml"))
        .collect();
    let files: Vec<(&str, Option<&str>)> = paths
        .iter()
        .map(|path| (path.as_str(), Some(text.as_str())))
        .collect();
    world.push(&files).await
}

const ALL: [&str; 3] = ["eu", "us", "ap"];

async fn begin(clusters: &[&'static str], rollout: &Value) -> (World, String) {
    let mut world = World::new(clusters).await;
    let first = push(&world, "web:1", &ALL).await;
    world.source().await;
    for cluster in clusters {
        let labels = json!({"managed": "yes", "region": region(cluster)});
        world.cluster(cluster, labels, json!({})).await;
    }
    world.apply(HUB, &fleet(waves(&json!({})))).await;
    world.start().await;
    for cluster in clusters {
        world.applied(&format!("apps-{cluster}"), &first).await;
    }
    settled(&world).await;
    let patch = json!({"spec": {"rollout": rollout}});
    world.merge("FleetKustomization", "apps", patch).await;
    (world, first)
}

/// Waits until no change is under way.
async fn settled(world: &World) -> Value {
    world
        .ready("FleetKustomization", "apps", |object, status, _, _| {
            status == "True" && object["status"]["rollout"].get("clusters").is_none()
        })
        .await
}

async fn image(world: &World, cluster: &str) -> String {
    let object = world.get(cluster, "Deployment", "default", "web").await;
    let object = object.unwrap_or_default();
    object["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What the fleet says of a cluster's way to a change.
async fn entry(world: &World, cluster: &str) -> Value {
    let fleet = world
        .get(HUB, "FleetKustomization", NS, "apps")
        .await
        .unwrap();
    let clusters = fleet["status"]["rollout"]["clusters"].as_array().cloned();
    let found = clusters.unwrap_or_default();
    let found = found.into_iter().find(|entry| entry["name"] == cluster);
    found.unwrap_or_default()
}

async fn until_state(world: &World, cluster: &str, state: &str) -> Value {
    world
        .until(async || {
            let entry = entry(world, cluster).await;
            if entry["state"] == state {
                return Ok(entry);
            }
            let fleet = world
                .get(HUB, "FleetKustomization", NS, "apps")
                .await
                .unwrap();
            Err(format!("{cluster} is no {state}: {}", fleet["status"]))
        })
        .await
}

/// Watches until all of these clusters have an image, and says in which order they got it.
async fn order(
    world: &World,
    clusters: &[&'static str],
    wanted: &str,
) -> Vec<(&'static str, Instant)> {
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut seen: Vec<(&'static str, Instant)> = Vec::new();
    while seen.len() < clusters.len() {
        for cluster in clusters {
            let known = seen.iter().any(|(name, _)| name == cluster);
            if !known && image(world, cluster).await == wanted {
                seen.push((cluster, Instant::now()));
            }
        }
        if Instant::now() > deadline {
            let fleet = world
                .get(HUB, "FleetKustomization", NS, "apps")
                .await
                .unwrap();
            panic!("{seen:?}: {}", fleet["status"]);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn waves_come_in_order_and_soak() {
    let (world, _) = begin(
        &CLUSTERS,
        &waves(&json!({"soak": "1s", "maxConcurrent": 2})),
    )
    .await;
    let second = push(&world, "web:2", &ALL).await;
    // Who waits is held at a hold of the first commit, which anybody can read.
    let held = until_state(&world, "ap-1", "Pending").await;
    world
        .until(async || {
            let child = world
                .get(HUB, "Kustomization", NS, "apps-ap-1")
                .await
                .unwrap();
            let name = child["spec"]["sourceRef"]["name"]
                .as_str()
                .unwrap()
                .to_owned();
            let hold = world
                .get(HUB, "GitRepository", NS, &name)
                .await
                .unwrap_or_default();
            let commit = hold["spec"]["ref"]["commit"].as_str().unwrap_or_default();
            let revision = held["current"]["revision"].as_str().unwrap();
            let is_held =
                !commit.is_empty() && revision.ends_with(commit) && name.starts_with("fleet-");
            is_held.then_some(()).ok_or(format!("{}", child["spec"]))
        })
        .await;
    let seen = order(&world, &CLUSTERS, "web:2").await;
    let regions: Vec<&str> = seen.iter().map(|(name, _)| region(name)).collect();
    assert_eq!(
        regions,
        ["eu", "eu", "eu", "us", "us", "us", "ap", "ap", "ap"]
    );
    for (last, next) in [(2, 3), (5, 6)] {
        let soaked = seen[next].1.duration_since(seen[last].1);
        assert!(soaked >= Duration::from_millis(900), "{soaked:?}");
    }
    let fleet = settled(&world).await;
    assert_eq!(fleet["status"]["rollout"]["sequence"], 1);
    for cluster in CLUSTERS {
        let child = world.applied(&format!("apps-{cluster}"), &second).await;
        assert_eq!(
            child["spec"]["sourceRef"]["name"], "fleet",
            "it follows again"
        );
        assert_eq!(child["spec"]["wait"], true);
    }
    for reason in [
        "WaveStarted",
        "WaveHealthy",
        "WaveFinished",
        "RolloutFinished",
    ] {
        world.event("apps", |event| event["reason"] == reason).await;
    }

    // A commit that renders the same for everybody is no change.
    let third = world
        .push(&[("README.md", Some("nothing that is built"))])
        .await;
    for cluster in CLUSTERS {
        world.applied(&format!("apps-{cluster}"), &third).await;
    }
    assert_eq!(settled(&world).await["status"]["rollout"]["sequence"], 1);
}

const THREE: [&str; 3] = ["eu-1", "us-1", "ap-1"];

async fn message_of(world: &World) -> String {
    let fleet = world
        .get(HUB, "FleetKustomization", NS, "apps")
        .await
        .unwrap();
    condition(&fleet, "Ready")["message"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_stops_in_the_first_wave() {
    let (world, first) = begin(&THREE, &waves(&json!({}))).await;
    push(&world, "web:2-broken", &ALL).await;
    until_state(&world, "eu-1", "Failed").await;
    let fleet = world
        .ready(
            "FleetKustomization",
            "apps",
            |_, status, reason, message| {
                status == "False"
                    && reason == "RolloutFailed"
                    && message.contains("wave eu failed: eu-1")
            },
        )
        .await;
    assert_eq!(fleet["status"]["clusters"]["failed"], 1);
    assert_eq!(
        fleet["status"]["clusters"]["ready"], 0,
        "who waits is not green"
    );
    world
        .event("apps", |event| {
            event["reason"] == "WaveFailed" && event["type"] == "Warning"
        })
        .await;
    for cluster in ["us-1", "ap-1"] {
        assert_eq!(image(&world, cluster).await, "web:1");
        let child = world.applied(&format!("apps-{cluster}"), &first).await;
        assert_ne!(child["spec"]["sourceRef"]["name"], "fleet");
    }
    assert_eq!(
        image(&world, "eu-1").await,
        "web:2-broken",
        "halted, not held back"
    );
    // A commit that renders the same for those that wait changes nothing for them.
    world.push(&[("README.md", Some("more"))]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(entry(&world, "eu-1").await["state"], "Failed");
    assert_eq!(image(&world, "us-1").await, "web:1");
    // A fix is taken at once, in order.
    push(&world, "web:3", &ALL).await;
    let seen: Vec<&str> = order(&world, &THREE, "web:3")
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(seen, THREE);
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_later_is_taken_back_where_it_was_fine() {
    let rollout = waves(&json!({"onFailure": "holdBack"}));
    let (world, first) = begin(&THREE, &rollout).await;
    let (good, bad) = (app("web:2"), app("web:2-broken"));
    world
        .push(&[
            ("apps/eu/web.yaml", Some(&good)),
            ("apps/us/web.yaml", Some(&bad)),
            ("apps/ap/web.yaml", Some(&good)),
        ])
        .await;
    until_state(&world, "us-1", "Failed").await;
    until_state(&world, "eu-1", "HeldBack").await;
    world
        .until(async || {
            for cluster in THREE {
                let now = image(&world, cluster).await;
                let healthy = world
                    .get(HUB, "Kustomization", NS, &format!("apps-{cluster}"))
                    .await
                    .unwrap();
                let is_ready = condition(&healthy, "Ready")["status"] == "True"
                    && healthy["status"]["lastAppliedRevision"] == first;
                if now != "web:1" || !is_ready {
                    return Err(format!("{cluster}: {now} {}", healthy["status"]));
                }
            }
            Ok(())
        })
        .await;
    assert!(message_of(&world).await.contains("wave us failed"));
    // A revert in Git ends it: nothing has to be held any more.
    let last = push(&world, "web:1", &ALL).await;
    for cluster in THREE {
        let child = world.applied(&format!("apps-{cluster}"), &last).await;
        assert_eq!(child["spec"]["sourceRef"]["name"], "fleet");
    }
    settled(&world).await;
}

/// A fleet in which `us-1` is away when a commit comes.
async fn without_us(rule: &str) -> World {
    let mut world = World::new(&THREE).await;
    let first = push(&world, "web:1", &ALL).await;
    world.source().await;
    for cluster in THREE {
        let labels = json!({"managed": "yes", "region": region(cluster)});
        world.cluster(cluster, labels, json!({})).await;
    }
    world
        .apply(HUB, &fleet(waves(&json!({"unreachable": rule}))))
        .await;
    let options = Options {
        cluster_interval: Duration::from_millis(300),
        ..world.options()
    };
    world.start_with(options).await;
    for cluster in THREE {
        world.applied(&format!("apps-{cluster}"), &first).await;
    }
    settled(&world).await;
    world.faults("us-1").refuse(true);
    world
        .ready("Cluster", "us-1", |_, status, _, _| status == "False")
        .await;
    push(&world, "web:2", &ALL).await;
    order(&world, &["eu-1"], "web:2").await;
    world
}

async fn back(world: &World) {
    world.faults("us-1").clear();
    world.reachable("us-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_waits_for_a_cluster_that_is_away() {
    let world = without_us("wait").await;
    world
        .until(async || {
            let entry = entry(&world, "us-1").await;
            (entry["unreachable"] == true)
                .then_some(())
                .ok_or(entry.to_string())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(image(&world, "ap-1").await, "web:1");
    back(&world).await;
    let seen = order(&world, &["us-1", "ap-1"], "web:2").await;
    assert_eq!(seen[0].0, "us-1");
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_skipped_and_catches_up() {
    let world = without_us("skip").await;
    order(&world, &["ap-1"], "web:2").await;
    until_state(&world, "us-1", "Skipped").await;
    let fleet = world
        .get(HUB, "FleetKustomization", NS, "apps")
        .await
        .unwrap();
    assert_ne!(
        condition(&fleet, "Ready")["status"],
        "True",
        "never shown green"
    );
    let summary = fleet["status"]["summary"].as_array().unwrap();
    let us = summary.iter().find(|one| one["name"] == "us-1").unwrap();
    assert_ne!(us["ready"], "True");
    back(&world).await;
    order(&world, &["us-1"], "web:2").await;
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_has_failed() {
    let world = without_us("fail").await;
    until_state(&world, "us-1", "Failed").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(image(&world, "ap-1").await, "web:1");
    back(&world).await;
    // Somebody asks for another try.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        image(&world, "us-1").await,
        "web:1",
        "it is not tried again by itself"
    );
    world
        .ready("Cluster", "us-1", |_, status, _, _| status == "True")
        .await;
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    world.merge("FleetKustomization", "apps", patch).await;
    let seen = order(&world, &["us-1", "ap-1"], "web:2").await;
    assert_eq!(seen[0].0, "us-1");
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_goes_on_in_the_same_order() {
    let (mut world, _) = begin(&THREE, &waves(&json!({"soak": "2s"}))).await;
    push(&world, "web:2", &ALL).await;
    order(&world, &["eu-1"], "web:2").await;
    until_state(&world, "eu-1", "Soaking").await;
    // Killed: nothing is said, nothing is finished.
    drop(world.engine.take());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(image(&world, "us-1").await, "web:1");
    world.start().await;
    let seen: Vec<&str> = order(&world, &THREE[1..], "web:2")
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(seen, ["us-1", "ap-1"]);
    let fleet = settled(&world).await;
    assert_eq!(
        fleet["status"]["rollout"]["sequence"], 1,
        "one change, not two"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_for_a_moment_keep_the_order() {
    let (world, _) = begin(&THREE, &waves(&json!({"soak": "1s"}))).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path(), Profile::Flux);
    let other = Engine::start(connect(&world.server, HUB).await, options)
        .await
        .unwrap();
    push(&world, "web:2", &ALL).await;
    other.poke_all();
    let seen = order(&world, &THREE, "web:2").await;
    let names: Vec<&str> = seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, THREE);
    for pair in seen.windows(2) {
        let soaked = pair[1].1.duration_since(pair[0].1);
        assert!(soaked >= Duration::from_millis(900), "{soaked:?}");
    }
    settled(&world).await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_for_one_region_do_not_delay_the_others() {
    let (world, _) = begin(&THREE, &waves(&json!({"soak": "2s"}))).await;
    push(&world, "web:2", &["us", "ap"]).await;
    let started = Instant::now();
    let mut number = 0;
    // The first wave changes all the time, and the others pass by.
    while image(&world, "ap-1").await != "web:2" {
        number += 1;
        push(&world, &format!("web:eu-{number}"), &["eu"]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{}",
            message_of(&world).await
        );
    }
    assert!(number >= 2, "{number} commits");
    assert_eq!(image(&world, "us-1").await, "web:2");
    order(&world, &["eu-1"], &format!("web:eu-{number}")).await;
    settled(&world).await;
}

/// Only what somebody else's controllers do: sources are fetched, Kustomizations applied, fleets left alone.
async fn stock(world: &World, folder: &std::path::Path) -> Engine {
    let mut options = Options::new(folder, Profile::Flux);
    options.controllers = [Controller::Source, Controller::Kustomize].into();
    let connection = connect(&world.server, HUB).await;
    Engine::start(connection, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_does_not_move_when_flux_takes_over() {
    let (mut world, first) = begin(&THREE, &waves(&json!({"soak": "1h"}))).await;
    push(&world, "web:2", &ALL).await;
    until_state(&world, "eu-1", "Soaking").await;
    for cluster in &THREE[1..] {
        let name = format!("apps-{cluster}");
        world
            .ready("Kustomization", &name, |object, status, _, _| {
                status == "True" && object["spec"]["sourceRef"]["name"] != "fleet"
            })
            .await;
    }
    world.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let flux = stock(&world, folder.path()).await;
    // It applies everything once more, and follows the branch where nothing is held.
    push(&world, "web:3", &ALL).await;
    flux.poke_all();
    order(&world, &["eu-1"], "web:3").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for cluster in &THREE[1..] {
        assert_eq!(image(&world, cluster).await, "web:1", "{cluster} moved");
        world.applied(&format!("apps-{cluster}"), &first).await;
    }
    flux.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_another_kustomize_controller_children_are_always_held() {
    let mut world = World::new(&THREE).await;
    push(&world, "web:1", &ALL).await;
    world.source().await;
    for cluster in THREE {
        let labels = json!({"managed": "yes", "region": region(cluster)});
        world.cluster(cluster, labels, json!({})).await;
    }
    world
        .apply(HUB, &fleet(waves(&json!({"soak": "1s"}))))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let mut options = world.options();
    options.controllers = [Controller::Fleet, Controller::Source].into();
    world.start_with(options).await;
    let mut theirs = Options::new(folder.path(), Profile::Flux);
    theirs.controllers = [Controller::Kustomize, Controller::Source].into();
    let theirs = Engine::start(connect(&world.server, HUB).await, theirs)
        .await
        .unwrap();
    order(&world, &THREE, "web:1").await;
    settled(&world).await;
    push(&world, "web:2", &ALL).await;
    theirs.poke_all();
    let seen = order(&world, &THREE, "web:2").await;
    let names: Vec<&str> = seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, THREE);
    settled(&world).await;
    for cluster in THREE {
        let child = world
            .get(HUB, "Kustomization", NS, &format!("apps-{cluster}"))
            .await
            .unwrap();
        let source = child["spec"]["sourceRef"]["name"].as_str().unwrap();
        assert!(source.starts_with("fleet-"), "{source}");
    }
    theirs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_is_held_is_good_enough() {
    let (world, _) = begin(&THREE[..2], &waves(&json!({"soak": "1h"}))).await;
    let mut after = fleet(json!({}));
    after["metadata"]["name"] = json!("after");
    after["spec"]["template"]["spec"]["path"] = json!("after");
    after["spec"]["dependsOn"] = json!([{"name": "apps"}]);
    after["spec"].as_object_mut().unwrap().remove("rollout");
    let map = crate::world::config_map("after", "1");
    world.push(&[("after/a.yaml", Some(&map))]).await;
    world.apply(HUB, &after).await;
    for cluster in &THREE[..2] {
        world
            .until_data(cluster, "default", "after", "key", "1")
            .await;
    }
    // Both change at once. The one waits for an hour, the other need not.
    let (map, text) = (crate::world::config_map("after", "2"), app("web:2"));
    world
        .push(&[
            ("after/a.yaml", Some(&map)),
            ("apps/eu/web.yaml", Some(&text)),
            ("apps/us/web.yaml", Some(&text)),
        ])
        .await;
    for cluster in &THREE[..2] {
        world
            .until_data(cluster, "default", "after", "key", "2")
            .await;
    }
    assert_eq!(image(&world, "us-1").await, "web:1");
}

/// A definition like Flagger's, without its controller.
fn canaries() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "canaries.flagger.app"},
        "spec": {
            "group": "flagger.app", "scope": "Namespaced",
            "names": {"kind": "Canary", "listKind": "CanaryList", "plural": "canaries", "singular": "canary"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}

async fn phase(world: &World, cluster: &str, phase: &str) {
    world
        .until(
            async || match world.get(cluster, "Canary", "default", "web").await {
                Some(_) => Ok(()),
                None => {
                    let fleet = world.get(HUB, "FleetKustomization", NS, "apps").await;
                    Err(format!(
                        "there is no Canary on {cluster}: {}",
                        fleet.unwrap_or_default()["status"]
                    ))
                }
            },
        )
        .await;
    // Not as kubectl: what a person writes there would be put back.
    let said = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": "web", "namespace": "default"}, "status": {"phase": phase},
    });
    world.apply(cluster, &said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_waits_for_a_canary_and_fails_with_it() {
    let mut world = World::new(&THREE[..2]).await;
    for cluster in &THREE[..2] {
        world.apply(cluster, &canaries()).await;
        let other = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
                           "metadata": {"name": "other", "namespace": "default"}});
        world.apply(cluster, &other).await;
    }
    let canary = |step: &str| {
        format!(
            "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {{name: web, namespace: default}}\nspec: {{step: \"{step}\"}}\n"
        )
    };
    let push = async |world: &World, step: &str| {
        let text = canary(step);
        world
            .push(&[
                ("apps/eu/canary.yaml", Some(&text)),
                ("apps/us/canary.yaml", Some(&text)),
            ])
            .await
    };
    let step = async |world: &World, cluster: &str| {
        let object = world.get(cluster, "Canary", "default", "web").await;
        object.unwrap_or_default()["spec"]["step"].clone()
    };
    push(&world, "1").await;
    world.source().await;
    for cluster in &THREE[..2] {
        let labels = json!({"managed": "yes", "region": region(cluster)});
        world.cluster(cluster, labels, json!({})).await;
    }
    let rollout = waves(&json!({"soak": "6s", "progressDeadline": "1m", "onFailure": "holdBack"}));
    world.apply(HUB, &fleet(rollout)).await;
    world.start().await;
    for cluster in &THREE[..2] {
        phase(&world, cluster, "Initialized").await;
    }
    settled(&world).await;

    phase(&world, "eu-1", "Progressing").await;
    push(&world, "2").await;
    until_state(&world, "eu-1", "Progressing").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        entry(&world, "eu-1").await["state"],
        "Progressing",
        "it waits for the canary"
    );
    // Flagger is content, for a moment.
    phase(&world, "eu-1", "Succeeded").await;
    until_state(&world, "eu-1", "Soaking").await;
    phase(&world, "eu-1", "Progressing").await;
    until_state(&world, "eu-1", "Progressing").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        step(&world, "us-1").await,
        "1",
        "a soak begins anew after a flap"
    );
    phase(&world, "eu-1", "Failed").await;
    until_state(&world, "eu-1", "Failed").await;
    world
        .until(async || {
            let now = step(&world, "eu-1").await;
            (now == "1").then_some(()).ok_or(now.to_string())
        })
        .await;
    assert_eq!(step(&world, "us-1").await, "1");
}

/// Writes a Promotion's status as the promotion reconciler does.
async fn hold(world: &World, hold: &Value) {
    let connection = connect(&world.server, HUB).await;
    let api: kube::Api<fairway_types::Promotion> = kube::Api::namespaced(connection.client(), NS);
    let patch = json!({"status": {"hold": hold}});
    let params = kube::api::PatchParams::default();
    api.patch_status("shop-prod-1", &params, &kube::api::Patch::Merge(&patch))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_holds_clusters_and_lets_them_go() {
    let mut world = World::new(&THREE).await;
    let first = push(&world, "web:1", &ALL).await;
    world.source().await;
    for cluster in THREE {
        let labels = json!({"managed": "yes", "region": region(cluster)});
        world.cluster(cluster, labels, json!({})).await;
    }
    world.apply(HUB, &fleet(waves(&json!({})))).await;
    let mut options = world.options();
    options.controllers = [Controller::Source, Controller::Kustomize, Controller::Fleet].into();
    world.start_with(options).await;
    order(&world, &THREE, "web:1").await;
    push(&world, "web:2", &ALL).await;
    order(&world, &THREE, "web:2").await;
    settled(&world).await;

    let promotion = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Promotion",
        "metadata": {"name": "shop-prod-1", "namespace": NS},
        "spec": {"pipelineRef": {"name": "shop"}, "stage": "prod", "version": "2"},
    });
    world.apply(HUB, &promotion).await;
    let commit = first.rsplit_once(':').unwrap().1;
    let asked = json!({
        "commit": commit, "fleets": ["apps"], "clusters": ["us-1"],
        "since": "2026-01-01T00:00:00Z", "reason": "verification failed",
    });
    hold(&world, &asked).await;
    order(&world, &["us-1"], "web:1").await;
    let held = until_state(&world, "us-1", "Held").await;
    let why = held["message"].as_str().unwrap();
    assert_eq!(why, "Promotion 'shop-prod-1': verification failed");
    world.applied("apps-us-1", &first).await;
    // While it is held back from a change, nobody else begins that change.
    push(&world, "web:3", &ALL).await;
    until_state(&world, "eu-1", "Held").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(image(&world, "eu-1").await, "web:2");
    hold(&world, &Value::Null).await;
    let seen = order(&world, &THREE, "web:3").await;
    let names: Vec<&str> = seen.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, THREE);
    settled(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_revision_that_is_gone_leaves_the_cluster_as_it_is() {
    use fairway_git::{Change, Signature};
    let (mut world, _) = begin(&THREE[..2], &waves(&json!({"soak": "1h"}))).await;
    push(&world, "web:2", &ALL).await;
    until_state(&world, "eu-1", "Soaking").await;
    world
        .ready("Kustomization", "apps-us-1", |object, status, _, _| {
            status == "True" && object["spec"]["sourceRef"]["name"] != "fleet"
        })
        .await;
    world.stop().await;
    // Somebody rewrites the branch, and the mirror is lost too.
    let text = app("web:2");
    let files: Vec<Change> = ALL
        .iter()
        .map(|region| Change::write(format!("apps/{region}/web.yaml"), text.clone()))
        .collect();
    let ann = Signature::new("Ann", "ann@example.org", 1_700_000_000);
    let repository = world.git.repository();
    let commit = repository
        .edit(None, &files, "Begin anew", &ann, &ann)
        .unwrap();
    repository
        .update_ref("refs/heads/main", commit, None)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    world
        .start_with(Options::new(folder.path(), Profile::Flux))
        .await;
    world
        .ready(
            "Kustomization",
            "apps-us-1",
            |_, status, reason, message| {
                status == "False"
                    && reason == "RevisionUnavailable"
                    && message.contains("left as it is")
            },
        )
        .await;
    assert_eq!(image(&world, "us-1").await, "web:1");
    assert_eq!(image(&world, "eu-1").await, "web:2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_passes_its_checks_before_the_next_one_begins() {
    let mut rollout = waves(&json!({"onFailure": "holdBack"}));
    // The verdict is an annotation that somebody writes on the cluster.
    let says = |verdict: &str| {
        format!(
            "has(object.metadata.annotations) && 'verdict' in object.metadata.annotations && object.metadata.annotations.verdict == '{verdict}'"
        )
    };
    rollout["waves"][0]["checks"] = json!([{"name": "smoke", "cel": {
        "expr": says("good"), "failed": says("bad"), "interval": "1s",
        "object": {"apiVersion": "v1", "kind": "Namespace", "name": "default"},
    }}]);
    let (world, _) = begin(&THREE[..2], &rollout).await;
    let verdict = async |verdict: &str| {
        let annotations =
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"verdict": verdict}}]);
        world
            .edit("eu-1", "Namespace", "", "default", annotations)
            .await;
    };
    push(&world, "web:2", &ALL).await;
    until_state(&world, "eu-1", "Soaking").await;
    world
        .until(async || {
            let fleet = world
                .get(HUB, "FleetKustomization", NS, "apps")
                .await
                .unwrap();
            let check = fleet["status"]["rollout"]["waves"][0]["checks"][0].clone();
            let asked = check["name"] == "smoke" && check["verdict"] == "Pending";
            asked.then_some(()).ok_or(check.to_string())
        })
        .await;
    assert_eq!(image(&world, "us-1").await, "web:1");
    verdict("good").await;
    order(&world, &["us-1"], "web:2").await;
    settled(&world).await;
    verdict("bad").await;
    push(&world, "web:3", &ALL).await;
    let failed = until_state(&world, "eu-1", "Failed").await;
    assert!(
        failed["message"].as_str().unwrap().contains("check smoke"),
        "{failed}"
    );
    order(&world, &["eu-1"], "web:2").await;
    assert_eq!(image(&world, "us-1").await, "web:2");
}
