//! The CRDs of `fairway-types` on a server.

use fairway_types::{Cluster as ClusterObject, FleetKustomization, Kustomization};
use serde_json::{Value, json};

use crate::Cluster;

fn kustomization(interval: &str) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": "default"},
        "spec": {
            "interval": interval, "prune": true, "path": "./apps", "unknown": "field",
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        },
    })
}

/// Structural schemas are accepted, defaults are set, unknown fields are refused by apply, a template keeps everything.
pub(crate) async fn our_definitions_are_accepted_and_keep_what_they_should(mut cluster: Cluster) {
    let definitions = fairway_types::crds();
    let changes = cluster.changes(&definitions).await;
    assert_eq!(changes.len(), definitions.len());
    assert!(
        changes.iter().all(|change| change.ends_with(" created")),
        "{changes:?}"
    );
    assert!(
        cluster
            .changes(&definitions)
            .await
            .iter()
            .all(|change| change.ends_with(" unchanged"))
    );

    let create = |object: Value| {
        let session = cluster.session.clone();
        let mapper = cluster.mapper.clone();
        async move {
            let text = |pointer: &str| {
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap()
                    .to_owned()
            };
            let resource = mapper
                .resource(&text("/apiVersion"), &text("/kind"))
                .await
                .unwrap();
            let options = fairway_apply::api::ApplyOptions {
                manager: "test",
                dry_run: false,
            };
            session.apply(&resource, &object, options).await
        }
    };
    let error = create(kustomization("10m")).await.unwrap_err().to_string();
    assert!(error.contains("unknown"), "{error}");
    let mut valid = kustomization("10m");
    valid["spec"].as_object_mut().unwrap().remove("unknown");
    let stored = create(valid.clone()).await.unwrap();
    assert_eq!(stored["spec"]["force"], false, "defaults are Flux's");
    let read: Kustomization = serde_json::from_value(stored).unwrap();
    assert_eq!(read.spec.interval.to_string(), "10m0s");
    valid["spec"]["interval"] = "soon".into();
    let error = create(valid).await.unwrap_err();
    assert!(error.is_invalid(), "{error}");
    assert!(error.to_string().contains("spec.interval"), "{error}");

    let fleet = create(json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": "default"},
        "spec": {
            "clusterSelector": {"matchExpressions": [{"key": "environment", "operator": "In", "values": ["dev"]}]},
            "template": {"spec": {"interval": "{{ cluster.labels.interval }}", "anything": {"goes": [1, "2"]}}},
        },
    }))
    .await
    .unwrap();
    assert_eq!(fleet["spec"]["onLeave"], "Orphan");
    assert_eq!(
        fleet["spec"]["template"]["spec"]["anything"],
        json!({"goes": [1, "2"]})
    );
    serde_json::from_value::<FleetKustomization>(fleet).unwrap();

    let registered = create(json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "dev-us-west-2", "namespace": "default", "labels": {"environment": "dev"}},
        "spec": {"kubeConfig": {"secretRef": {"name": "dev-us-west-2-kubeconfig"}}},
    }))
    .await
    .unwrap();
    serde_json::from_value::<ClusterObject>(registered).unwrap();
    cluster.changes(&[]).await;
}
