//! What nothing costs: a new hub that adopts a running fleet, and a commit that touches one app.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HUB, NS, World, config_map};

const CLUSTERS: [&str; 9] = [
    "dev-1",
    "dev-2",
    "dev-3",
    "staging-1",
    "staging-2",
    "staging-3",
    "prod-1",
    "prod-2",
    "prod-3",
];
const APPS: [&str; 3] = ["api", "web", "worker"];

type Counts = BTreeMap<(String, String), u64>;

fn fleet(app: &str) -> Value {
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": app, "namespace": NS},
        "spec": {
            "clusterSelector": {"matchLabels": {"managed": "yes"}},
            "template": {"spec": {"interval": "10m", "prune": true, "wait": true, "path": format!("apps/{app}"),
                                  "sourceRef": {"kind": "GitRepository", "name": "fleet"}}},
        },
    })
}

fn deployment(app: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {app}, namespace: default}}\nspec:\n  \
         selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    metadata: {{labels: {{app: {app}}}}}\n    \
         spec: {{containers: [{{name: {app}, image: {image}}}]}}\n"
    )
}

async fn objects(world: &World) {
    world.source().await;
    for cluster in CLUSTERS {
        world
            .cluster(cluster, json!({"managed": "yes"}), json!({}))
            .await;
    }
    for app in APPS {
        world.apply(HUB, &fleet(app)).await;
    }
}

async fn converged(world: &World, revision: &str) {
    for app in APPS {
        for cluster in CLUSTERS {
            world.applied(&format!("{app}-{cluster}"), revision).await;
        }
    }
}

/// What is managed on the clusters, by how it is now.
async fn managed(world: &World) -> BTreeMap<(String, String, String), Value> {
    let mut found = BTreeMap::new();
    for cluster in CLUSTERS {
        for kind in ["ConfigMap", "Deployment"] {
            for app in APPS {
                let object = world.get(cluster, kind, "default", app).await.unwrap();
                let key = (cluster.to_owned(), kind.to_owned(), app.to_owned());
                found.insert(key, object["metadata"]["resourceVersion"].clone());
            }
        }
    }
    found
}

/// Requests between two moments, of those that count.
fn between(before: &Counts, after: &Counts, counts: impl Fn(&str, &str) -> bool) -> u64 {
    after
        .iter()
        .filter(|((verb, resource), _)| counts(verb, resource))
        .map(|(key, n)| n - before.get(key).unwrap_or(&0))
        .sum()
}

fn writes(verb: &str, resource: &str) -> bool {
    [
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "apply",
    ]
    .contains(&verb)
        && (resource.contains("configmaps") || resource.contains("deployments"))
}

/// Commits every app: a ConfigMap and a Deployment each.
async fn push_apps(world: &World) -> String {
    let mut files = Vec::new();
    for app in APPS {
        files.push((format!("apps/{app}/map.yaml"), config_map(app, "1")));
        files.push((
            format!("apps/{app}/deployment.yaml"),
            deployment(app, "nginx:1"),
        ));
    }
    let files: Vec<(&str, Option<&str>)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    world.push(&files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_hub_adopts_nine_clusters_and_writes_to_none_of_their_objects() {
    let mut world = World::new(&CLUSTERS).await;
    let revision = push_apps(&world).await;
    objects(&world).await;
    world.start().await;
    converged(&world, &revision).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.stop().await;
    let before = managed(&world).await;

    // The hub is lost. Another one knows nothing but Git and the kubeconfigs.
    let mut world = world.with_empty_hub().await;
    let counts: Vec<Counts> = CLUSTERS.iter().map(|name| world.requests(name)).collect();
    objects(&world).await;
    world.start().await;
    converged(&world, &revision).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (cluster, before) in CLUSTERS.iter().zip(&counts) {
        // A dry run each says that they are as they should be; none of them changes anything (see below).
        let asked = between(before, &world.requests(cluster), writes);
        let of = (APPS.len() * 2) as u64;
        assert!(asked <= of, "{cluster}: {:?}", world.requests(cluster));
    }
    assert_eq!(managed(&world).await, before);
    let child = world
        .get(HUB, "Kustomization", NS, "web-prod-3")
        .await
        .unwrap();
    assert_eq!(
        child["status"]["inventory"]["entries"],
        json!([{"id": "default_web__ConfigMap", "v": "v1"}, {"id": "default_web_apps_Deployment", "v": "v1"}])
    );

    // From here on it is theirs: a change arrives, and what leaves Git goes.
    let next = world
        .push(&[
            ("apps/web/map.yaml", None),
            (
                "apps/web/deployment.yaml",
                Some(&deployment("web", "nginx:2")),
            ),
        ])
        .await;
    converged(&world, &next).await;
    for cluster in CLUSTERS {
        world
            .until_gone(cluster, "ConfigMap", "default", "web")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_touches_one_app_asks_for_that_app_alone() {
    let mut world = World::new(&CLUSTERS).await;
    let revision = push_apps(&world).await;
    objects(&world).await;
    world.start().await;
    converged(&world, &revision).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = managed(&world).await;
    let counts: Vec<Counts> = CLUSTERS.iter().map(|name| world.requests(name)).collect();
    let hub = world.requests(HUB);
    let status = |world: &World| {
        between(&hub, &world.requests(HUB), |verb, resource| {
            ["patch", "apply", "update"].contains(&verb) && resource == "kustomizations/status"
        })
    };

    let next = world
        .push(&[("apps/web/map.yaml", Some(&config_map("web", "2")))])
        .await;
    converged(&world, &next).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (cluster, before) in CLUSTERS.iter().zip(&counts) {
        let after = world.requests(cluster);
        let of = |what: &str| between(before, &after, |_, resource| resource.contains(what));
        assert_eq!(of("deployments"), 0, "{cluster}: {after:?}");
        let maps = of("configmaps");
        assert!(
            (1..=3).contains(&maps),
            "{cluster}: {maps} requests for one ConfigMap"
        );
    }
    let now = managed(&world).await;
    for (key, version) in &before {
        let touched = key.1 == "ConfigMap" && key.2 == "web";
        assert_eq!(now[key] != *version, touched, "{key:?}");
    }
    // One each for the eighteen that are not touched; the nine that are say what they do.
    let patches = status(&world);
    let (others, own) = (18, 9);
    assert!(
        (others + own..=others + own * 4).contains(&patches),
        "{patches} status patches"
    );
    let mut world_of_others = 0;
    for app in ["api", "worker"] {
        for cluster in CLUSTERS {
            let child = world
                .get(HUB, "Kustomization", NS, &format!("{app}-{cluster}"))
                .await
                .unwrap();
            let history = child["status"]["history"].as_array().unwrap();
            assert_eq!(history.len(), 1, "the same objects, the same outcome");
            world_of_others += history[0]["totalReconciliations"].as_u64().unwrap();
        }
    }
    assert_eq!(world_of_others, others * 2);
}
