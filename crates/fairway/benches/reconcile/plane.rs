//! A control plane, and who lets Deployments be observed where no controller manager runs.

use std::time::Duration;

use anyhow::Result;
use fairway_apply::Resource;
use fairway_apply::api::WatchEvent;
use fairway_testkit::real::{Assets, ControlPlane};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::api::{Api, MERGE};
use crate::load::NAMESPACE;

/// A fresh control plane.
pub(crate) struct Plane {
    pub(crate) api: Api,
    control: ControlPlane,
    stand_in: JoinHandle<()>,
}

impl Plane {
    pub(crate) async fn start(assets: &Assets) -> Result<Self> {
        let control = ControlPlane::start(assets).await?;
        let api = Api::connect(control.kubeconfig()).await?;
        let stand_in = tokio::spawn(observe_deployments(api.clone()));
        Ok(Self {
            api,
            control,
            stand_in,
        })
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        self.control.kubeconfig()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stand_in.abort();
    }
}

/// Says of each Deployment what a Deployment controller says of one without replicas.
async fn observe_deployments(api: Api) {
    let resource = Resource {
        group: "apps".into(),
        version: "v1".into(),
        kind: "Deployment".into(),
        plural: "deployments".into(),
        namespaced: true,
    };
    let session = api.connection.session();
    loop {
        if let Ok(events) = session.watch(&resource, NAMESPACE, "", "0", 3600).await {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(event)) = events.next().await {
                let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                    continue;
                };
                let generation = &object["metadata"]["generation"];
                if object["status"]["observedGeneration"] != *generation {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    tokio::spawn(observed(api.clone(), name.to_owned(), generation.clone()));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn observed(api: Api, name: String, generation: Value) {
    let path = format!(
        "/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}/status?fieldManager=kube-controller-manager"
    );
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"observedGeneration": generation, "conditions": [
        condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable"),
    ]}});
    // One that is gone need not be observed.
    let _ = api.send("PATCH", &path, MERGE, &status).await;
}
