//! Several clusters.

use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, config_map};

fn fleet(name: &str, environment: &str, path: &str, more: Value) -> Value {
    let mut spec = json!({
        "clusterSelector": {"matchLabels": {"environment": environment}},
        "template": {"spec": {
            "interval": "10m", "retryInterval": "1s", "timeout": "30s", "prune": true, "path": path,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "postBuild": {},
        }},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": name, "namespace": NS}, "spec": spec,
    })
}

const REGIONS: [&str; 3] = ["eu", "us", "ap"];

async fn three(world: &World) -> String {
    let files: Vec<(String, String)> = REGIONS
        .iter()
        .flat_map(|region| {
            [
                (
                    format!("clusters/{region}/platform/c.yaml"),
                    config_map("platform", region),
                ),
                (
                    format!("clusters/{region}/apps/c.yaml"),
                    config_map("apps", "${CLUSTER_NAME} ${REGION}"),
                ),
            ]
        })
        .collect();
    let files: Vec<(&str, Option<&str>)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    let revision = world.push(&files).await;
    world.source().await;
    for region in REGIONS {
        world
            .cluster(
                region,
                json!({"environment": "dev", "region": region}),
                json!({}),
            )
            .await;
    }
    world
        .apply(
            HUB,
            &fleet(
                "platform",
                "dev",
                "clusters/{{ cluster.labels.region }}/platform",
                json!({}),
            ),
        )
        .await;
    let after = json!({"dependsOn": [{"name": "platform"}]});
    world
        .apply(
            HUB,
            &fleet(
                "apps",
                "dev",
                "clusters/{{ cluster.labels.region }}/apps",
                after,
            ),
        )
        .await;
    revision
}

