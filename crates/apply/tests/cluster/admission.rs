//! What the API server itself changes of every write: no drift, and nothing to fight over.

use std::time::Duration;

use fairway_apply::observe::ObjectChange;
use fairway_testkit::real::{Assets, ControlPlane};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{Cluster, config_map};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1";

/// Rewrites a value and adds one, in every ConfigMap of `default`.
fn policy() -> [(&'static str, Value); 2] {
    let name = json!({"name": "rewrite.example.com"});
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": name,
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
            }]},
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": r#"Object{data: {"key": "rewritten", "extra": "added"}}"#},
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": name,
        "spec": {"policyName": "rewrite.example.com", "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        }},
    });
    [
        ("mutatingadmissionpolicies", policy),
        ("mutatingadmissionpolicybindings", binding),
    ]
}

async fn create(cluster: &Cluster, path: &str, object: &Value) -> Result<Value, kube::Error> {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object).unwrap())
        .unwrap();
    cluster.connection.client().request(request).await
}

/// Whether writes are rewritten by now: the API server learns of its policies a moment later.
async fn is_in_force(cluster: &Cluster) -> bool {
    let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
    let answer = create(cluster, path, &config_map("probe", "1"))
        .await
        .unwrap();
    answer["data"]["key"] == "rewritten"
}

#[tokio::test]
async fn what_admission_rewrites_is_no_drift() {
    let Some(assets) = Assets::find() else {
        eprintln!("skipped: no kube-apiserver; `cargo xtask envtest` builds one");
        return;
    };
    let plane = ControlPlane::start(&assets).await.unwrap();
    let mut cluster = Cluster::reached_by(plane.kubeconfig()).await;
    for (resource, object) in policy() {
        create(&cluster, &format!("{POLICIES}/{resource}"), &object)
            .await
            .unwrap();
    }
    timeout(Duration::from_secs(30), async {
        while !is_in_force(&cluster).await {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the policy comes into force");

    let observer = cluster.observe();
    let mut events = observer.subscribe();
    assert_eq!(
        cluster.changes(&[config_map("a", "1")]).await,
        ["ConfigMap/default/a created"]
    );
    let live = cluster.config_map("a").await.unwrap();
    assert_eq!(live["data"], json!({"key": "rewritten", "extra": "added"}));
    let fought = timeout(Duration::from_secs(3), async {
        loop {
            if let Ok(event) = events.recv().await
                && let ObjectChange::Drifted(drift) = event.change
            {
                return drift;
            }
        }
    })
    .await;
    assert!(fought.is_err(), "{fought:?}");

    let writes = cluster.count("apply");
    let before = cluster.config_map("a").await.unwrap();
    cluster.changes(&[config_map("a", "1")]).await;
    assert_eq!(cluster.count("apply"), writes, "it is as it was left");
    // Somebody who knows nothing of what was applied asks, and writes nothing either.
    let mut stranger = Cluster::reached_by(plane.kubeconfig()).await;
    stranger.inventory = cluster.inventory.clone();
    assert_eq!(
        stranger.changes(&[config_map("a", "1")]).await,
        ["ConfigMap/default/a unchanged"]
    );
    let after = cluster.config_map("a").await.unwrap();
    assert_eq!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
}
