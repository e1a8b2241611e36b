//! The end of a Kustomization: its objects are deleted or left, as its deletion policy says, then the finalizer goes.

use std::collections::HashSet;
use std::sync::Arc;

use fairway_apply::engine::change_log;
use fairway_apply::{RequestError, plan, prune};
use fairway_types::kustomization::DeletionPolicy;
use fairway_types::names::{self, reason};
use fairway_types::{Kustomization, conditions};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::{ABANDON, apply};
use crate::cluster::Target;
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::{Home, Key};
use crate::queue::Outcome;
use crate::status;

pub(super) async fn run(
    context: &Arc<Context>,
    home: &Arc<Home>,
    key: &Key,
    object: &Arc<Kustomization>,
) -> Outcome {
    if !object
        .finalizers()
        .iter()
        .any(|name| name == names::FINALIZER)
    {
        return Outcome::Done;
    }
    if deletes(object) {
        match delete(context, home, key, object).await {
            Ok(()) => {}
            Err(Stuck::Unreachable(why)) if is_abandoned(object) => {
                let message = format!(
                    "abandoned as its annotation {ABANDON} says, {why}; left where they are:\n{}",
                    inventory_of(object).join("\n")
                );
                tell(home, object, Severity::Error, reason::PRUNE_FAILED, message);
            }
            Err(stuck) => {
                let message = stuck.to_string();
                tell(
                    home,
                    object,
                    Severity::Error,
                    reason::PRUNE_FAILED,
                    message.clone(),
                );
                explain(context, home, object, &message).await;
                return Outcome::Backoff;
            }
        }
    }
    match remove_finalizer(home, object).await {
        Ok(()) => {
            context.memory.forget(key);
            Outcome::Done
        }
        Err(error) if status::is_gone(&error) => Outcome::Done,
        Err(error) => {
            tracing::warn!(%key, %error, "finalizer not removed");
            Outcome::Backoff
        }
    }
}

/// A suspended Kustomization never deletes.
fn deletes(object: &Kustomization) -> bool {
    let has_objects = object
        .status
        .as_ref()
        .and_then(|status| status.inventory.as_ref())
        .is_some_and(|inventory| !inventory.entries.is_empty());
    !object.spec.suspend && has_objects && object.spec.deletion_policy() != DeletionPolicy::Orphan
}

/// Why the objects are still there.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    /// Nobody can be asked to delete them.
    #[error(
        "unable to prune objects: {0}\n\
         hint: if the cluster is gone for good, annotate this Kustomization with {ABANDON}: \"true\""
    )]
    Unreachable(String),
    /// Some could not be deleted.
    #[error("{0}")]
    Failed(String),
}

impl Stuck {
    fn of_request(error: &RequestError) -> Self {
        let message = error.to_string();
        if error.is_unreachable() || error.is_unauthorized() {
            Self::Unreachable(message)
        } else {
            Self::Failed(message)
        }
    }
}

fn is_abandoned(object: &Kustomization) -> bool {
    object
        .annotations()
        .get(ABANDON)
        .is_some_and(|value| value == "true")
}

/// The objects that were applied, as people write them.
fn inventory_of(object: &Kustomization) -> Vec<String> {
    let inventory = object.status.as_ref().and_then(|s| s.inventory.as_ref());
    inventory
        .iter()
        .flat_map(|inventory| &inventory.entries)
        .filter_map(|entry| entry.object().ok())
        .map(|id| id.subject())
        .collect()
}

