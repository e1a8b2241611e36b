//! Generated GitRepositories that hold one commit of a source.
//!
//! A hold is named after its source and commit, is fetched and built in the same way (same URL, credentials, verification,
//! includes and ignore rules), and goes when no Kustomization refers to it any more. A local ref keeps the commit in the
//! mirror, whatever becomes of the branch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fairway_git::Revision;
use fairway_types::git_repository::{GitReference, GitRepositorySpec};
use fairway_types::{GitRepository, names};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::context::{Context, key_of};
use crate::fleet::child_name;
use crate::home::{Home, HomeId};
use crate::objects::{Name, name_of};
use crate::status;

/// A hold that nothing needs is kept so long: who is about to refer to it may not have done so yet.
const GRACE: Duration = Duration::from_mins(1);

/// Why a commit cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such source.
    #[error("GitRepository '{0}/{1}' not found")]
    NoSource(String, String),
    /// An object of that name is somebody else's.
    #[error("GitRepository '{0}' exists and is no hold of Fairway's; hint: rename it")]
    Foreign(String),
    /// The API server refused it.
    #[error("GitRepository '{0}' could not be written: {1}")]
    Write(String, kube::Error),
}

/// The commit that a revision names.
pub fn commit_of(revision: &str) -> Option<String> {
    Revision::parse(revision).map(|revision| revision.commit().to_string())
}

/// Name of the hold of a commit.
pub fn name(source: &str, commit: &str) -> String {
    child_name(source, &commit[..commit.len().min(12)])
}

/// Whether an object is a hold.
pub fn is_hold(object: &GitRepository) -> bool {
    object.labels().contains_key(names::HOLD_OF)
}

/// The name of the source that a hold is of.
pub fn source_of(object: &GitRepository) -> Option<&str> {
    object.annotations().get(names::HOLD_OF).map(String::as_str)
}

/// The hold of a commit.
pub fn render(source: &GitRepository, commit: &str) -> Value {
    let name = source.name_any();
    let label = if name.len() <= 63 {
        name.clone()
    } else {
        child_name("", &name)
    };
    let mut labels = json!({names::HOLD_OF: label});
    if let Some(shard) = source.labels().get(names::SHARD_KEY) {
        labels[names::SHARD_KEY] = json!(shard);
    }
    let mut spec = json!(source.spec);
    spec["ref"] = json!(reference(&source.spec, commit));
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("suspend");
    }
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {
            "name": self::name(&name, commit),
            "namespace": source.namespace(),
            "labels": labels,
            "annotations": {names::HOLD_OF: name},
        },
        "spec": spec,
    })
}

/// The commit, on the branch that is followed, so that the revision reads the same.
fn reference(spec: &GitRepositorySpec, commit: &str) -> GitReference {
    let followed = spec.reference.clone().unwrap_or_default();
    let is_branch = followed.tag.is_none()
        && followed.semver.is_none()
        && followed.name.is_none()
        && followed.commit.is_none();
    GitReference {
        branch: is_branch.then(|| followed.branch.unwrap_or_else(|| "master".to_owned())),
        commit: Some(commit.to_owned()),
        ..GitReference::default()
    }
}

/// Makes sure that a commit of a source is held, and returns the name of the hold.
pub(crate) async fn ensure(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    namespace: &str,
    source: &str,
    commit: &str,
) -> Result<String, PinError> {
    let Some(object) = hub.repositories.get(namespace, source) else {
        return Err(PinError::NoSource(namespace.to_owned(), source.to_owned()));
    };
    let name = name(source, commit);
    let found = hub.repositories.get(namespace, &name);
    if found.as_ref().is_some_and(|found| !is_hold(found)) {
        return Err(PinError::Foreign(name));
    }
    let wanted = render(&object, commit);
    let same = found.as_ref().is_some_and(|found| {
        found.metadata.deletion_timestamp.is_none()
            && serde_json::from_value::<GitRepositorySpec>(wanted["spec"].clone())
                .is_ok_and(|wanted| wanted == found.spec)
    });
    if same {
        return Ok(name);
    }
    keep(context, hub, &object, commit, true).await;
    let api: Api<GitRepository> = Api::namespaced(hub.connection.client(), namespace);
    let params = PatchParams::apply(names::FLEET_MANAGER).force();
    match api.patch(&name, &params, &Patch::Apply(&wanted)).await {
        Ok(answer) => {
            if let Some(change) = hub.repositories.observed(answer) {
                context.repository_changed(&HomeId::Hub, &change);
            }
            Ok(name)
        }
        Err(error) => Err(PinError::Write(name, error)),
    }
}

