//! Jobs and objects in clusters.

use std::time::Duration;

use fairway_controller::gates::Subject;
use fairway_types::check::Verdict;
use serde_json::{Value, json};

use crate::world::{NS, World};
use crate::{check, decide, subject};

fn at(clusters: &[&str]) -> Subject {
    Subject {
        clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
        ..subject()
    }
}

fn job(image: &str, more: Value) -> Value {
    let mut spec = json!({"backoffLimit": 0, "template": {"spec": {
        "containers": [{"name": "e2e", "image": image, "args": ["{{ version }}"]}]}}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"namespace": "default"}, "spec": spec})
}

async fn fleet() -> World {
    let world = World::new(&["dev-a", "dev-b"]).await;
    for name in ["dev-a", "dev-b"] {
        world
            .cluster(name, json!({"environment": "dev"}), json!({}))
            .await;
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_once_and_decides() {
    let mut world = fleet().await;
    world.start().await;
    let e2e = check(json!({"name": "e2e", "job": {
        "template": job("registry.example/e2e:1", json!({})), "clusters": "all", "timeout": "60s"}}));
    let everywhere = at(&["dev-b", "dev-a"]);
    // Whoever starts it may die before it could be written down.
    let first = world
        .until(async || {
            let looked = world
                .engine()
                .evaluate(&e2e, &everywhere, None)
                .await
                .unwrap()
                .evidence;
            match looked.value.as_deref() {
                Some("dev-a=Running dev-b=Running") => Ok(looked),
                _ => Err(format!("{looked:?}")),
            }
        })
        .await;
    assert_eq!(first.verdict, Verdict::Pending);
    world.stop().await;
    world.start().await;
    let passed = decide(&world, &e2e, &everywhere).await;
    assert_eq!(passed.verdict, Verdict::Passed, "{passed:?}");
    assert_eq!(
        passed.value.as_deref(),
        Some("dev-a=Complete dev-b=Complete")
    );
    for cluster in ["dev-a", "dev-b"] {
        let jobs = world.list(cluster, "Job", "default").await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        let found = &jobs[0];
        assert_eq!(
            found["metadata"]["labels"]["fleet.fairway.dev/check"],
            "e2e"
        );
        assert_eq!(
            found["metadata"]["annotations"]["fleet.fairway.dev/cluster"],
            cluster
        );
        assert_eq!(
            found["spec"]["template"]["spec"]["containers"][0]["args"][0],
            "1.2.3"
        );
        assert_eq!(found["spec"]["ttlSecondsAfterFinished"], 600);
    }
    let name = world.list("dev-a", "Job", "default").await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    // The same attempt again finds what has run; another attempt runs anew.
    assert_eq!(
        decide(&world, &e2e, &everywhere).await.verdict,
        Verdict::Passed
    );
    assert_eq!(world.list("dev-a", "Job", "default").await.len(), 1);
    let another = Subject {
        attempt: "b".to_owned(),
        ..everywhere.clone()
    };
    assert_eq!(
        decide(&world, &e2e, &another).await.verdict,
        Verdict::Passed
    );
    assert_eq!(world.list("dev-a", "Job", "default").await.len(), 2);

    // One that was started and is gone is not run again: nobody saw how it ended.
    world.delete("dev-a", "Job", "default", &name).await;
    world.until_gone("dev-a", "Job", "default", &name).await;
    let lost = world
        .engine()
        .evaluate(&e2e, &everywhere, Some(&first))
        .await
        .unwrap()
        .evidence;
    let lost = match lost.verdict {
        // Too early after the first look.
        Verdict::Pending => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            world
                .engine()
                .evaluate(&e2e, &everywhere, Some(&lost))
                .await
                .unwrap()
                .evidence
        }
        _ => lost,
    };
    assert_eq!(lost.verdict, Verdict::Failed);
    assert_eq!(
        lost.message,
        format!("dev-a: Job default/{name} is gone, and its outcome was not seen")
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_fails_is_refused_or_waits() {
    let mut world = fleet().await;
    let mut options = world.options();
    options.default_service_account = Some("tester".to_owned());
    world.start_with(options).await;
    // It goes in as the account of the Kustomization, which may do nothing yet.
    let broken = check(json!({"name": "broken", "job": {
        "template": job("registry.example/e2e:broken", json!({"activeDeadlineSeconds": 1})), "timeout": "60s"}}));
    let refused = decide(&world, &broken, &at(&["dev-a", "dev-b"])).await;
    assert_eq!(refused.verdict, Verdict::Failed);
    assert!(
        refused
            .message
            .contains("system:serviceaccount:flux-system:tester"),
        "{}",
        refused.message
    );
    world
        .apply("dev-a", &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "tester"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "tester", "namespace": NS}]}))
        .await;
    let failed = decide(&world, &broken, &at(&["dev-a", "dev-b"])).await;
    assert_eq!((failed.verdict, failed.failures), (Verdict::Failed, 1));
    assert!(
        failed.message.contains("failed: DeadlineExceeded: "),
        "{}",
        failed.message
    );
    assert!(
        failed
            .message
            .contains("(logs: kubectl -n default logs job/fairway-broken-"),
        "{}",
        failed.message
    );
    assert!(
        world.list("dev-b", "Job", "default").await.is_empty(),
        "the first cluster alone was asked for"
    );

    // What is no Job at all is told as the API server tells it.
    let invalid = check(
        json!({"name": "invalid", "job": {"template": {"spec": {"template": {"spec": {}}}}}}),
    );
    let refused = decide(&world, &invalid, &at(&["dev-a"])).await;
    assert!(
        refused.message.contains("the Job is refused: "),
        "{}",
        refused.message
    );

    // A cluster that is away says neither yes nor no.
    world.faults("dev-a").refuse(true);
    let e2e = check(
        json!({"name": "e2e", "job": {"template": job("registry.example/e2e:1", json!({})), "timeout": "3s"}}),
    );
    let late = decide(&world, &e2e, &at(&["dev-a"])).await;
    assert_eq!((late.verdict, late.failures), (Verdict::Failed, 0));
    assert!(
        late.message
            .starts_with("no verdict within 3s; last: dev-a: "),
        "{}",
        late.message
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_is_waited_for_in_all_clusters() {
    let mut world = fleet().await;
    world.start().await;
    let weight = |cluster: &'static str, weight: &'static str| {
        let world = &world;
        async move {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "canary", "namespace": "default"}, "data": {"weight": weight, "phase": "Progressing"}});
            world.apply(cluster, &object).await;
        }
    };
    let full = check(
        json!({"name": "weight", "cel": {"expr": "object.data.weight == '100' && subject.stage == 'prod'",
        "failed": "object.data.phase == 'Failed'", "interval": "1s", "timeout": "30s",
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "name": "canary", "namespace": "default"}}}),
    );
    let both = at(&["dev-a", "dev-b"]);
    weight("dev-a", "100").await;
    let missing = world
        .until(async || {
            // The engine learns of the clusters meanwhile.
            let looked = world.engine().evaluate(&full, &both, None).await.unwrap();
            match looked.evidence.message.as_str() {
                "ConfigMap canary in dev-b is not there" => Ok(looked.evidence),
                other => Err(other.to_owned()),
            }
        })
        .await;
    assert_eq!(missing.verdict, Verdict::Pending);
    weight("dev-b", "50").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let half = world
        .engine()
        .evaluate(&full, &both, Some(&missing))
        .await
        .unwrap()
        .evidence;
    assert!(
        half.message
            .contains("ConfigMap canary in dev-b: 'object.data.weight == '100'"),
        "{}",
        half.message
    );
    weight("dev-b", "100").await;
    let passed = decide(&world, &full, &both).await;
    assert_eq!(passed.verdict, Verdict::Passed);
    assert!(
        passed.message.ends_with("(and in all 2 clusters)"),
        "{}",
        passed.message
    );
    let failing = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "canary", "namespace": "default"}, "data": {"weight": "0", "phase": "Failed"}});
    world.apply("dev-b", &failing).await;
    assert_eq!(decide(&world, &full, &both).await.verdict, Verdict::Failed);

    let ready = check(
        json!({"name": "ready", "cel": {"expr": "clusters.all(c, c.ready && c.labels.environment == 'dev') && clusters.size() == 2"}}),
    );
    assert_eq!(decide(&world, &ready, &both).await.verdict, Verdict::Passed);
    world.stop().await;
}