/// Whether the account that would delete the objects is gone: then nothing can, and as in Flux that is told and the
/// finalizer goes.
async fn account_is_gone(
    target: &Target,
    namespace: &str,
    account: Option<&str>,
) -> Result<bool, RequestError> {
    let Some(account) = account else {
        return Ok(false);
    };
    let resource = target.mapper.resource("v1", "ServiceAccount").await?;
    match target
        .connection
        .session()
        .get(&resource, namespace, account)
        .await
    {
        Ok(found) => Ok(found.is_none()),
        // Who may not look tries to delete instead.
        Err(error) if error.is_forbidden() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn delete(
    context: &Arc<Context>,
    home: &Arc<Home>,
    key: &Key,
    object: &Arc<Kustomization>,
) -> Result<(), Stuck> {
    let namespace = object.namespace().unwrap_or_default();
    let inventory = object
        .status
        .as_ref()
        .and_then(|status| status.inventory.clone())
        .unwrap_or_default();
    let target = match &object.spec.kube_config {
        None => home.target.clone(),
        Some(reference) => {
            let make = |connection| context.target(connection);
            context
                .connections
                .resolve(home, &namespace, reference, &context.options, make)
                .await
                .map_err(|error| Stuck::Unreachable(error.to_string()))?
        }
    };
    context.goes_to(key, &target);
    if let Some(why) = target.why_down() {
        return Err(Stuck::Unreachable(format!("cluster unreachable: {why}")));
    }
    // One question tells a cluster that is gone from one that refuses.
    let answers = async {
        target.connection.version().await?;
        let account = apply::account(context, object);
        account_is_gone(&target, &namespace, account.as_deref()).await
    };
    let gone = match answers.await {
        Ok(gone) => gone,
        Err(error) => {
            if error.is_unreachable() {
                target.went_down(error.to_string());
            }
            return Err(Stuck::of_request(&error));
        }
    };
    let account = apply::account(context, object);
    if gone {
        let left = inventory_of(object).join("\n");
        let message = format!(
            "unable to prune objects: \n{left}\nthe service account '{namespace}/{}' that would delete them is gone",
            account.unwrap_or_default()
        );
        tell(home, object, Severity::Error, reason::PRUNE_FAILED, message);
        return Ok(());
    }
    let session = apply::session(&target, &namespace, account.as_deref())
        .map_err(|failure| Stuck::Failed(failure.to_string()))?;
    let owner = apply::owner(object);
    let stale = plan::stale(&inventory, &HashSet::new());
    let timeout = object.spec.timeout().get();
    let pruned = tokio::time::timeout(
        timeout,
        prune::prune(&session, &target.mapper, &owner, &stale, &HashSet::new()),
    )
    .await
    .map_err(|_| {
        Stuck::Failed(format!(
            "pruning did not finish within the timeout of {}",
            object.spec.timeout()
        ))
    })?;
    let log = change_log(&pruned.changes);
    if !log.is_empty() {
        let ready = object
            .status
            .as_ref()
            .and_then(|status| conditions::get(&status.conditions, names::READY));
        let why = ready
            .map_or("info", |ready| ready.reason.as_str())
            .to_owned();
        tell(home, object, Severity::Info, &why, log);
    }
    if let Some(message) = pruned.message() {
        return Err(Stuck::Failed(message));
    }
    if object.spec.deletion_policy() == DeletionPolicy::WaitForTermination
        && let Err(error) = prune::wait_for_termination(&session, &pruned.deleted, timeout).await
    {
        let message = format!("failed to wait for resources termination: {error}");
        tell(home, object, Severity::Error, reason::PRUNE_FAILED, message);
    }
    Ok(())
}

fn tell(home: &Home, object: &Kustomization, severity: Severity, why: &str, message: String) {
    let revision = object
        .status
        .as_ref()
        .and_then(|status| status.last_applied_revision.clone());
    home.kustomize_events.record(Happening {
        object: reference(object),
        severity,
        reason: why.to_owned(),
        message,
        metadata: revision
            .into_iter()
            .map(|revision| (names::REVISION.to_owned(), revision))
            .collect(),
    });
}

/// Says on the object why it does not go.
async fn explain(context: &Arc<Context>, home: &Arc<Home>, object: &Kustomization, message: &str) {
    let api: Api<Kustomization> = Api::namespaced(
        home.connection.client(),
        &object.namespace().unwrap_or_default(),
    );
    let before = object.status.clone().unwrap_or_default();
    let mut after = before.clone();
    let now = super::progress::Now {
        generation: object.metadata.generation,
        time: (context.clock)(),
    };
    super::progress::failed(&mut after, reason::PRUNE_FAILED, message, now);
    let manager = names::KUSTOMIZATION_STATUS_MANAGER;
    let written = status::write(
        &api,
        &home.kustomizations,
        &object.name_any(),
        &before,
        &after,
        manager,
    )
    .await;
    if let Ok(Some((_, Some(change)))) = written {
        context.kustomization_changed(&home.id, &change);
    }
}

async fn remove_finalizer(home: &Home, object: &Kustomization) -> Result<(), kube::Error> {
    let api: Api<Kustomization> = Api::namespaced(
        home.connection.client(),
        &object.namespace().unwrap_or_default(),
    );
    let finalizers: Vec<&String> = object
        .finalizers()
        .iter()
        .filter(|name| *name != names::FINALIZER)
        .collect();
    // The status may have been written since: its version is the newest that is known.
    let known = home
        .kustomizations
        .get(&object.namespace().unwrap_or_default(), &object.name_any());
    let version = known.as_deref().unwrap_or(object).resource_version();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    let answer = api
        .patch(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await?;
    home.kustomizations.wrote(answer);
    Ok(())
}
