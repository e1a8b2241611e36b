//! What this process knows to be applied. Nothing in it is needed for correctness: after a restart everything is compared
//! with the clusters once, and remembered again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

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
    full: HashMap<Key, (Cause, Instant)>,
}

/// What makes a run more than the correction of what others changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The revision.
    pub revision: String,
    /// Generation of the Kustomization.
    pub generation: Option<i64>,
    /// The request to reconcile.
    pub requested: Option<String>,
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

    /// Whether a run only puts back what others changed: nothing else is new since the last full run, and the interval
    /// has not passed. If it is a full run, it is remembered as the last one.
    pub fn is_correction(&self, key: &Key, cause: Cause, interval: Duration) -> bool {
        let mut inner = self.lock();
        let now = Instant::now();
        let only_corrects = inner.full.get(key).is_some_and(|(last, at)| {
            // Timers are a little early or late.
            *last == cause && now.duration_since(*at) < interval.mul_f64(0.9)
        });
        if !only_corrects {
            inner.full.insert(key.clone(), (cause, now));
        }
        only_corrects
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
        inner.full.clear();
    }

    /// Forgets a Kustomization that is gone.
    pub fn forget(&self, key: &Key) {
        let mut inner = self.lock();
        inner.applied.remove(key);
        inner.deferred.remove(key);
        inner.touched.remove(key);
        inner.full.remove(key);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::HomeId;

    #[tokio::test(start_paused = true)]
    async fn a_correction_is_told_from_a_run_that_is_due() {
        let memory = Memory::default();
        let key = Key {
            home: HomeId::Hub,
            namespace: "a".into(),
            name: "b".into(),
        };
        let cause = |revision: &str| Cause {
            revision: revision.into(),
            generation: Some(1),
            requested: None,
        };
        let interval = Duration::from_mins(10);
        assert!(
            !memory.is_correction(&key, cause("1"), interval),
            "the first"
        );
        assert!(memory.is_correction(&key, cause("1"), interval));
        assert!(
            !memory.is_correction(&key, cause("2"), interval),
            "a new revision"
        );
        tokio::time::advance(Duration::from_mins(5)).await;
        assert!(memory.is_correction(&key, cause("2"), interval));
        tokio::time::advance(Duration::from_mins(5)).await;
        assert!(
            !memory.is_correction(&key, cause("2"), interval),
            "the interval"
        );
        assert!(memory.is_correction(&key, cause("2"), interval));
    }
}