/// Keeps a commit in the mirror of its source, or lets it go. Where the mirror is somebody else's that is theirs to do.
async fn keep(context: &Context, hub: &Home, source: &GitRepository, commit: &str, hold: bool) {
    let mirror = context
        .sources
        .get(&key_of(&hub.id, source))
        .and_then(|source| source.mirror.clone());
    let (Some(mirror), Ok(id)) = (mirror, commit.parse()) else {
        return;
    };
    let done = if hold {
        mirror.hold(id).await
    } else {
        mirror.unhold(id).await
    };
    if let Err(error) = done {
        tracing::warn!(source = source.name_any(), commit, %error, "the commit is not kept in the mirror");
    }
}

/// Removes holds that nothing refers to. `needed` names those that somebody is about to refer to. Says
/// after which time there may be more to remove.
pub(crate) async fn sweep(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    needed: &BTreeSet<Name>,
) -> Option<Duration> {
    let holds: Vec<Arc<GitRepository>> = hub
        .repositories
        .all()
        .into_iter()
        .filter(|object| is_hold(object))
        .collect();
    if holds.is_empty() {
        return None;
    }
    let mut used: BTreeSet<Name> = needed.clone();
    for object in hub.kustomizations.all() {
        let reference = &object.spec.source_ref;
        if reference.kind == "GitRepository" {
            let namespace = reference.namespace.clone().or(object.namespace());
            used.insert((namespace.unwrap_or_default(), reference.name.clone()));
        }
    }
    let mut again = None;
    for hold in holds {
        let (namespace, name) = name_of(&*hold);
        let api: Api<GitRepository> = Api::namespaced(hub.connection.client(), &namespace);
        if used.contains(&(namespace.clone(), name.clone()))
            || hold.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        let age = hold.creation_timestamp().map_or(GRACE, |created| {
            (context.clock)().duration_since(created.0).unsigned_abs()
        });
        if let Some(left) = GRACE.checked_sub(age).filter(|left| !left.is_zero()) {
            again = Some(again.map_or(left, |known: Duration| known.min(left)));
            continue;
        }
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {
                let commit = hold
                    .spec
                    .reference
                    .as_ref()
                    .and_then(|reference| reference.commit.clone());
                let source =
                    source_of(&hold).and_then(|source| hub.repositories.get(&namespace, source));
                if let (Some(commit), Some(source)) = (commit, source) {
                    keep(context, hub, &source, &commit, false).await;
                }
            }
            Err(error) if status::is_gone(&error) => {}
            Err(error) => {
                tracing::warn!(hold = name, %error, "hold not removed");
                again = Some(GRACE);
            }
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_hold_is_fetched_and_built_as_its_source_is() {
        let source: GitRepository = serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": "ns", "labels": {"sharding.fluxcd.io/key": "s1", "a": "b"}},
            "spec": {"url": "https://h/r", "interval": "1m", "secretRef": {"name": "s"}, "ignore": "x", "suspend": true,
                     "include": [{"repository": {"name": "other"}}], "verify": {"mode": "HEAD", "secretRef": {"name": "k"}}},
        }))
        .unwrap();
        let hold: GitRepository = serde_json::from_value(render(&source, COMMIT)).unwrap();
        assert_eq!(hold.name_any(), "fleet-0123456789ab");
        assert!(is_hold(&hold) && !is_hold(&source));
        assert_eq!(source_of(&hold), Some("fleet"));
        let reference = hold.spec.reference.clone().unwrap();
        assert_eq!(reference.commit.as_deref(), Some(COMMIT));
        assert_eq!(reference.branch.as_deref(), Some("master"));
        assert_eq!(hold.labels()["sharding.fluxcd.io/key"], "s1");
        let mut spec = hold.spec;
        spec.reference = None;
        spec.suspend = true;
        assert_eq!(spec, source.spec);
    }

    #[test]
    fn a_tag_has_no_branch() {
        let spec: GitRepositorySpec = serde_json::from_value(
            json!({"url": "https://h/r", "interval": "1m", "ref": {"semver": ">=1", "branch": "main"}}),
        )
        .unwrap();
        let reference = reference(&spec, COMMIT);
        assert_eq!((reference.branch, reference.semver), (None, None));
        assert_eq!(
            commit_of(&format!("v1.2.3@sha1:{COMMIT}")).as_deref(),
            Some(COMMIT)
        );
        assert_eq!(commit_of("latest@sha256:00"), None);
    }
}
