//! From a tree of files to the objects that a cluster shall have.
//!
//! ```text
//!   TreeView ──▶ kustomize build ──▶ objects ──▶ substitute, common metadata ──▶ Rendered (objects, digest)
//!      │              │                                                             ▲
//!      └── read set ──┴──▶ Cache ── same answers in a new commit? ──────────────────┘
//! ```
//!
//! Builds run on blocking threads, a bounded number at a time, so that one looping kustomization cannot slow the others
//! down for long: kustomize itself has limits of depth and size.

pub mod cache;
pub mod finish;
mod glob;
pub mod spec;
pub mod substitute;
pub mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairway_kustomize::{EntryKind, ErrorKind, FileTree as _, Recorder, TreeError};
use fairway_types::KustomizationSpec;
use tokio::sync::Semaphore;

use crate::source::Source;
use cache::{Cache, Known, Place};
use finish::{Finish, Rendered};
use tree::CommitTree;

/// Why there are no objects.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// `spec.path` is not in the source.
    #[error("kustomization path not found: no directory '{path}' in revision {revision}")]
    PathNotFound {
        /// The path.
        path: String,
        /// The revision that was looked at.
        revision: String,
    },
    /// The repository could not be read.
    #[error("{0}")]
    Source(String),
    /// The build asks for something that a build never does, such as to fetch a remote base.
    #[error("kustomize build failed: {0}")]
    Refused(String),
    /// kustomize found something wrong.
    #[error("kustomize build failed: {0}")]
    Build(String),
    /// Substitution failed.
    #[error(transparent)]
    Finish(#[from] finish::Error),
    /// The build panicked, or the process is going down.
    #[error("the build did not come to an end: {0}")]
    Interrupted(String),
}

impl Error {
    fn kustomize(error: &fairway_kustomize::Error) -> Self {
        match error.kind() {
            ErrorKind::Refused => Self::Refused(error.to_string()),
            ErrorKind::Tree => Self::Source(error.to_string()),
            _ => Self::Build(error.to_string()),
        }
    }

    fn tree(error: TreeError) -> Self {
        Self::Source(error.to_string())
    }
}

/// Runs builds and remembers them.
#[derive(Debug)]
pub struct Builder {
    cache: Cache,
    pool: Arc<Semaphore>,
    /// Builds that ran.
    pub builds: AtomicU64,
    /// Questions that the cache answered.
    pub hits: AtomicU64,
}

impl Builder {
    /// A builder with so many builds at a time and about so many bytes of cache.
    pub fn new(at_a_time: usize, cache_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            cache: Cache::new(cache_bytes),
            pool: Arc::new(Semaphore::new(at_a_time.max(1))),
            builds: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        })
    }

    /// What the objects' digest would be, if that can be told without building.
    pub async fn peek(
        self: &Arc<Self>,
        source: Arc<Source>,
        spec: &KustomizationSpec,
        how: &Finish,
    ) -> Option<String> {
        let (this, place, key) = (self.clone(), place(&source, spec), how.key());
        tokio::task::spawn_blocking(move || {
            let tree = CommitTree(source.tree.clone());
            match this.cache.look_up(&place, &source.commit, &tree, &key) {
                Ok(Known::Finished(digest, _) | Known::Built(_, Some(digest))) => {
                    this.hits.fetch_add(1, Ordering::Relaxed);
                    Some(digest)
                }
                _ => None,
            }
        })
        .await
        .ok()
        .flatten()
    }

    /// The objects of a Kustomization at the current revision of its source.
    pub async fn render(
        self: &Arc<Self>,
        source: Arc<Source>,
        spec: &KustomizationSpec,
        how: Finish,
    ) -> Result<Arc<Rendered>, Error> {
        let interrupted = |error: &dyn std::fmt::Display| Error::Interrupted(error.to_string());
        let permit = self
            .pool
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| interrupted(&error))?;
        let (this, place) = (self.clone(), place(&source, spec));
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            this.render_now(&source, &place, &how)
        })
        .await
        .map_err(|error| interrupted(&error))?
    }

    fn render_now(
        &self,
        source: &Source,
        place: &Place,
        how: &Finish,
    ) -> Result<Arc<Rendered>, Error> {
        let tree = CommitTree(source.tree.clone());
        let key = how.key();
        let built = match self
            .cache
            .look_up(place, &source.commit, &tree, &key)
            .map_err(Error::tree)?
        {
            Known::Finished(_, Some(rendered)) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(rendered);
            }
            Known::Built(built, _) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                built
            }
            Known::Finished(_, None) | Known::Nothing => self.build(source, place, &tree)?,
        };
        let rendered = Arc::new(finish::finish(built.iter().cloned(), how)?);
        self.cache.finished(place, &source.commit, key, &rendered);
        Ok(rendered)
    }

    fn build(
        &self,
        source: &Source,
        place: &Place,
        tree: &CommitTree,
    ) -> Result<Arc<Vec<serde_json::Value>>, Error> {
        if tree.kind(&place.path).map_err(Error::tree)? != Some(EntryKind::Dir) {
            return Err(Error::PathNotFound {
                path: place.path.clone(),
                revision: source.revision.clone(),
            });
        }
        self.builds.fetch_add(1, Ordering::Relaxed);
        let recorder = Recorder::new(tree);
        let build = fairway_kustomize::build(&recorder, &place.path, &place.options)
            .map_err(|error| Error::kustomize(&error))?;
        for warning in &build.warnings {
            tracing::debug!(path = place.path, "{warning}");
        }
        let objects: Vec<_> = build
            .resources
            .into_iter()
            .map(|resource| resource.object)
            .collect();
        let weight = objects.iter().map(finish::weight).sum();
        let objects = Arc::new(objects);
        self.cache.built(
            place,
            &source.commit,
            recorder.into_read_set(),
            objects.clone(),
            weight,
        );
        Ok(objects)
    }
}

fn place(source: &Source, spec: &KustomizationSpec) -> Place {
    Place {
        repository: source.repository.clone(),
        view: source.view.clone(),
        path: spec::path(spec),
        options: spec::options(spec),
    }
}
