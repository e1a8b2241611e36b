//! Other GitRepositories whose content is part of this one's.

use std::sync::Arc;

use fairway_types::GitRepository;
use fairway_types::git_repository::{Artifact, GitRepositoryInclude};
use kube::ResourceExt as _;

use super::Source;
use super::judge::{About, Failure};
use crate::context::{Context, key_of};
use crate::home::{Home, Key};

/// One include, with what it brings.
pub(super) struct Included {
    pub(super) from_path: String,
    pub(super) to_path: String,
    pub(super) source: Arc<Source>,
    pub(super) artifact: Artifact,
}

/// What the includes of an object are at. All have to be there.
pub(super) fn included(
    context: &Context,
    home: &Home,
    key: &Key,
    includes: &[GitRepositoryInclude],
) -> Result<Vec<Included>, Failure> {
    includes
        .iter()
        .map(|include| find(context, home, key, include))
        .collect()
}

fn find(
    context: &Context,
    home: &Home,
    key: &Key,
    include: &GitRepositoryInclude,
) -> Result<Included, Failure> {
    let name = &include.repository.name;
    let unavailable = |reason, message: String| Failure::failed(About::Include, reason, message);
    let Some(object) = home.repositories.get(&key.namespace, name) else {
        let message = format!(
            "could not get resource for include '{name}': gitrepositories.source.toolkit.fluxcd.io \"{name}\" not found"
        );
        return Err(unavailable("NotFound", message));
    };
    let artifact = object
        .status
        .as_ref()
        .and_then(|status| status.artifact.clone());
    let Some(artifact) = artifact else {
        return Err(unavailable(
            "NoArtifact",
            format!("no artifact available for include '{name}'"),
        ));
    };
    // What is known here is newer or older than what its status says for a moment only.
    let source = context
        .sources
        .get(&Key::new(&key.home, &key.namespace, name))
        .filter(|source| source.revision == artifact.revision)
        .ok_or(Failure::Quiet)?;
    Ok(Included {
        from_path: include.from_path.clone().unwrap_or_default(),
        to_path: include.to_path.clone().unwrap_or_else(|| name.clone()),
        source,
        artifact,
    })
}

/// The artifact of a source has changed: who includes it is looked at. (Flux waits for the interval.)
pub(crate) fn enqueue_includers(context: &Context, home: &Home, changed: &GitRepository) {
    let (namespace, name) = (changed.namespace(), changed.name_any());
    for object in home.repositories.all() {
        let includes = object
            .spec
            .include
            .iter()
            .any(|include| include.repository.name == name);
        if includes && object.namespace() == namespace && object.name_any() != name {
            context.enqueue_source(key_of(&home.id, &*object));
        }
    }
}
