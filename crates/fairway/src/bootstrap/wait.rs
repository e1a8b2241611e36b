//! Waiting until the cluster has what the repository says.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::commands::Kind;
use crate::exit::Hinted;
use crate::output::readiness;
use crate::setup;

/// Waits until source and Kustomization are Ready at the commit. Where it is new they are asked to look now.
pub(super) async fn until_synced(
    client: &Client,
    name: &str,
    commit: &str,
    is_new: bool,
    timeout: Duration,
) -> anyhow::Result<()> {
    let source = Kind::GitRepository.api(client, Some(name));
    let kustomization = Kind::Kustomization.api(client, Some(name));
    if is_new {
        let now = jiff::Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {fairway_types::names::REQUESTED_AT: now}}});
        source
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
    }
    let started = Instant::now();
    loop {
        let states = [
            (Kind::GitRepository, &source, "/status/artifact/revision"),
            (
                Kind::Kustomization,
                &kustomization,
                "/status/lastAppliedRevision",
            ),
        ];
        let mut missing = None;
        for (kind, api, revision) in states {
            let object = serde_json::to_value(api.get(name).await?)?;
            if let Some(why) = why_not(&object, revision, commit) {
                missing = Some(format!("{} {name}/{name}: {why}", kind.name()));
                break;
            }
        }
        let Some(missing) = missing else {
            return Ok(());
        };
        if started.elapsed() >= timeout {
            // A controller that did not start explains why nothing was reconciled.
            setup::wait_for_rollout(client, name, setup::CONTROLLER, Duration::ZERO).await?;
            return Err(Hinted::new(
                format!(
                    "the cluster does not have what the repository says after {}: {missing}",
                    fairway_types::Duration::from(timeout)
                ),
                "`fairway get all` and `fairway events` say more; the same command carries on from here",
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn why_not(object: &Value, revision: &str, commit: &str) -> Option<String> {
    let state = readiness(object);
    if !state.is_ready() {
        return Some(format!("{} {}", state.reason, state.message));
    }
    let is = object
        .pointer(revision)
        .and_then(Value::as_str)
        .unwrap_or("-");
    (!is.contains(commit)).then(|| format!("it is at {is}"))
}
