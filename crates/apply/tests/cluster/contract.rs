//! Corners of Flux's contract: what an apply stumbles over, fights over fields, Jobs that go when they are done.

use std::time::Duration;

use fairway_apply::{
    Owner,
    drift::Backoff,
    observe::{ObjectChange, Observer},
};
use fairway_types::Inventory;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{Cluster, config_map, deployment};

async fn synced(observer: &Observer) {
    let until = async {
        while observer.modes().is_empty() || !observer.is_synced() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), until)
        .await
        .expect("the observer is in sync");
}

/// Goes on as another Kustomization whose first apply this is.
fn become_new(cluster: &mut Cluster, name: &str) {
    cluster.owner = Owner {
        name: name.into(),
        namespace: "flux-system".into(),
    };
    cluster.inventory = Inventory::default();
    cluster.first = true;
}

pub(crate) async fn what_is_known_to_be_absent_is_applied_without_a_check(mut cluster: Cluster) {
    let observer = cluster.observe();
    cluster.changes(&[config_map("seed", "1")]).await;
    synced(&observer).await;
    // Somebody made this one by hand; it has no label of ours.
    cluster
        .made_by_kubectl(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "theirs", "namespace": "default"},
            "data": {"key": "old", "extra": "x"},
        }))
        .await;
    become_new(&mut cluster, "second");
    let (checks, applies) = (cluster.count("dry-run"), cluster.count("apply"));
    let changes = cluster
        .changes(&[config_map("n1", "1"), config_map("n2", "1")])
        .await;
    assert_eq!(
        changes,
        [
            "ConfigMap/default/n1 created",
            "ConfigMap/default/n2 created"
        ]
    );
    assert_eq!(cluster.count("dry-run"), checks);
    assert_eq!(cluster.count("apply"), applies + 2);

    become_new(&mut cluster, "third");
    assert_eq!(
        cluster.changes(&[config_map("theirs", "1")]).await,
        ["ConfigMap/default/theirs configured"]
    );
    let live = cluster.config_map("theirs").await.unwrap();
    assert_eq!(
        live["data"],
        json!({"key": "1"}),
        "kubectl's fields are taken over"
    );

    // What somebody keeps from us is left alone on a first apply too, and so is what is only made where it lacks.
    for (name, ours, theirs) in [
        (
            "kept",
            json!({}),
            json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}),
        ),
        (
            "seeded",
            json!({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}),
            json!({}),
        ),
    ] {
        cluster
            .made_by_kubectl(&json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default", "annotations": theirs},
                "data": {"key": "theirs"},
            }))
            .await;
        become_new(&mut cluster, "fifth");
        let mut object = config_map(name, "ours");
        object["metadata"]["annotations"] = ours;
        cluster.apply(&[object]).await.unwrap();
        let live = cluster.config_map(name).await.unwrap();
        assert_eq!(live["data"], json!({"key": "theirs"}), "{name}");
    }

    // What is there and ours is checked as ever.
    become_new(&mut cluster, "third");
    let writes = cluster.writes();
    assert_eq!(
        cluster.changes(&[config_map("theirs", "1")]).await,
        ["ConfigMap/default/theirs unchanged"]
    );
    assert_eq!(cluster.writes(), writes);
    // A refusal reads as it does after a check.
    become_new(&mut cluster, "fourth");
    let mut invalid = config_map("Bad_Name", "1");
    invalid["metadata"]["name"] = "Bad_Name".into();
    let error = cluster.apply(&[invalid]).await.unwrap_err();
    assert!(
        error.starts_with("ConfigMap/default/Bad_Name dry-run failed (Invalid): "),
        "{error}"
    );
}

/// Flux reads built-in kinds into Go's types: what they do not have falls away.
pub(crate) async fn fields_that_a_kind_does_not_have_are_left_out(mut cluster: Cluster) {
    let mut object = deployment("typo", "web:1");
    object["spec"]["replcas"] = 5.into();
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always".into();
    let report = cluster.apply(std::slice::from_ref(&object)).await.unwrap();
    assert_eq!(
        report.changes[0].to_string(),
        "Deployment/default/typo created"
    );
    assert_eq!(
        report.left_out[0].1,
        [
            "spec.replcas",
            "spec.template.spec.containers[0].imagePullPolice"
        ]
    );
    let live = cluster
        .get("default_typo_apps_Deployment", "v1")
        .await
        .unwrap();
    assert_eq!(live["spec"]["replicas"], 2);
    assert!(live["spec"].get("replcas").is_none());
    assert_eq!(
        cluster.changes(&[object]).await,
        ["Deployment/default/typo unchanged"]
    );
}

