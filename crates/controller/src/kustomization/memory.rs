//! What this process knows to be applied. Nothing in it is needed for correctness: after a restart everything is compared
//! with the clusters once, and remembered again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use crate::home::Key;

/// A success of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The target it went to; a new connection is another target.
    pub target: u64,
    /// Whom it was applied as.
    pub account: Option<String>,
    /// Digest of the objects.
    pub digest: String,
    /// Generation of the Kustomization.
    pub generation: Option<i64>,
    /// uid of the Kustomization.
    pub uid: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    applied: HashMap<Key, Applied>,
    deferred: HashSet<Key>,
    touched: HashSet<Key>,
    begun: HashSet<Key>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The last success.
    pub fn get(&self, key: &Key) -> Option<Applied> {
        self.lock().applied.get(key).cloned()
    }

    /// Remembers a success.
    pub fn succeeded(&self, key: &Key, applied: Applied) {
        self.lock().applied.insert(key.clone(), applied);
    }

    /// The cluster may be in any state now.
    pub fn uncertain(&self, key: &Key) {
        self.lock().applied.remove(key);
    }

    /// Says that an object of the Kustomization was changed by somebody else.
    pub fn touched(&self, key: &Key) {
        self.lock().touched.insert(key.clone());
    }

    /// Takes the note that something was changed.
    pub fn take_touched(&self, key: &Key) -> bool {
        self.lock().touched.remove(key)
    }

    /// Whether the run may be put off in favour of others: once, then it is its turn.
    pub fn defer(&self, key: &Key) -> bool {
        let mut inner = self.lock();
        if inner.deferred.remove(key) {
            return false;
        }
        inner.deferred.insert(key.clone())
    }

    /// Says that a run has found its dependencies ready, until the answer is dropped.
    pub fn begin<'m>(&'m self, key: &'m Key) -> Begun<'m> {
        self.lock().begun.insert(key.clone());
        Begun { memory: self, key }
    }

    /// Whether a run is past its dependencies.
    pub fn has_begun(&self, key: &Key) -> bool {
        self.lock().begun.contains(key)
    }

    /// Forgets everything: somebody else may have been at work.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.applied.clear();
        inner.deferred.clear();
    }

    /// Forgets a Kustomization that is gone.
    pub fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        inner.applied.remove(key);
        inner.deferred.remove(key);
        inner.touched.remove(key);
    }
}

/// See [`Memory::begin`].
#[derive(Debug)]
pub struct Begun<'m> {
    memory: &'m Memory,
    key: &'m Key,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.memory.lock().begun.remove(self.key);
    }
}
