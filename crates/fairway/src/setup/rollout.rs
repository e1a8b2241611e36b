//! Waiting until a Deployment has rolled out, and saying why it has not.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use crate::exit::Hinted;

/// Waits until all replicas are new and available, as `kubectl rollout status` does.
pub(crate) async fn wait_for_rollout(
    client: &Client,
    namespace: &str,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let started = Instant::now();
    loop {
        let deployment = api
            .get(name)
            .await
            .with_context(|| format!("failed to read Deployment {namespace}/{name}"))?;
        if has_rolled_out(&deployment) {
            return Ok(());
        }
        if started.elapsed() >= timeout {
            return Err(Hinted::new(
                format!(
                    "Deployment {namespace}/{name} did not roll out within {}: {}",
                    fairway_types::Duration::from(timeout),
                    why(client, namespace, name).await
                ),
                format!("kubectl -n {namespace} describe pods -l app={name}; --timeout waits longer, --wait=false not at all"),
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn has_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let Some(status) = &deployment.status else {
        return false;
    };
    let seen = status.observed_generation >= deployment.metadata.generation;
    let all = |count: Option<i32>| count.unwrap_or(0) >= wanted;
    seen && all(status.updated_replicas)
        && all(status.available_replicas)
        && status.replicas.unwrap_or(0) <= wanted
}

/// What its pods wait for.
async fn why(client: &Client, namespace: &str, name: &str) -> String {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("app={name}"));
    let Ok(pods) = api.list(&params).await else {
        return "its pods cannot be listed".to_owned();
    };
    if pods.items.is_empty() {
        return "it has no pod; does the cluster's controller manager run?".to_owned();
    }
    let mut reasons: Vec<String> = pods.items.iter().map(reason).collect();
    reasons.dedup();
    reasons.join("; ")
}

fn reason(pod: &Pod) -> String {
    let name = pod.name_any();
    let status = pod.status.clone().unwrap_or_default();
    let waiting = status
        .container_statuses
        .unwrap_or_default()
        .into_iter()
        .find_map(|container| container.state.and_then(|state| state.waiting));
    if let Some(waiting) = waiting {
        let message = waiting.message.unwrap_or_default();
        return format!(
            "pod {name}: {} {message}",
            waiting.reason.unwrap_or_default()
        );
    }
    let condition = status
        .conditions
        .unwrap_or_default()
        .into_iter()
        .find(|condition| condition.status == "False");
    match condition {
        Some(condition) => format!(
            "pod {name}: {}",
            condition
                .message
                .or(condition.reason)
                .unwrap_or(condition.type_)
        ),
        None => format!(
            "pod {name}: {}",
            status.phase.unwrap_or_else(|| "Pending".into())
        ),
    }
}