fn definition(versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gauges.test.fairway.dev"},
        "spec": {
            "group": "test.fairway.dev", "scope": "Namespaced",
            "names": {"plural": "gauges", "singular": "gauge", "kind": "Gauge", "listKind": "GaugeList"},
            "versions": versions,
        },
    })
}

fn version(name: &str, storage: bool, properties: Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}},
    })
}

/// A definition gets a version that defaults a new field, while the managers' entries are still of the old version.
pub(crate) async fn a_new_version_with_a_new_default_is_followed(mut cluster: Cluster) {
    let old = json!({"a": {"type": "string"}});
    let new = json!({"a": {"type": "string"}, "b": {"type": "string", "default": "x"}});
    let gauge = |version: &str, a: &str| {
        json!({
            "apiVersion": format!("test.fairway.dev/{version}"), "kind": "Gauge",
            "metadata": {"name": "g", "namespace": "default"}, "spec": {"a": a},
        })
    };
    let first = definition(json!([version("v1", true, old.clone())]));
    cluster.changes(&[first, gauge("v1", "1")]).await;
    let second = definition(json!([version("v1", false, old), version("v2", true, new)]));
    cluster.changes(&[second.clone(), gauge("v1", "1")]).await;
    let changes = cluster.changes(&[second.clone(), gauge("v2", "2")]).await;
    assert_eq!(changes[1], "Gauge/default/g configured");
    let changes = cluster.changes(&[second, gauge("v2", "3")]).await;
    assert_eq!(changes[1], "Gauge/default/g configured");
    let live = cluster
        .get("default_g_test.fairway.dev_Gauge", "v2")
        .await
        .unwrap();
    assert_eq!(live["spec"], json!({"a": "3", "b": "x"}));
    cluster.changes(&[]).await;
}

/// Somebody who sets a field back whenever we put it right: an autoscaler with replicas in Git, a webhook of old.
pub(crate) async fn a_fight_over_a_field_slows_down(mut cluster: Cluster) {
    let observer = cluster.observe();
    let mut events = observer.subscribe();
    cluster.changes(&[config_map("a", "1")]).await;
    synced(&observer).await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    let interval = Duration::from_mins(1);
    let (start, writes) = (Instant::now(), cluster.count("apply"));
    let mut backoff = Backoff::default();
    let mut reported = None;
    let mut delays = Vec::new();
    cluster
        .patch_as("rival", path, json!({"data": {"key": "theirs"}}))
        .await;
    while start.elapsed() < Duration::from_secs(6) {
        let Ok(Ok(event)) = timeout(Duration::from_secs(2), events.recv()).await else {
            continue;
        };
        let ObjectChange::Drifted(drift) = event.change else {
            continue;
        };
        assert_eq!(drift.fields, [".data.key"]);
        assert_eq!(drift.managers, ["rival"]);
        let correction = backoff.drifted(&event.id, Instant::now(), interval);
        if correction.report {
            reported = Some(drift.to_string());
        }
        delays.push(
            correction
                .at
                .saturating_duration_since(Instant::now())
                .as_millis(),
        );
        tokio::time::sleep_until(correction.at).await;
        cluster.changes(&[config_map("a", "1")]).await;
        cluster
            .patch_as("rival", path, json!({"data": {"key": "theirs"}}))
            .await;
    }
    assert!(delays[0] < 50, "the first is put back at once: {delays:?}");
    let fought = cluster.count("apply") - writes;
    assert!((3..=5).contains(&fought), "{fought} writes: {delays:?}");
    assert_eq!(reported.as_deref(), Some(".data.key changed by rival"));
}

fn job(ttl: u64) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "once", "namespace": "default"},
        "spec": {
            "ttlSecondsAfterFinished": ttl, "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job:1"}]}},
        },
    })
}

