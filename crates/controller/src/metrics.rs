//! What happened so far, in numbers.

pub mod delivery;
pub(crate) mod promotions;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::context::Context;
use crate::exposition::escape;

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
    /// How long runs took, by object.
    pub durations: Durations,
    /// Promotions, checks, waves, rollbacks.
    pub delivery: delivery::Delivery,
    /// What happened in rollouts.
    pub rollouts: Rollouts,
}

/// What happened in rollouts, counted by the reason of the event that tells it.
#[derive(Debug, Default)]
pub struct Rollouts(Mutex<BTreeMap<&'static str, u64>>);

impl Rollouts {
    /// Adds one.
    pub fn count(&self, reason: &'static str) {
        let mut all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *all.entry(reason).or_default() += 1;
    }

    /// How often that has happened.
    pub fn of(&self, reason: &str) -> u64 {
        let all = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.get(reason).copied().unwrap_or_default()
    }
}

/// Which object: kind, namespace, name.
type Observed = (&'static str, String, String);

/// `gotk_reconcile_duration_seconds`: how long runs took, by object.
#[derive(Debug, Default)]
pub struct Durations(Mutex<BTreeMap<Observed, Histogram>>);

/// Upper bounds in seconds: ten buckets from 10 ms to half an hour, each as many times the one before, as Flux has them.
const BUCKETS: [f64; 10] = [
    0.01,
    0.038_363_583_488_692_544,
    0.147_176_453_809_388_32,
    0.564_621_617_328_617,
    2.166_090_855_590_701,
    8.309_900_738_254_731,
    31.879_757_075_478_317,
    122.302_172_216_434_91,
    469.194_959_467_365_4,
    1_799.999_999_999_998_4,
];

#[derive(Debug, Default, Clone, Copy)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Durations {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Observed, Histogram>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes one run.
    pub fn observe(&self, kind: &'static str, namespace: &str, name: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut all = self.lock();
        let histogram = all
            .entry((kind, namespace.to_owned(), name.to_owned()))
            .or_default();
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, kind: &'static str, namespace: &str, name: &str) {
        self.lock()
            .remove(&(kind, namespace.to_owned(), name.to_owned()));
    }

    /// Adds them to a page of metrics.
    pub(crate) fn write(&self, text: &mut String) {
        const NAME: &str = "gotk_reconcile_duration_seconds";
        let _ = writeln!(
            text,
            "# HELP {NAME} The duration in seconds of a GitOps Toolkit resource reconciliation.\n# TYPE {NAME} histogram"
        );
        for ((kind, namespace, name), histogram) in self.lock().iter() {
            let labels = format!(
                "kind=\"{kind}\",name=\"{}\",namespace=\"{}\"",
                escape(name),
                escape(namespace)
            );
            for (count, bound) in histogram.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(text, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(
                text,
                "{NAME}_bucket{{{labels},le=\"+Inf\"}} {count}\n{NAME}_sum{{{labels}}} {sum}\n{NAME}_count{{{labels}}} {count}",
                count = histogram.count,
                sum = histogram.sum,
            );
        }
    }
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

impl Context {
    /// The numbers at this moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let metrics = &self.metrics;
        let hub = self.hub();
        let mut snapshot = Snapshot {
            fetches: Metrics::read(&metrics.fetches),
            builds: Metrics::read(&self.builder.builds),
            build_cache_hits: Metrics::read(&self.builder.hits),
            reconciles: Metrics::read(&metrics.reconciles),
            unchanged: Metrics::read(&metrics.unchanged),
            applies: Metrics::read(&metrics.applies),
            drifts: Metrics::read(&metrics.drifts),
            failures: Metrics::read(&metrics.failures),
            hub_requests: hub.as_ref().map_or(0, |hub| hub.connection.request_count()),
            cluster_requests: self
                .connections
                .all()
                .iter()
                .map(|target| target.connection.request_count())
                .sum(),
            dropped_events: self.fleet_events.dropped(),
        };
        for home in self.homes.all() {
            snapshot.dropped_events +=
                home.source_events.dropped() + home.kustomize_events.dropped();
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_flux_tells_them() {
        let durations = Durations::default();
        durations.observe(
            "Kustomization",
            "flux-system",
            "apps",
            Duration::from_millis(20),
        );
        durations.observe(
            "Kustomization",
            "flux-system",
            "apps",
            Duration::from_secs(9),
        );
        durations.observe(
            "Kustomization",
            "flux-system",
            "gone",
            Duration::from_secs(9),
        );
        durations.forget("Kustomization", "flux-system", "gone");
        let mut text = String::new();
        durations.write(&mut text);
        let labels = "kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\"";
        for line in [
            format!("gotk_reconcile_duration_seconds_bucket{{{labels},le=\"0.01\"}} 0"),
            format!(
                "gotk_reconcile_duration_seconds_bucket{{{labels},le=\"0.038363583488692544\"}} 1"
            ),
            format!("gotk_reconcile_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2"),
            format!("gotk_reconcile_duration_seconds_sum{{{labels}}} 9.02"),
            format!("gotk_reconcile_duration_seconds_count{{{labels}}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("gone"));
    }

    #[test]
    fn bounds_grow_by_the_same_factor() {
        let factor = (1800.0_f64 / 0.01).powf(1.0 / 9.0);
        for pair in BUCKETS.windows(2) {
            assert!((pair[1] / pair[0] - factor).abs() < 1e-9, "{pair:?}");
        }
    }
}
