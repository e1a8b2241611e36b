//! How changes are delivered: promotions, checks, waves, rollbacks, and the four DORA measures.
//!
//! Whoever decides says so here, once for each outcome; docs/metrics.md has the names and what to ask of them. Counters begin
//! anew with the process, as Prometheus expects it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairway_types::check::Verdict;

use crate::exposition::{escape, family};

/// A stage of a Pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageOf<'a> {
    /// Namespace of the Pipeline.
    pub namespace: &'a str,
    /// Name of the Pipeline.
    pub pipeline: &'a str,
    /// Name of the stage.
    pub stage: &'a str,
}

impl StageOf<'_> {
    fn labels(&self) -> Labels {
        vec![
            ("namespace", self.namespace.to_owned()),
            ("pipeline", self.pipeline.to_owned()),
            ("stage", self.stage.to_owned()),
        ]
    }
}

/// How a Promotion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The clusters run the version, and it was verified.
    Succeeded,
    /// It did not get there; nothing that it did is left to undo.
    Failed,
    /// It was undone.
    RolledBack,
    /// People or a gate said no before anything was committed.
    Rejected,
    /// A newer one took its place.
    Superseded,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
        }
    }
}

/// A Promotion that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// It was a rollback itself.
    pub is_rollback: bool,
    /// How.
    pub outcome: Outcome,
    /// From when it was asked for.
    pub took: Duration,
    /// From the commit of the change (in the repository of the application, or in the stage before) to the end, where that is
    /// known.
    pub lead_time: Option<Duration>,
    /// It had committed: a failure is then a change that failed, not one that was held back.
    pub was_committed: bool,
}

type Labels = Vec<(&'static str, String)>;

/// Upper bounds in seconds: from a second to a week.
const BUCKETS: [f64; 14] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
    259_200.0, 604_800.0,
];

#[derive(Debug, Default, Clone, Copy)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

