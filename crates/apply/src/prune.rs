//! Deletes what was applied and is no longer desired: only what still carries the owner's labels.

use std::{collections::HashSet, hash::BuildHasher, time::Duration};

use fairway_types::{InventoryEntry, ObjectId, names};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::Session,
    engine::{Action, Change},
    error::RequestError,
    mapper::{Mapper, Resource},
    order,
    plan::{Owner, marked},
};

/// An object that was asked to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Its identity.
    pub id: ObjectId,
    /// How it is addressed.
    pub resource: Resource,
    /// Its uid, so that a new object of the same name is not mistaken for it.
    pub uid: String,
}

/// What a prune did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Objects that were deleted or left alone on purpose. What was gone already is not listed.
    pub changes: Vec<Change>,
    /// Objects that are going, for [`wait_for_termination`].
    pub deleted: Vec<Deleted>,
    /// Entries that could not be deleted, with the reason: put them back into the inventory.
    pub failed: Vec<(InventoryEntry, String)>,
}

impl Pruned {
    /// Whether all is settled.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// What failed, as Flux says it.
    pub fn message(&self) -> Option<String> {
        if self.failed.is_empty() {
            return None;
        }
        let reasons: Vec<_> = self
            .failed
            .iter()
            .map(|(_, reason)| reason.as_str())
            .collect();
        Some(format!("delete failed, errors: {}", reasons.join("; ")))
    }
}

/// How many objects are deleted at the same time.
const CONCURRENCY: usize = 8;

/// Deletes stale objects in the order given (see [`plan::stale`](crate::plan::stale)), kinds one after the other, their
/// dependents in the background.
///
/// An object is left alone where its owner labels name another, where it says `prune: disabled` or `reconcile: disabled`,
/// and where it is in `keep` after all: the same object under another spelling of its id.
pub async fn prune<S: BuildHasher + Sync>(
    session: &Session,
    mapper: &Mapper,
    owner: &Owner,
    stale: &[InventoryEntry],
    keep: &HashSet<ObjectId, S>,
) -> Pruned {
    let mut pruned = Pruned::default();
    let mut entries: Vec<(ObjectId, &InventoryEntry)> = Vec::new();
    for entry in stale {
        match entry.object() {
            Ok(id) => entries.push((id, entry)),
            Err(error) => pruned.failed.push((entry.clone(), error.to_string())),
        }
    }
    let mut rest = entries.into_iter().peekable();
    let mut unreachable = None;
    while let Some(first) = rest.next() {
        let rank = order::rank(&first.0.kind);
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|(id, _)| order::rank(&id.kind) == rank) {
            group.push(next);
        }
        if let Some(reason) = &unreachable {
            pruned.failed.extend(
                group
                    .into_iter()
                    .map(|(_, entry)| (entry.clone(), String::clone(reason))),
            );
            continue;
        }
        let mut deletions: Vec<BoxFuture<'_, _>> = Vec::new();
        for (id, entry) in group {
            let deletion = delete(session, mapper, owner, id.clone(), &entry.v, keep);
            deletions.push(deletion.map(move |result| (entry, id, result)).boxed());
        }
        let mut results = stream::iter(deletions).buffered(CONCURRENCY);
        while let Some((entry, id, result)) = results.next().await {
            match result {
                Ok(Settled::Gone) => {}
                Ok(Settled::Skipped) => pruned.changes.push(Change {
                    id,
                    action: Action::Skipped,
                }),
                Ok(Settled::Deleted(deleted)) => {
                    pruned.changes.push(Change {
                        id,
                        action: Action::Deleted,
                    });
                    pruned.deleted.push(*deleted);
                }
                Err(error) => {
                    let reason = format!("{} delete failed: {error}", id.subject());
                    if error.is_unreachable() {
                        unreachable = Some(error.to_string());
                    }
                    pruned.failed.push((entry.clone(), reason));
                }
            }
        }
    }
    pruned
}

