//! What the sources are at: the current revision of each, and the files of it.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use fairway_git::{Mirror, TreeView};

use crate::home::Key;

/// One source's current state.
#[derive(Clone)]
pub struct Source {
    /// `main@sha1:<commit>`.
    pub revision: String,
    /// What stands for all of the content: the commit, where that is all there is to it.
    pub commit: String,
    /// The files of the commit, without what is ignored.
    pub tree: TreeView,
    /// Stands for where the files are from: the repository as one credential sees it, for instance.
    pub repository: String,
    /// Stands for the ignore rules.
    pub view: String,
    /// The mirror itself, if there is one.
    pub mirror: Option<Arc<Mirror>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// All sources.
#[derive(Debug, Default)]
pub struct Sources(RwLock<HashMap<Key, Arc<Source>>>);

impl Sources {
    /// The source of this key.
    pub fn get(&self, key: &Key) -> Option<Arc<Source>> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    /// Sets a source. Says whether dependents see something new.
    pub fn set(&self, key: &Key, source: Source) -> bool {
        let mut sources = self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let new = sources.get(key).is_none_or(|old| {
            old.revision != source.revision
                || old.commit != source.commit
                || old.repository != source.repository
                || old.view != source.view
        });
        if new {
            sources.insert(key.clone(), Arc::new(source));
        }
        new
    }

    /// The mirrors that sources are read from now.
    pub(crate) fn mirrors(&self) -> Vec<Arc<Mirror>> {
        let sources = self
            .0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        sources
            .values()
            .filter_map(|source| source.mirror.clone())
            .collect()
    }

    /// Forgets a source.
    pub fn remove(&self, key: &Key) {
        self.0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(key);
    }
}
