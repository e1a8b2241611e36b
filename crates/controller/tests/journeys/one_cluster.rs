//! One cluster, the hub itself.

use std::time::{Duration, Instant};

use fairway_controller::{Options, Profile, Remotes};
use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, config_map};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_applied_changed_and_pruned() {
    let mut world = World::new(&[]).await;
    let first = world
        .push(&[
            ("apps/a.yaml", Some(&config_map("a", "1"))),
            ("apps/b.yaml", Some(&config_map("b", "1"))),
        ])
        .await;
    world.source().await;
    world.kustomization("apps", "./apps", json!({})).await;
    world.start().await;

    let object = world.applied("apps", &first).await;
    assert_eq!(
        condition(&object, "Ready")["message"],
        format!("Applied revision: {first}")
    );
    assert_eq!(condition(&object, "Reconciling"), Value::Null);
    let ids: Vec<_> = object["status"]["inventory"]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["default_a__ConfigMap", "default_b__ConfigMap"]);
    assert_eq!(
        object["metadata"]["finalizers"],
        json!(["finalizers.fluxcd.io"])
    );
    let source = world.get(HUB, "GitRepository", NS, "fleet").await.unwrap();
    assert_eq!(source["status"]["artifact"]["revision"], first);

    let second = world
        .push(&[
            ("apps/a.yaml", Some(&config_map("a", "2"))),
            ("apps/b.yaml", None),
        ])
        .await;
    let object = world.applied("apps", &second).await;
    world.until_data(HUB, "default", "a", "key", "2").await;
    world.until_gone(HUB, "ConfigMap", "default", "b").await;
    assert_eq!(
        object["status"]["inventory"]["entries"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        object["status"]["history"][0]["metadata"]["revision"],
        second
    );

    world.delete(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "Kustomization", NS, "apps").await;
    world.until_gone(HUB, "ConfigMap", "default", "a").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_edit_and_a_deletion_are_put_back_by_watch() {
    let mut world = World::new(&[]).await;
    let first = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.start().await;
    world.applied("apps", &first).await;
    // The watch begins after the first apply.
    tokio::time::sleep(Duration::from_millis(300)).await;

    let edited = Instant::now();
    world
        .edit(
            HUB,
            "ConfigMap",
            "default",
            "a",
            json!([{"op": "replace", "path": "/data/key", "value": "evil"}]),
        )
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
        .push(&[
            ("apps/a.yaml", Some(&config_map("a", "1"))),
            ("other/c.yaml", Some(&config_map("c", "1"))),
        ])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.kustomization("other", "other", json!({})).await;
    world.start().await;
    world.applied("apps", &good).await;

    let bad = world
        .push(&[
            ("apps/a.yaml", Some("kind: ConfigMap\n  oops: [")),
            ("other/c.yaml", Some(&config_map("c", "2"))),
        ])
        .await;
    let object = world
        .ready("Kustomization", "apps", |_, status, reason, _| {
            status == "False" && reason == "BuildFailed"
        })
        .await;
    assert_eq!(object["status"]["lastAppliedRevision"], good);
    assert_eq!(object["status"]["lastAttemptedRevision"], bad);
    assert!(
        condition(&object, "Ready")["message"]
            .as_str()
            .unwrap()
            .contains("apps/a.yaml"),
        "{object}"
    );
    assert_eq!(
        world.data(HUB, "default", "a", "key").await.as_deref(),
        Some("1")
    );
    // The other one goes on.
    world.applied("other", &bad).await;
    world.until_data(HUB, "default", "c", "key", "2").await;
    world
        .until(async || {
            let events = world.list(HUB, "Event", NS).await;
            let told = events.iter().any(|event| {
                event["reason"] == "BuildFailed"
                    && event["type"] == "Warning"
                    && event["involvedObject"]["name"] == "apps"
            });
            told.then_some(()).ok_or("no event says so".to_owned())
        })
        .await;

    let repaired = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "3")))])
        .await;
    world.applied("apps", &repaired).await;
    world.until_data(HUB, "default", "a", "key", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_build_deletes_nothing_unless_it_is_allowed() {
    let mut world = World::new(&[]).await;
    let first = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.start().await;
    world.applied("apps", &first).await;
    let empty = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n";
    let second = world
        .push(&[
            ("apps/a.yaml", None),
            ("apps/kustomization.yaml", Some(empty)),
        ])
        .await;
    let object = world
        .ready("Kustomization", "apps", |_, status, _, message| {
            status == "False" && message.contains("allow-empty")
        })
        .await;
    assert_eq!(
        object["status"]["inventory"]["entries"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
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
        .push(&[
            ("a/a.yaml", Some(&config_map("a", "1"))),
            ("b/b.yaml", Some(&config_map("b", "${WHO:-nobody}"))),
        ])
        .await;
    world.source().await;
    world
        .kustomization(
            "b",
            "b",
            json!({"dependsOn": [{"name": "a"}], "postBuild": {"substitute": {"WHO": "me"}}}),
        )
        .await;
    world
        .kustomization("x", "a", json!({"dependsOn": [{"name": "y"}]}))
        .await;
    world
        .kustomization("y", "a", json!({"dependsOn": [{"name": "x"}]}))
        .await;
    world.kustomization("lost", "nowhere", json!({})).await;
    world.start().await;
    world
        .ready("Kustomization", "b", |_, status, reason, message| {
            status == "False"
                && reason == "DependencyNotReady"
                && message.starts_with("dependency 'flux-system/a' not found: ")
        })
        .await;
    world
        .ready("Kustomization", "x", |_, _, _, message| {
            message == "dependency cycle: flux-system/x -> flux-system/y -> flux-system/x"
        })
        .await;
    world
        .ready("Kustomization", "lost", |_, _, reason, message| {
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
    let good = world
        .push(&[("web/web.yaml", Some(&deployment("web:1")))])
        .await;
    world.source().await;
    world
        .kustomization("web", "web", json!({"wait": true}))
        .await;
    world.start().await;
    let object = world.applied("web", &good).await;
    assert_eq!(condition(&object, "Healthy")["status"], "True");
    let bad = world
        .push(&[("web/web.yaml", Some(&deployment("web:broken")))])
        .await;
    let object = world
        .ready("Kustomization", "web", |_, status, reason, _| {
            status == "False" && reason == "HealthCheckFailed"
        })
        .await;
    assert_eq!(object["status"]["lastAppliedRevision"], good);
    assert_eq!(object["status"]["lastAttemptedRevision"], bad);
    let repaired = world
        .push(&[("web/web.yaml", Some(&deployment("web:2")))])
        .await;
    world.applied("web", &repaired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_kustomization_costs_one_status_patch_and_a_restart_writes_nothing() {
    let mut world = World::new(&["dev"]).await;
    let first = world
        .push(&[
            ("a/a.yaml", Some(&config_map("a", "1"))),
            ("b/b.yaml", Some(&config_map("b", "1"))),
        ])
        .await;
    world.source().await;
    world.cluster("dev", json!({}), json!({})).await;
    let remote = json!({"kubeConfig": {"secretRef": {"name": "dev-kubeconfig"}}});
    world.kustomization("a", "a", remote.clone()).await;
    world.kustomization("b", "b", remote).await;
    world.start().await;
    world.applied("a", &first).await;
    world.applied("b", &first).await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    let (before, hub_before) = (world.requests("dev"), world.requests(HUB));
    let second = world
        .push(&[("README.md", Some("nothing that is built\n"))])
        .await;
    world.applied("a", &second).await;
    world.applied("b", &second).await;
    let of_objects = |counts: &std::collections::BTreeMap<(String, String), u64>| {
        counts
            .iter()
            .filter(|((_, resource), _)| resource.contains("configmaps"))
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    assert_eq!(of_objects(&before), of_objects(&world.requests("dev")));
    let patches = |counts: &std::collections::BTreeMap<(String, String), u64>| {
        counts
            .iter()
            .filter(|((verb, resource), _)| verb == "patch" && resource.contains("kustomizations"))
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    assert_eq!(
        patches(&world.requests(HUB)) - patches(&hub_before),
        2,
        "one status patch each"
    );

    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let a = world.get("dev", "ConfigMap", "default", "a").await.unwrap();
    world.stop().await;
    world.start().await;
    let third = world.push(&[("README.md", Some("still nothing\n"))]).await;
    world.applied("a", &third).await;
    world.applied("b", &third).await;
    assert_eq!(
        version(&a),
        version(&world.get("dev", "ConfigMap", "default", "a").await.unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_as_the_service_account_and_a_refusal_is_told() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    let locked = Options {
        requeue_dependency: Duration::from_secs(1),
        ..Options::new(world.folder(), Profile::Locked)
    };
    world.start_with(locked).await;
    let refused = |_: &Value, status: &str, reason: &str, message: &str| {
        status == "False"
            && reason == "ReconciliationFailed"
            && message.contains("system:serviceaccount:flux-system:fairway-applier")
    };
    world.ready("Kustomization", "apps", refused).await;
    assert!(world.get(HUB, "ConfigMap", "default", "a").await.is_none());
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "applier"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "fairway-applier", "namespace": NS}],
    });
    world.apply(HUB, &binding).await;
    world.applied("apps", &revision).await;

    // The locked profile takes no source from another namespace.
    let source =
        json!({"sourceRef": {"kind": "GitRepository", "name": "fleet", "namespace": "other"}});
    world.kustomization("elsewhere", "apps", source).await;
    world
        .ready("Kustomization", "elsewhere", |object, status, reason, _| {
            status == "False"
                && reason == "AccessDenied"
                && condition(object, "Stalled")["status"] == "True"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_offline_is_not_run_and_holds_up_nobody() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    let far = "https://example.invalid/fleet.git";
    for (name, url) in [
        ("fleet", far),
        ("other", "https://example.invalid/other.git"),
    ] {
        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name, "namespace": NS},
            "spec": {"interval": "10m", "url": url, "ref": {"branch": "main"}, "secretRef": {"name": "none"}},
        });
        world.apply(HUB, &source).await;
    }
    world
        .kustomization(
            "infra",
            "x",
            json!({"sourceRef": {"kind": "GitRepository", "name": "other"}}),
        )
        .await;
    world
        .kustomization(
            "charts",
            "x",
            json!({"sourceRef": {"kind": "OCIRepository", "name": "charts"}}),
        )
        .await;
    world
        .kustomization(
            "apps",
            "apps",
            json!({"dependsOn": [{"name": "infra"}, {"name": "charts"}], "healthChecks": [
                {"apiVersion": "example.com/v1", "kind": "MadeByAChart", "name": "x", "namespace": "default"},
            ]}),
        )
        .await;
    let served = [(far.to_owned(), world.git.url())].into();
    world
        .start_with(Options {
            remotes: Remotes::Only(served),
            ..world.options()
        })
        .await;
    world.applied("apps", &revision).await;
    for name in ["infra", "charts"] {
        world
            .ready("Kustomization", name, |_, status, reason, message| {
                status == "Unknown" && reason == "NotRun" && message.starts_with("not run: ")
            })
            .await;
    }
    world
        .ready("GitRepository", "other", |_, status, reason, _| {
            status == "Unknown" && reason == "NotRun"
        })
        .await;
}

/// The process dies at any moment, again and again, while commits come in. Nothing is lost, doubled or left behind.
#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_moment_loses_nothing() {
    let mut world = World::new(&[]).await;
    world
        .push(&[("apps/keep.yaml", Some(&config_map("keep", "0")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    let mut revision = String::new();
    for round in 0..12_u64 {
        let (new, old) = (
            format!("apps/r{round}.yaml"),
            format!("apps/r{}.yaml", round.saturating_sub(1)),
        );
        let text = config_map(&format!("r{round}"), &round.to_string());
        let mut files = vec![(new.as_str(), Some(text.as_str()))];
        if round > 0 {
            files.push((old.as_str(), None));
        }
        revision = world.push(&files).await;
        world.start().await;
        tokio::time::sleep(Duration::from_millis(round * 41 % 260)).await;
        // Dropped, not shut down: whatever was under way ends where it is.
        drop(world.engine.take());
    }
    world.start().await;
    let object = world.applied("apps", &revision).await;
    let mut names: Vec<String> = Vec::new();
    for object in world.list(HUB, "ConfigMap", "default").await {
        if object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "apps" {
            names.push(object["metadata"]["name"].as_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["keep", "r11"]);
    assert_eq!(
        object["status"]["inventory"]["entries"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_touched_while_another_engine_leads() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    let lease = |holder: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "kustomize-controller-leader-election", "namespace": NS},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 35},
        })
    };
    world.apply(HUB, &lease("kustomize-controller-abc")).await;
    world
        .start_with(Options {
            leader_election: true,
            ..world.options()
        })
        .await;
    world
        .until(async || match world.engine().waits_for() {
            Some(holder) if holder == "kustomize-controller-abc" => Ok(()),
            other => Err(format!("waits for {other:?}")),
        })
        .await;
    world
        .ready("GitRepository", "fleet", |_, status, _, _| status == "True")
        .await;
    let object = world.get(HUB, "Kustomization", NS, "apps").await.unwrap();
    assert_eq!(object["metadata"]["finalizers"], Value::Null);
    assert_eq!(object["status"], Value::Null);
    // Flux lets it go, as it does when its Deployment is scaled to nothing.
    world.apply(HUB, &lease("")).await;
    world.applied("apps", &revision).await;
    world.stop().await;
    let lease = world
        .get(HUB, "Lease", NS, "kustomize-controller-leader-election")
        .await
        .unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "let go in turn");
}
