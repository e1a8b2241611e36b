//! What happened so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start. Reading them is never exact while work goes on, and need not be.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Fetches that succeeded.
    pub fetches: AtomicU64,
    /// Runs over Kustomizations.
    pub reconciles: AtomicU64,
    /// Runs over Kustomizations that found nothing to ask the cluster.
    pub unchanged: AtomicU64,
    /// Applies that went to a cluster.
    pub applies: AtomicU64,
    /// Objects that were put back after somebody else changed them.
    pub drifts: AtomicU64,
    /// Runs over Kustomizations that failed.
    pub failures: AtomicU64,
}

/// [`Metrics`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Fetches that succeeded.
    pub fetches: u64,
    /// kustomize builds that ran.
    pub builds: u64,
    /// Builds that the cache made unnecessary.
    pub build_cache_hits: u64,
    /// Runs over Kustomizations.
    pub reconciles: u64,
    /// Runs over Kustomizations that found nothing to ask the cluster.
    pub unchanged: u64,
    /// Applies that went to a cluster.
    pub applies: u64,
    /// Objects that were put back after somebody else changed them.
    pub drifts: u64,
    /// Runs over Kustomizations that failed.
    pub failures: u64,
    /// Requests to the hub.
    pub hub_requests: u64,
    /// Requests to all other clusters.
    pub cluster_requests: u64,
    /// Events that were not written.
    pub dropped_events: u64,
}

impl Metrics {
    /// Adds one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads a counter.
    pub(crate) fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