pub(crate) async fn a_job_that_is_done_and_gone_is_left_so_by_a_correction(mut cluster: Cluster) {
    let observer = cluster.observe();
    let mut events = observer.subscribe();
    let objects = [config_map("a", "1"), job(600)];
    cluster.changes(&objects).await;
    synced(&observer).await;
    let path = "/apis/batch/v1/namespaces/default/jobs/once";
    // No Job controller runs beside a real API server, and the embedded one may be faster than this.
    let time = format!("{:.0}", jiff::Timestamp::now());
    let _ = cluster
        .try_patch_as(
            "test",
            &format!("{path}/status"),
            json!({"status": {
                "startTime": time, "completionTime": time, "succeeded": 1,
                "conditions": [
                    {"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached", "message": "", "lastProbeTime": time, "lastTransitionTime": time},
                    {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": "", "lastProbeTime": time, "lastTransitionTime": time},
                ],
            }}),
        )
        .await;
    let resource = cluster.mapper.resource("batch/v1", "Job").await.unwrap();
    let seen = async {
        let id = "default_once_batch_Job".parse().unwrap();
        while !observer
            .last_seen(&id)
            .is_some_and(|seen| seen.health.message.starts_with("Job Completed"))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(Duration::from_secs(10), seen).await.is_err() {
        let live = cluster.get("default_once_batch_Job", "v1").await;
        panic!("the Job does not complete: {live:?}");
    }
    cluster
        .session
        .delete(&resource, "default", "once", None)
        .await
        .unwrap();
    let gone = async {
        loop {
            if let ObjectChange::Gone { finished } = events.recv().await.unwrap().change {
                return finished;
            }
        }
    };
    assert!(
        timeout(Duration::from_secs(10), gone)
            .await
            .expect("the end of the Job is seen")
    );

    cluster
        .patch_as(
            "kubectl-edit",
            "/api/v1/namespaces/default/configmaps/a",
            json!({"data": {"key": "evil"}}),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.correction = true;
    assert_eq!(
        cluster.changes(&objects).await,
        ["ConfigMap/default/a configured", "Job/default/once skipped"]
    );
    // Another content is another Job.
    let changes = cluster.changes(&[config_map("a", "1"), job(900)]).await;
    assert_eq!(changes[1], "Job/default/once created");
    cluster.changes(&[]).await;
}

/// A StatefulSet never says that its pods crash; kstatus looks at them, and so do we.
#[tokio::test]
async fn a_stateful_set_whose_pods_crash_fails_early() {
    // The embedded API server's own workloads would run it.
    let Some(assets) = fairway_testkit::real::Assets::find() else {
        eprintln!("skipped: no kube-apiserver; `cargo xtask envtest` builds one");
        return;
    };
    let plane = fairway_testkit::real::ControlPlane::start(&assets)
        .await
        .unwrap();
    let mut cluster = Cluster::reached_by(plane.kubeconfig()).await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": 1, "serviceName": "db",
            "selector": {"matchLabels": {"app": "crashing"}},
            "template": {
                "metadata": {"labels": {"app": "crashing"}},
                "spec": {"containers": [{"name": "db", "image": "db:1"}]},
            },
        },
    });
    let report = cluster.apply(&[set]).await.unwrap();
    // Whoever runs pods here: this one is seen by the selector.
    let pods = cluster.mapper.resource("v1", "Pod").await.unwrap();
    let path = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "crashing-0", "namespace": "default", "labels": {"app": "crashing"}},
        "spec": {"containers": [{"name": "db", "image": "db:1"}], "nodeName": "nowhere"},
    });
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&pod).unwrap())
        .unwrap();
    cluster
        .connection
        .client()
        .request_text(request)
        .await
        .unwrap();
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "db", "image": "db:1", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }]}});
    cluster
        .patch_as("kubelet", &format!("{path}/crashing-0/status"), status)
        .await;
    let options = fairway_apply::wait::Options::new(Duration::from_secs(15));
    let start = Instant::now();
    let waited =
        fairway_apply::wait::wait(&cluster.session, &cluster.mapper, &report.checked, &options)
            .await;
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        waited.message().unwrap(),
        "failed early due to stalled resources: [StatefulSet/default/db status: 'Failed': 1 pods have failed]"
    );
    cluster
        .session
        .delete(&pods, "default", "crashing-0", None)
        .await
        .unwrap();
    cluster.changes(&[]).await;
}