#[tokio::test(flavor = "multi_thread")]
async fn three_clusters_follow_one_repository() {
    let mut world = World::new(&REGIONS).await;
    let revision = three(&world).await;
    world.start().await;
    for region in REGIONS {
        let child = world.applied(&format!("apps-{region}"), &revision).await;
        assert_eq!(child["metadata"]["labels"]["region"], region);
        assert_eq!(child["spec"]["deletionPolicy"], "Orphan");
        assert_eq!(
            child["spec"]["dependsOn"][0]["name"],
            format!("platform-{region}")
        );
        assert_eq!(
            world
                .data(region, "default", "platform", "key")
                .await
                .as_deref(),
            Some(region)
        );
        let wanted = format!("{region} {region}");
        assert_eq!(
            world
                .data(region, "default", "apps", "key")
                .await
                .as_deref(),
            Some(wanted.as_str())
        );
    }
    let object = world
        .ready("FleetKustomization", "apps", |_, status, _, message| {
            status == "True" && message == "3 of 3 clusters ready"
        })
        .await;
    assert_eq!(
        object["status"]["clusters"],
        json!({"matched": 3, "ready": 3, "failed": 0})
    );
    world
        .ready("Cluster", "eu", |object, status, _, _| {
            status == "True" && object["status"]["version"] == "v1.37.0"
        })
        .await;

    // A cluster that stops matching keeps its workloads; one that comes back is followed again.
    world
        .edit(
            HUB,
            "Cluster",
            NS,
            "us",
            json!([{"op": "replace", "path": "/metadata/labels/environment", "value": "lab"}]),
        )
        .await;
    world.until_gone(HUB, "Kustomization", NS, "apps-us").await;
    assert!(world.data("us", "default", "apps", "key").await.is_some());
    world
        .edit(
            HUB,
            "Cluster",
            NS,
            "us",
            json!([{"op": "replace", "path": "/metadata/labels/environment", "value": "dev"}]),
        )
        .await;
    world.applied("apps-us", &revision).await;

    // A deleted fleet leaves its workloads running.
    world.delete(HUB, "FleetKustomization", NS, "apps").await;
    for region in REGIONS {
        world
            .until_gone(HUB, "Kustomization", NS, &format!("apps-{region}"))
            .await;
        assert!(world.data(region, "default", "apps", "key").await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_holds_up_nobody_and_comes_back() {
    let mut world = World::new(&REGIONS).await;
    let first = three(&world).await;
    world.start().await;
    for region in REGIONS {
        world.applied(&format!("apps-{region}"), &first).await;
    }
    world.faults("us").refuse(true);
    let second = world
        .push(&[
            ("clusters/eu/apps/c.yaml", Some(&config_map("apps", "new"))),
            ("clusters/us/apps/c.yaml", Some(&config_map("apps", "new"))),
        ])
        .await;
    world.applied("apps-eu", &second).await;
    world.applied("apps-ap", &second).await;
    let child = world
        .ready("Kustomization", "apps-us", |_, status, _, _| {
            status == "False"
        })
        .await;
    assert_eq!(child["status"]["lastAppliedRevision"], first);
    world
        .ready("Cluster", "us", |_, status, reason, _| {
            status == "False" && reason == "ClusterUnreachable"
        })
        .await;
    world.faults("us").clear();
    world.applied("apps-us", &second).await;
    world
        .until_data("us", "default", "apps", "key", "new")
        .await;
    world
        .ready("Cluster", "us", |_, status, _, _| status == "True")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_label_and_a_foreign_object_fail_their_cluster_alone() {
    let mut world = World::new(&["eu", "us", "ap"]).await;
    let revision = world
        .push(&[
            ("clusters/eu/c.yaml", Some(&config_map("c", "1"))),
            ("clusters/us/c.yaml", Some(&config_map("c", "1"))),
        ])
        .await;
    world.source().await;
    world
        .cluster(
            "eu",
            json!({"environment": "dev", "region": "eu"}),
            json!({}),
        )
        .await;
    world
        .cluster(
            "us",
            json!({"environment": "dev", "region": "us"}),
            json!({}),
        )
        .await;
    world
        .cluster("ap", json!({"environment": "dev"}), json!({}))
        .await;
    // Somebody else's object of the name that a child would have.
    world
        .kustomization("all-us", "elsewhere", json!({"suspend": true}))
        .await;
    world
        .apply(
            HUB,
            &fleet(
                "all",
                "dev",
                "clusters/{{ cluster.labels.region }}",
                json!({}),
            ),
        )
        .await;
    world.start().await;
    world.applied("all-eu", &revision).await;
    let object = world
        .ready("FleetKustomization", "all", |object, status, reason, _| {
            status == "False"
                && reason == "TemplateFailed"
                && object["status"]["clusters"]["ready"] == 1
        })
        .await;
    assert_eq!(
        object["status"]["clusters"],
        json!({"matched": 3, "ready": 1, "failed": 2})
    );
    let summary = object["status"]["summary"].as_array().unwrap();
    let reasons: Vec<_> = summary
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        reasons[..2],
        [("ap", "TemplateFailed"), ("us", "ForeignObject")]
    );
    let foreign = world.get(HUB, "Kustomization", NS, "all-us").await.unwrap();
    assert_eq!(foreign["spec"]["path"], "elsewhere");
    assert!(
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap()
            .contains("has no label 'region'")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_run_as_if_flux_were_in_it() {
    let mut world = World::new(&["eu"]).await;
    let controller = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: kustomize-controller\n  namespace: flux-system\n  \
                      labels: {app.kubernetes.io/part-of: flux}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: k}}\n  \
                      template:\n    metadata: {labels: {app: k}}\n    spec: {containers: [{name: k, image: \"k:1\"}]}\n";
    let apps = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\n\
                spec:\n  interval: 10m\n  path: ./apps\n  prune: true\n  sourceRef: {kind: GitRepository, name: flux-system}\n";
    let revision = world
        .push(&[
            (
                "clusters/eu/flux-system/gotk-components.yaml",
                Some(controller),
            ),
            ("clusters/eu/apps.yaml", Some(apps)),
            ("apps/a.yaml", Some(&config_map("a", "1"))),
        ])
        .await;
    world.source().await;
    let sync = json!({"sync": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, "path": "./clusters/eu"}});
    world
        .cluster("eu", json!({"environment": "dev", "region": "eu"}), sync)
        .await;
    world.start().await;
    let at = |object: &Value, status: &str| {
        status == "True" && object["status"]["lastAppliedRevision"] == revision
    };
    world
        .ready_on(
            "eu",
            "Kustomization",
            "flux-system",
            |object, status, _, _| at(object, status),
        )
        .await;
    world
        .ready_on("eu", "Kustomization", "apps", |object, status, _, _| {
            at(object, status)
        })
        .await;
    world.until_data("eu", "default", "a", "key", "1").await;
    assert!(world.get(HUB, "ConfigMap", "default", "a").await.is_none());
    let deployment = world
        .get("eu", "Deployment", NS, "kustomize-controller")
        .await
        .unwrap();
    assert_eq!(deployment["spec"]["replicas"], 0);
    world
        .until(async || {
            let cluster = world.get(HUB, "Cluster", NS, "eu").await.unwrap();
            let message = condition(&cluster, "Synced")["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let told = message.contains("superseded: Deployment/flux-system/kustomize-controller");
            told.then_some(()).ok_or(message)
        })
        .await;

    // A commit changes what lives in the cluster.
    let second = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    world.until_data("eu", "default", "a", "key", "2").await;

    // A fleet that is pointed at the same path is refused, and names both owners.
    world
        .apply(HUB, &fleet("apps", "dev", "apps", json!({})))
        .await;
    let child = world
        .ready("Kustomization", "apps-eu", |_, status, reason, _| {
            status == "False" && reason == "EngineConflict"
        })
        .await;
    let message = condition(&child, "Ready")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("FleetKustomization 'flux-system/apps'"),
        "{message}"
    );
    assert!(
        message.contains("Kustomization 'flux-system/apps' that lives in the cluster"),
        "{message}"
    );
    let a = world.get("eu", "ConfigMap", "default", "a").await.unwrap();
    assert_eq!(
        a["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"], "apps",
        "{second}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_flux_of_its_own_is_not_taken_over() {
    let mut world = World::new(&["eu"]).await;
    let revision = world
        .push(&[
            ("theirs/c.yaml", Some(&config_map("theirs", "1"))),
            ("ours/c.yaml", Some(&config_map("ours", "1"))),
        ])
        .await;
    world.source().await;
    for definition in fairway_types::crds() {
        world.apply("eu", &definition).await;
    }
    let resident = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": NS},
        "spec": {"interval": "10m", "prune": true, "path": "./theirs/", "sourceRef": {"kind": "GitRepository", "name": "x"}},
    });
    world.apply("eu", &resident).await;
    world
        .cluster(
            "eu",
            json!({"environment": "dev", "region": "eu"}),
            json!({}),
        )
        .await;
    world
        .apply(HUB, &fleet("theirs", "dev", "theirs", json!({})))
        .await;
    world
        .apply(HUB, &fleet("ours", "dev", "ours", json!({})))
        .await;
    world.start().await;
    let child = world
        .ready("Kustomization", "theirs-eu", |_, status, reason, _| {
            status == "False" && reason == "EngineConflict"
        })
        .await;
    let message = condition(&child, "Ready")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("two owners for path './theirs'"),
        "{message}"
    );
    assert!(
        message.contains("Kustomization 'flux-system/apps' that lives in the cluster"),
        "{message}"
    );
    world.applied("ours-eu", &revision).await;
    assert!(
        world
            .get("eu", "ConfigMap", "default", "theirs")
            .await
            .is_none()
    );
}
