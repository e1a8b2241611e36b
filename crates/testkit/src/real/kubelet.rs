//! Somebody who says of Pods that they run, for there are no nodes.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::ControlPlane;
use super::control_plane::request;

/// Marks every Pod of a cluster as running and ready, and one of a Job as done, as soon as it is there. An image whose
/// name contains `broken` can't be pulled, as in the embedded API server. Ends when dropped.
#[derive(Debug)]
pub struct Kubelet {
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Starts watching the Pods of a cluster.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let client = plane.client().await?;
        Ok(Self {
            task: tokio::spawn(follow(client)),
        })
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    loop {
        if let Ok(events) = pods.watch(&WatchParams::default(), "0").await {
            pin_mut!(events);
            while let Some(Ok(event)) = events.next().await {
                let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else {
                    continue;
                };
                if let Some(status) = next_status(&pod) {
                    let namespace = pod.namespace().unwrap_or_default();
                    let path = format!(
                        "/api/v1/namespaces/{namespace}/pods/{}/status",
                        pod.name_any()
                    );
                    // A Pod that has changed or gone meanwhile comes again, or not.
                    let _ = request(&client, "PATCH", &path, &json!({"status": status})).await;
                }
            }
        }
        // The API server is away, or ended the watch.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What a Pod's status should be; `None` where it is that already.
fn next_status(pod: &Pod) -> Option<Value> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or("Pending");
    let is_seen = status.is_some_and(|s| s.container_statuses.is_some());
    if phase != "Pending" || is_seen {
        return None;
    }
    let containers = &pod.spec.as_ref()?.containers;
    let is_broken = containers
        .iter()
        .any(|c| c.image.as_deref().unwrap_or_default().contains("broken"));
    let is_job = pod.owner_references().iter().any(|o| o.kind == "Job");
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let state = match (is_broken, is_job) {
        (true, _) => {
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
        }
        (false, true) => json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
        (false, false) => json!({"running": {"startedAt": now}}),
    };
    let is_ready = !is_broken && !is_job;
    let phase = match (is_broken, is_job) {
        (true, _) => "Pending",
        (false, true) => "Succeeded",
        (false, false) => "Running",
    };
    let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now});
    let statuses = containers.iter().map(|container| {
        json!({
            "name": container.name, "image": container.image, "imageID": "", "restartCount": 0,
            "ready": is_ready, "started": is_ready, "state": state,
        })
    });
    Some(json!({
        "phase": phase,
        "startTime": now,
        "podIP": "10.1.0.1",
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", is_ready), condition("Ready", is_ready),
        ],
        "containerStatuses": statuses.collect::<Vec<_>>(),
    }))
}