#[derive(Debug, Default)]
struct Numbers {
    counters: BTreeMap<(&'static str, Labels), u64>,
    gauges: BTreeMap<(&'static str, Labels), u64>,
    histograms: BTreeMap<(&'static str, Labels), Histogram>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Delivery(Mutex<Numbers>);

const PROMOTIONS: &str = "fairway_promotions_total";
const PROMOTION_DURATION: &str = "fairway_promotion_duration_seconds";
const DEPLOYMENTS: &str = "fairway_deployments_total";
const CHANGE_FAILURES: &str = "fairway_change_failures_total";
const LEAD_TIME: &str = "fairway_lead_time_seconds";
const ROLLBACKS: &str = "fairway_rollbacks_total";
const RECOVERY: &str = "fairway_recovery_seconds";
const CHECKS: &str = "fairway_checks_total";
const WAVES: &str = "fairway_waves_total";
const HELD: &str = "fairway_held_clusters";
const NOTIFICATIONS: &str = "fairway_notifications_total";

/// Every name with its help, in the order of the page.
const HELP: [(&str, &str, &str); 11] = [
    (PROMOTIONS, "counter", "Promotions that ended, by outcome."),
    (
        PROMOTION_DURATION,
        "histogram",
        "From the request of a promotion to its success.",
    ),
    (
        DEPLOYMENTS,
        "counter",
        "Promotions that changed a stage (DORA: deployment frequency).",
    ),
    (
        CHANGE_FAILURES,
        "counter",
        "Promotions that changed a stage and failed there (DORA: change failure rate).",
    ),
    (
        LEAD_TIME,
        "histogram",
        "From the commit of a change to a stage that runs it (DORA: lead time for changes).",
    ),
    (
        ROLLBACKS,
        "counter",
        "Rollbacks that began, by who asked for them.",
    ),
    (
        RECOVERY,
        "histogram",
        "From the first failing signal to healthy again (DORA: time to restore service).",
    ),
    (CHECKS, "counter", "Verdicts of gates and checks."),
    (
        WAVES,
        "counter",
        "Waves of rollouts that ended, by outcome.",
    ),
    (HELD, "gauge", "Clusters that are held at a revision."),
    (
        NOTIFICATIONS,
        "counter",
        "Notifications to providers, by outcome.",
    ),
];

impl Delivery {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &'static str, labels: Labels) {
        *self.lock().counters.entry((name, labels)).or_default() += 1;
    }

    fn observe(&self, name: &'static str, labels: Labels, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut numbers = self.lock();
        let histogram = numbers.histograms.entry((name, labels)).or_default();
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// A Promotion ended.
    pub fn ended(&self, stage: StageOf<'_>, how: Ended) {
        let with = |more: &[(&'static str, &str)]| {
            let mut labels = stage.labels();
            labels.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
            labels
        };
        let intent = if how.is_rollback {
            "rollback"
        } else {
            "promote"
        };
        self.count(
            PROMOTIONS,
            with(&[("intent", intent), ("outcome", how.outcome.name())]),
        );
        if how.outcome == Outcome::Succeeded {
            self.observe(PROMOTION_DURATION, with(&[("intent", intent)]), how.took);
        }
        if how.is_rollback || !how.was_committed {
            return;
        }
        match how.outcome {
            Outcome::Succeeded => {
                self.count(DEPLOYMENTS, stage.labels());
                if let Some(lead_time) = how.lead_time {
                    self.observe(LEAD_TIME, stage.labels(), lead_time);
                }
            }
            Outcome::Failed | Outcome::RolledBack => {
                self.count(DEPLOYMENTS, stage.labels());
                self.count(CHANGE_FAILURES, stage.labels());
            }
            Outcome::Rejected | Outcome::Superseded => {}
        }
    }

    /// A rollback began: by itself, or because somebody asked for it.
    pub fn rolling_back(&self, stage: StageOf<'_>, automatic: bool) {
        let mut labels = stage.labels();
        let cause = if automatic { "automatic" } else { "requested" };
        labels.push(("cause", cause.to_owned()));
        self.count(ROLLBACKS, labels);
    }

    /// A stage is healthy again, this long after the first failing signal.
    pub fn recovered(&self, stage: StageOf<'_>, took: Duration) {
        self.observe(RECOVERY, stage.labels(), took);
    }

    /// A check has a verdict.
    pub fn checked(&self, kind: &'static str, verdict: Verdict) {
        let verdict = verdict.as_str().to_ascii_lowercase();
        self.count(
            CHECKS,
            vec![("kind", kind.to_owned()), ("verdict", verdict)],
        );
    }

    /// A wave of a FleetKustomization ended.
    pub fn wave(&self, namespace: &str, fleet: &str, wave: &str, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        let labels = vec![
            ("namespace", namespace.to_owned()),
            ("fleet", fleet.to_owned()),
            ("wave", wave.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        self.count(WAVES, labels);
    }

    /// How many clusters of a FleetKustomization are held at a revision now.
    pub fn held(&self, namespace: &str, fleet: &str, clusters: usize) {
        let labels = vec![
            ("namespace", namespace.to_owned()),
            ("fleet", fleet.to_owned()),
        ];
        self.lock().gauges.insert((HELD, labels), clusters as u64);
    }

    /// A notification was sent, or given up.
    pub(crate) fn notified(&self, provider: &str, outcome: &'static str) {
        let labels = vec![
            ("type", provider.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        self.count(NOTIFICATIONS, labels);
    }

    /// Forgets what is told of a Pipeline or FleetKustomization that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let is_of = |labels: &Labels| {
            let has = |key: &str, value: &str| {
                labels
                    .iter()
                    .any(|(label, text)| *label == key && text == value)
            };
            has("namespace", namespace) && (has("pipeline", name) || has("fleet", name))
        };
        let mut numbers = self.lock();
        numbers.counters.retain(|(_, labels), _| !is_of(labels));
        numbers.gauges.retain(|(_, labels), _| !is_of(labels));
        numbers.histograms.retain(|(_, labels), _| !is_of(labels));
    }

    /// Adds them to a page of metrics.
    pub(crate) fn write(&self, text: &mut String, dropped: u64) {
        if dropped > 0 {
            let labels = vec![
                ("type", "queue".to_owned()),
                ("outcome", "dropped".to_owned()),
            ];
            self.lock()
                .counters
                .insert((NOTIFICATIONS, labels), dropped);
        }
        let numbers = self.lock();
        for (name, kind, help) in HELP {
            family(text, name, kind, help);
            for ((_, labels), value) in of(&numbers.counters, name).chain(of(&numbers.gauges, name))
            {
                let _ = writeln!(text, "{name}{{{}}} {value}", written(labels));
            }
            for ((_, labels), histogram) in of(&numbers.histograms, name) {
                let labels = written(labels);
                for (count, bound) in histogram.buckets.iter().zip(BUCKETS) {
                    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
                }
                let Histogram { count, sum, .. } = histogram;
                let _ = writeln!(
                    text,
                    "{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}"
                );
            }
        }
    }
}

/// What there is of one name.
fn of<'a, V>(
    map: &'a BTreeMap<(&'static str, Labels), V>,
    name: &'static str,
) -> impl Iterator<Item = (&'a (&'static str, Labels), &'a V)> {
    map.iter().filter(move |((found, _), _)| *found == name)
}

fn written(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROD: StageOf<'static> = StageOf {
        namespace: "flux-system",
        pipeline: "myapp",
        stage: "prod",
    };

    fn page(delivery: &Delivery) -> String {
        let mut text = String::new();
        delivery.write(&mut text, 0);
        text
    }

    fn ended(outcome: Outcome, was_committed: bool) -> Ended {
        Ended {
            is_rollback: false,
            outcome,
            took: Duration::from_secs(40),
            lead_time: Some(Duration::from_mins(50)),
            was_committed,
        }
    }

    #[test]
    fn dora_measures_are_told() {
        let delivery = Delivery::default();
        delivery.ended(PROD, ended(Outcome::Succeeded, true));
        delivery.ended(PROD, ended(Outcome::RolledBack, true));
        // What a gate held back changed nothing.
        delivery.ended(PROD, ended(Outcome::Failed, false));
        delivery.ended(
            PROD,
            Ended {
                is_rollback: true,
                ..ended(Outcome::Succeeded, true)
            },
        );
        delivery.rolling_back(PROD, true);
        delivery.recovered(PROD, Duration::from_secs(12));
        let text = page(&delivery);
        let labels = "namespace=\"flux-system\",pipeline=\"myapp\",stage=\"prod\"";
        for line in [
            format!(
                "fairway_promotions_total{{{labels},intent=\"promote\",outcome=\"succeeded\"}} 1"
            ),
            format!("fairway_promotions_total{{{labels},intent=\"promote\",outcome=\"failed\"}} 1"),
            format!(
                "fairway_promotions_total{{{labels},intent=\"rollback\",outcome=\"succeeded\"}} 1"
            ),
            format!("fairway_deployments_total{{{labels}}} 2"),
            format!("fairway_change_failures_total{{{labels}}} 1"),
            format!("fairway_lead_time_seconds_bucket{{{labels},le=\"1800\"}} 0"),
            format!("fairway_lead_time_seconds_bucket{{{labels},le=\"3600\"}} 1"),
            format!("fairway_lead_time_seconds_count{{{labels}}} 1"),
            format!("fairway_rollbacks_total{{{labels},cause=\"automatic\"}} 1"),
            format!("fairway_recovery_seconds_sum{{{labels}}} 12"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn waves_checks_and_holds_are_told_and_forgotten() {
        let delivery = Delivery::default();
        delivery.wave("flux-system", "apps", "canary", true);
        delivery.checked("prometheus", Verdict::Failed);
        delivery.held("flux-system", "apps", 3);
        delivery.held("flux-system", "apps", 2);
        delivery.notified("slack", "sent");
        let text = page(&delivery);
        for line in [
            "fairway_waves_total{namespace=\"flux-system\",fleet=\"apps\",wave=\"canary\",outcome=\"succeeded\"} 1",
            "fairway_checks_total{kind=\"prometheus\",verdict=\"failed\"} 1",
            "fairway_held_clusters{namespace=\"flux-system\",fleet=\"apps\"} 2",
            "fairway_notifications_total{type=\"slack\",outcome=\"sent\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        delivery.forget("flux-system", "apps");
        assert!(!page(&delivery).contains("fleet=\"apps\""));
    }

    /// The documentation names what the page has.
    #[test]
    fn every_name_is_documented() {
        let documented = include_str!("../../../../docs/metrics.md");
        for (name, _, _) in HELP {
            assert!(documented.contains(name), "{name}");
        }
    }
}
