//! Changes that spread over clusters in waves.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, config_map};

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
    world.apply(HUB, &fleet(rollout.clone())).await;
    world.start().await;
    for cluster in clusters {
        world.applied(&format!("apps-{cluster}"), &first).await;
    }
    settled(&world).await;
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

async fn images(world: &World, clusters: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for cluster in clusters {
        found.push(image(world, cluster).await);
    }
    found
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
    let deadline = Instant::now() + Duration::from_secs(60);
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
    assert_eq!(fleet["status"]["rollout"]["sequence"], 2);
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
    assert_eq!(settled(&world).await["status"]["rollout"]["sequence"], 2);
}
