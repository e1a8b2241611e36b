//! From a commit to what the source holds: a part of it, its submodules, what is included; as files and as an artifact.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairway_git::{Composition, Mirror, Revision, Submodule, TreeView, ViewOptions, submodules};
use fairway_types::GitRepository;
use fairway_types::git_repository::Artifact;
use fairway_types::names::reason;
use sha2::{Digest as _, Sha256};

use super::Source;
use super::include::Included;
use super::judge::{About, Failure};
use crate::artifact::Storage;
use crate::artifact::storage::{Kept, StorageError};
use crate::build::finish::hex;
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::{Home, Key};

/// The files of a revision.
pub(super) struct Content {
    pub(super) view: TreeView,
    /// The commit, or for a composition what stands for all of it.
    pub(super) id: String,
}

/// Puts the files of a commit together.
pub(super) async fn content(
    context: &Context,
    object: &GitRepository,
    mirror: &Arc<Mirror>,
    revision: &Revision,
    included: &[Included],
    timeout: Duration,
) -> Result<Content, Failure> {
    let spec = &object.spec;
    let failed = |error: &fairway_git::Error| Failure::git(mirror.remote().url(), error);
    let commit = revision.commit();
    let options = ViewOptions {
        ignore: spec.ignore.clone(),
        ..ViewOptions::default()
    };
    // In Flux a sparse checkout leaves submodules out.
    let filled = if spec.recurse_submodules && spec.sparse_checkout.is_empty() {
        let found = submodules(&context.mirrors, mirror, commit, timeout);
        found.await.map_err(|error| failed(&error))?
    } else {
        Vec::new()
    };
    let sparse = spec.sparse_checkout.clone();
    let included: Vec<(TreeView, String, String)> = included
        .iter()
        .map(|include| {
            (
                include.source.tree.clone(),
                include.from_path.clone(),
                include.to_path.clone(),
            )
        })
        .collect();
    let opened = mirror.clone();
    let composed = tokio::task::spawn_blocking(move || {
        if sparse.is_empty() && filled.is_empty() && included.is_empty() {
            let view = opened.view(commit, &options).map_err(Step::Git)?;
            return Ok(Content {
                view,
                id: commit.to_string(),
            });
        }
        compose(&opened, commit, &sparse, &filled, &included, &options)
    })
    .await
    .map_err(|error| Failure::failed(About::Fetch, reason::GIT_OPERATION_FAILED, error))?;
    composed.map_err(|step| match step {
        Step::Git(error) => failed(&error),
        Step::Include(from, to, error) => {
            let message = format!("failed to copy include from '{from}' to '{to}': {error}");
            Failure::failed(About::Storage, "CopyFailure", message)
        }
    })
}

enum Step {
    Git(fairway_git::Error),
    Include(String, String, fairway_git::Error),
}

fn compose(
    mirror: &Mirror,
    commit: fairway_git::Oid,
    sparse: &[String],
    filled: &[Submodule],
    included: &[(TreeView, String, String)],
    options: &ViewOptions,
) -> Result<Content, Step> {
    let mut composition = Composition::new(mirror.repository(), commit).map_err(Step::Git)?;
    if !sparse.is_empty() {
        composition.keep_only(sparse).map_err(Step::Git)?;
    }
    composition.fill_in(filled).map_err(Step::Git)?;
    for (tree, from, to) in included {
        composition
            .include(tree, from, to)
            .map_err(|error| Step::Include(from.clone(), to.clone(), error))?;
    }
    // The same commit with another include is something else.
    let id = format!("{commit}+{}", composition.root());
    let view = composition.view(options).map_err(Step::Git)?;
    Ok(Content { view, id })
}

/// Publishes files as what the source is at.
pub(super) fn publish(
    context: &Context,
    key: &Key,
    object: &GitRepository,
    mirror: &Arc<Mirror>,
    revision: &Revision,
    content: &Content,
) {
    let source = Source {
        revision: revision.as_str().to_owned(),
        commit: content.id.clone(),
        tree: content.view.clone(),
        repository: mirror.repository().directory().display().to_string(),
        view: object.spec.ignore.clone().unwrap_or_default(),
        mirror: Some(mirror.clone()),
    };
    if context.sources.set(key, source) {
        context.notify_source(key);
    }
}

#[expect(clippy::too_many_arguments, reason = "all that an artifact is made of")]
/// The artifact of what was published: the one that there is, where nothing has changed, or a new one.
pub(super) async fn artifact(
    context: &Context,
    home: &Home,
    key: &Key,
    object: &GitRepository,
    mirror: &Mirror,
    revision: &Revision,
    content: &Content,
    included: &[Included],
) -> Result<Artifact, Failure> {
    let storage = &context.artifacts;
    let commit = revision.commit().to_string();
    let path = Storage::path(key, &commit);
    let rules = object.spec.ignore.clone().unwrap_or_default();
    let mut artifact = Artifact {
        url: storage.url(&path),
        path,
        revision: revision.as_str().to_owned(),
        last_update_time: (context.clock)(),
        metadata: BTreeMap::new(),
        ..Artifact::default()
    };
    let before = object
        .status
        .as_ref()
        .and_then(|status| status.artifact.clone());
    let is_current = before.as_ref().is_some_and(|before| {
        before.revision == artifact.revision
            && before.path == artifact.path
            && is_same_content(object, included)
    });
    if !storage.is_served() {
        artifact.url = format!("{}#{commit}", mirror.remote().url());
        artifact.digest = format!(
            "sha256:{}",
            hex(&Sha256::digest(format!("{}\n{rules}", content.view.root())))
        );
        if let Some(before) = before.filter(|before| is_current && before.digest == artifact.digest)
        {
            artifact.last_update_time = before.last_update_time;
        }
        return Ok(artifact);
    }
    if let Some(before) = before.filter(|_| is_current) {
        match storage.check(&before).await {
            Kept::Good => {
                storage.collect(key, &artifact.path, SystemTime::now());
                // Where it is served may have changed since.
                return Ok(Artifact {
                    url: artifact.url,
                    ..before
                });
            }
            Kept::Missing => {}
            Kept::Changed(why) => home.source_events.record(Happening {
                object: reference(object),
                severity: Severity::Error,
                reason: "ArtifactVerificationFailed".to_owned(),
                message: format!("failed to verify integrity of artifact: {why}"),
                metadata: BTreeMap::new(),
            }),
        }
    }
    let stored = storage
        .store(&artifact.path, content.view.clone(), &rules)
        .await
        .map_err(|error| {
            let reason = match error {
                StorageError::Archive(_) => reason::ARCHIVE_OPERATION_FAILED,
                StorageError::Folder(_) => reason::DIR_CREATION_FAILED,
            };
            Failure::failed(About::Storage, reason, error)
        })?;
    artifact.digest = stored.digest;
    artifact.size = i64::try_from(stored.size).ok();
    storage.collect(key, &artifact.path, SystemTime::now());
    Ok(artifact)
}

/// Whether the artifact was made with the settings that hold now.
fn is_same_content(object: &GitRepository, included: &[Included]) -> bool {
    let Some(status) = &object.status else {
        return false;
    };
    let spec = &object.spec;
    let same_includes = status.included_artifacts.len() == included.len()
        && status
            .included_artifacts
            .iter()
            .zip(included)
            .all(|(observed, now)| {
                observed.revision == now.artifact.revision && observed.digest == now.artifact.digest
            });
    status.observed_ignore == spec.ignore
        && status.observed_recurse_submodules == spec.recurse_submodules
        && status.observed_include == spec.include
        && status.observed_sparse_checkout == spec.sparse_checkout
        && same_includes
}