enum Settled {
    Gone,
    Skipped,
    Deleted(Box<Deleted>),
}

async fn delete<S: BuildHasher + Sync>(
    session: &Session,
    mapper: &Mapper,
    owner: &Owner,
    mut id: ObjectId,
    version: &str,
    keep: &HashSet<ObjectId, S>,
) -> Result<Settled, RequestError> {
    let resource = match mapper.served(&id.group, version, &id.kind).await {
        Ok(resource) => resource,
        // With its definition, every object of the kind has gone.
        Err(RequestError::UnknownKind { .. }) => return Ok(Settled::Gone),
        Err(error) => return Err(error),
    };
    if !resource.namespaced {
        id.namespace.clear();
    }
    if keep.contains(&id) {
        return Ok(Settled::Skipped);
    }
    let Some(live) = session.get(&resource, &id.namespace, &id.name).await? else {
        return Ok(Settled::Gone);
    };
    if !may_delete(&live, owner) {
        return Ok(Settled::Skipped);
    }
    let uid = live
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let precondition = (!uid.is_empty()).then_some(uid.as_str());
    if session
        .delete(&resource, &id.namespace, &id.name, precondition)
        .await?
    {
        Ok(Settled::Deleted(Box::new(Deleted { id, resource, uid })))
    } else {
        Ok(Settled::Gone)
    }
}

/// Whether a live object may be deleted for this owner.
pub fn may_delete(live: &Value, owner: &Owner) -> bool {
    Owner::of(live).is_some_and(|found| found == *owner)
        && !marked(live, names::PRUNE, names::DISABLED)
        && !marked(live, names::RECONCILE, names::DISABLED)
}

/// Waits until deleted objects are gone. The error names those that are not.
pub async fn wait_for_termination(
    session: &Session,
    deleted: &[Deleted],
    timeout: Duration,
) -> Result<(), TerminationTimeout> {
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(50);
    let mut left: Vec<&Deleted> = deleted.iter().collect();
    loop {
        let checks: Vec<BoxFuture<'_, _>> = left
            .into_iter()
            .map(|object| still_there(session, object).boxed())
            .collect();
        let answers: Vec<Option<&Deleted>> =
            stream::iter(checks).buffered(CONCURRENCY).collect().await;
        left = answers.into_iter().flatten().collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(TerminationTimeout(
                left.into_iter().map(|object| object.id.subject()).collect(),
            ));
        }
        tokio::time::sleep(pause.min(deadline - Instant::now())).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn still_there<'a>(session: &Session, object: &'a Deleted) -> Option<&'a Deleted> {
    let Deleted { id, resource, uid } = object;
    let live = session.get(resource, &id.namespace, &id.name).await;
    // An error is no proof that it has gone.
    let gone = live.is_ok_and(|live| {
        live.is_none_or(|live| live.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid))
    });
    (!gone).then_some(object)
}

/// Objects that were deleted and are still there: a finalizer holds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} termination timeout", .0.join(", "))]
pub struct TerminationTimeout(pub Vec<String>);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_owner_labelled_may_be_deleted() {
        let owner = Owner {
            name: "apps".into(),
            namespace: "flux-system".into(),
        };
        let object = |labels: Value| json!({"metadata": {"labels": labels}});
        let labels = json!({names::OWNER_NAME: "apps", names::OWNER_NAMESPACE: "flux-system"});
        assert!(may_delete(&object(labels.clone()), &owner));
        assert!(!may_delete(&object(json!({})), &owner));
        assert!(!may_delete(
            &object(json!({names::OWNER_NAME: "apps", names::OWNER_NAMESPACE: "other"})),
            &owner
        ));
        for key in [names::PRUNE, names::RECONCILE] {
            let mut object = object(labels.clone());
            object["metadata"]["annotations"] = json!({key: "disabled"});
            assert!(!may_delete(&object, &owner), "{key}");
        }
    }
}
