//! One cluster, the hub itself.

use std::time::Instant;

use serde_json::json;

use crate::world::{HUB, NS, World, condition, config_map};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_applied_changed_and_pruned() {
    let mut world = World::new(&[]).await;
    let first = world.push(&[("apps/a.yaml", Some(&config_map("a", "1"))), ("apps/b.yaml", Some(&config_map("b", "1")))]).await;
    world.source().await;
    world.kustomization("apps", "./apps", json!({})).await;
    world.start().await;

    let object = world.applied("apps", &first).await;
    assert_eq!(condition(&object, "Ready")["message"], format!("Applied revision: {first}"));
    assert_eq!(condition(&object, "Reconciling"), serde_json::Value::Null);
    let ids: Vec<_> = object["status"]["inventory"]["entries"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["default_a__ConfigMap", "default_b__ConfigMap"]);
    assert_eq!(object["metadata"]["finalizers"], json!(["finalizers.fluxcd.io"]));
    let source = world.get(HUB, "GitRepository", NS, "fleet").await.unwrap();
    assert_eq!(source["status"]["artifact"]["revision"], first);

    let second = world.push(&[("apps/a.yaml", Some(&config_map("a", "2"))), ("apps/b.yaml", None)]).await;
    let object = world.applied("apps", &second).await;
    world.until_data(HUB, "default", "a", "key", "2").await;
    world.until_gone(HUB, "ConfigMap", "default", "b").await;
    assert_eq!(object["status"]["inventory"]["entries"].as_array().unwrap().len(), 1);
    assert_eq!(object["status"]["history"][0]["metadata"]["revision"], second);

    world.delete(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "ConfigMap", "default", "a").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_edit_and_a_deletion_are_put_back_by_watch() {
    let mut world = World::new(&[]).await;
    let first = world.push(&[("apps/a.yaml", Some(&config_map("a", "1")))]).await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.start().await;
    world.applied("apps", &first).await;
    // The watch begins after the first apply.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;

    let edited = Instant::now();
    world
        .edit(HUB, "ConfigMap", "default", "a", json!([{"op": "replace", "path": "/data/key", "value": "evil"}]))
        .await;
    world.until_data(HUB, "default", "a", "key", "1").await;
    assert!(edited.elapsed().as_secs() < 2, "{:?}", edited.elapsed());

    let deleted = Instant::now();
    world.delete(HUB, "ConfigMap", "default", "a").await;
    world.until_data(HUB, "default", "a", "key", "1").await;
    assert!(deleted.elapsed().as_secs() < 3, "{:?}", deleted.elapsed());
    assert!(world.engine().metrics().drifts >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_commit_keeps_the_last_good_state_and_a_repair_heals() {
    let mut world = World::new(&[]).await;
    let good = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1"))), ("other/c.yaml", Some(&config_map("c", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.kustomization("other", "other", json!({})).await;
    world.start().await;
    world.applied("apps", &good).await;

    let bad = world
        .push(&[("apps/a.yaml", Some("kind: ConfigMap\n  oops: [")), ("other/c.yaml", Some(&config_map("c", "2")))])
        .await;
    let object = world.ready("Kustomization", "apps", |_, status, reason, _| status == "False" && reason == "BuildFailed").await;
    assert_eq!(object["status"]["lastAppliedRevision"], good);
    assert_eq!(object["status"]["lastAttemptedRevision"], bad);
    assert!(condition(&object, "Ready")["message"].as_str().unwrap().contains("apps/a.yaml"), "{object}");
    assert_eq!(world.data(HUB, "default", "a", "key").await.as_deref(), Some("1"));
    // The other one goes on.
    world.applied("other", &bad).await;
    world.until_data(HUB, "default", "c", "key", "2").await;
    world
        .until(async || {
            let events = world.list(HUB, "Event", NS).await;
            let told = events.iter().any(|event| {
                event["reason"] == "BuildFailed" && event["type"] == "Warning" && event["involvedObject"]["name"] == "apps"
            });
            told.then_some(()).ok_or("no event says so".to_owned())
        })
        .await;

    let repaired = world.push(&[("apps/a.yaml", Some(&config_map("a", "3")))]).await;
    world.applied("apps", &repaired).await;
    world.until_data(HUB, "default", "a", "key", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_build_deletes_nothing_unless_it_is_allowed() {
    let mut world = World::new(&[]).await;
    let first = world.push(&[("apps/a.yaml", Some(&config_map("a", "1")))]).await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.start().await;
    world.applied("apps", &first).await;
    let empty = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n";
    let second = world.push(&[("apps/a.yaml", None), ("apps/kustomization.yaml", Some(empty))]).await;
    let object = world.ready("Kustomization", "apps", |_, status, _, message| status == "False" && message.contains("allow-empty")).await;
    assert_eq!(object["status"]["inventory"]["entries"].as_array().unwrap().len(), 1);
    assert!(world.data(HUB, "default", "a", "key").await.is_some());

    world
        .edit(
            HUB,
            "Kustomization",
            NS,
            "apps",
            json!([{"op": "add", "path": "/metadata/annotations", "value": {"fleet.fairway.dev/allow-empty": "true"}}]),
        )
        .await;
    world.applied("apps", &second).await;
    world.until_gone(HUB, "ConfigMap", "default", "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_wait_cycles_are_named_and_missing_paths_are_told() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("a/a.yaml", Some(&config_map("a", "1"))), ("b/b.yaml", Some(&config_map("b", "${WHO:-nobody}")))])
        .await;
    world.source().await;
    world.kustomization("b", "b", json!({"dependsOn": [{"name": "a"}], "postBuild": {"substitute": {"WHO": "me"}}})).await;
    world.kustomization("x", "a", json!({"dependsOn": [{"name": "y"}]})).await;
    world.kustomization("y", "a", json!({"dependsOn": [{"name": "x"}]})).await;
    world.kustomization("lost", "nowhere", json!({})).await;
    world.start().await;
    world.ready("Kustomization", "b", |_, status, reason, message| {
        status == "False" && reason == "DependencyNotReady" && message == "dependency 'flux-system/a' not found"
    })
    .await;
    world.ready("Kustomization", "x", |_, _, _, message| {
        message == "dependency cycle: flux-system/x -> flux-system/y -> flux-system/x"
    })
    .await;
    world.ready("Kustomization", "lost", |_, _, reason, message| {
        reason == "ArtifactFailed" && message.contains("'nowhere'")
    })
    .await;
    world.kustomization("a", "a", json!({})).await;
    world.applied("a", &revision).await;
    world.applied("b", &revision).await;
    world.until_data(HUB, "default", "b", "key", "me").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_waited_for_and_a_broken_rollout_is_told_until_it_is_repaired() {
    let deployment = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: default}}\nspec:\n  replicas: 1\n  \
             progressDeadlineSeconds: 1\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: \
             {{app: web}}}}\n    spec: {{containers: [{{name: web, image: \"{image}\"}}]}}\n"
        )
    };
    let mut world = World::new(&[]).await;
    let good = world.push(&[("web/web.yaml", Some(&deployment("web:1")))]).await;
    world.source().await;
    world.kustomization("web", "web", json!({"wait": true})).await;
    world.start().await;
    let object = world.applied("web", &good).await;
    assert_eq!(condition(&object, "Healthy")["status"], "True");
    let bad = world.push(&[("web/web.yaml", Some(&deployment("web:broken")))]).await;
    let object = world.ready("Kustomization", "web", |_, status, reason, _| status == "False" && reason == "HealthCheckFailed").await;
    assert_eq!(object["status"]["lastAppliedRevision"], good);
    assert_eq!(object["status"]["lastAttemptedRevision"], bad);
    let repaired = world.push(&[("web/web.yaml", Some(&deployment("web:2")))]).await;
    world.applied("web", &repaired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_kustomization_costs_one_status_patch_and_a_restart_writes_nothing() {
    let mut world = World::new(&["dev"]).await;
    let first = world.push(&[("a/a.yaml", Some(&config_map("a", "1"))), ("b/b.yaml", Some(&config_map("b", "1")))]).await;
    world.source().await;
    world.cluster("dev", json!({}), json!({})).await;
    let remote = json!({"kubeConfig": {"secretRef": {"name": "dev-kubeconfig"}}});
    world.kustomization("a", "a", remote.clone()).await;
    world.kustomization("b", "b", remote).await;
    world.start().await;
    world.applied("a", &first).await;
    world.applied("b", &first).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;

    let before = world.requests("dev");
    let second = world.push(&[("README.md", Some("nothing that is built\n"))]).await;
    world.applied("a", &second).await;
    world.applied("b", &second).await;
    let of_objects = |counts: &std::collections::BTreeMap<(String, String), u64>| {
        counts.iter().filter(|((_, resource), _)| resource.contains("configmaps")).map(|(_, n)| n).sum::<u64>()
    };
    assert_eq!(of_objects(&before), of_objects(&world.requests("dev")));

    let version = |object: &serde_json::Value| object["metadata"]["resourceVersion"].clone();
    let a = world.get("dev", "ConfigMap", "default", "a").await.unwrap();
    world.stop().await;
    world.start().await;
    let third = world.push(&[("README.md", Some("still nothing\n"))]).await;
    world.applied("a", &third).await;
    world.applied("b", &third).await;
    assert_eq!(version(&a), version(&world.get("dev", "ConfigMap", "default", "a").await.unwrap()));
}
