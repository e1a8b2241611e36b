//! The metrics as text, in Prometheus' exposition format.
//!
//! `gotk_reconcile_duration_seconds` and `gotk_resource_info` are named, labelled and bucketed as Flux's controllers and
//! its monitoring set-up do it, so that existing dashboards and alerts go on working; the rest is Fairway's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fairway_types::{Condition, ConditionStatus, conditions, names};
use kube::ResourceExt;

use crate::context::Context;
use crate::home::HomeId;
use crate::lease::Standing;
use crate::rollout::pins::is_hold;

/// All of it, at this moment.
pub(crate) fn write(context: &Context) -> String {
    let mut text = String::new();
    counters(&mut text, context);
    queues(&mut text, context);
    leases(&mut text, context);
    rollouts(&mut text, context);
    context.metrics.durations.write(&mut text);
    let dropped = context.notifier.dropped();
    context.metrics.delivery.write(&mut text, dropped);
    resources(&mut text, context);
    text
}

/// The head of a metric.
pub(crate) fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn counters(text: &mut String, context: &Context) {
    let now = context.snapshot();
    for (name, help, value) in [
        ("fetches", "Fetches that succeeded.", now.fetches),
        ("builds", "kustomize builds that ran.", now.builds),
        (
            "build_cache_hits",
            "Builds that the cache made unnecessary.",
            now.build_cache_hits,
        ),
        ("reconciles", "Runs over Kustomizations.", now.reconciles),
        (
            "unchanged",
            "Runs over Kustomizations that found nothing to ask the cluster.",
            now.unchanged,
        ),
        ("applies", "Applies that went to a cluster.", now.applies),
        (
            "drift_corrections",
            "Objects that were put back after somebody else changed them.",
            now.drifts,
        ),
        (
            "failures",
            "Runs over Kustomizations that failed.",
            now.failures,
        ),
        ("hub_requests", "Requests to the hub.", now.hub_requests),
        (
            "cluster_requests",
            "Requests to all other clusters.",
            now.cluster_requests,
        ),
        (
            "dropped_events",
            "Events that were not written.",
            now.dropped_events,
        ),
    ] {
        let name = format!("fairway_{name}_total");
        family(text, &name, "counter", help);
        let _ = writeln!(text, "{name} {value}");
    }
}

fn queues(text: &mut String, context: &Context) {
    let queues = &context.queues;
    let loads = [
        ("gitrepository", queues.sources.load()),
        ("kustomization", queues.kustomizations.load()),
        ("cluster", queues.clusters.load()),
        ("fleetkustomization", queues.fleets.load()),
    ];
    let (running, waiting) = ("fairway_queue_running", "fairway_queue_backlog");
    family(text, running, "gauge", "Runs that are under way.");
    for (queue, (now, _)) in loads {
        let _ = writeln!(text, "{running}{{queue=\"{queue}\"}} {now}");
    }
    family(
        text,
        waiting,
        "gauge",
        "Objects whose turn it is and that wait for a slot.",
    );
    for (queue, (_, backlog)) in loads {
        let _ = writeln!(text, "{waiting}{{queue=\"{queue}\"}} {backlog}");
    }
}

fn rollouts(text: &mut String, context: &Context) {
    let counted = &context.metrics.rollouts;
    for (name, reason, help) in [
        (
            "waves_started",
            "WaveStarted",
            "Waves of rollouts that began.",
        ),
        (
            "rollouts_finished",
            "RolloutFinished",
            "Rollouts that have come to all clusters.",
        ),
        (
            "rollout_clusters_failed",
            "ClusterFailed",
            "Clusters that failed in a rollout.",
        ),
    ] {
        let name = format!("fairway_{name}_total");
        family(text, &name, "counter", help);
        let _ = writeln!(text, "{name} {}", counted.of(reason));
    }
    let name = "fairway_rollout_clusters";
    family(
        text,
        name,
        "gauge",
        "Clusters that a change is under way to, by state.",
    );
    for fleet in context.fleets.all() {
        let Some(rollout) = fleet
            .status
            .as_ref()
            .and_then(|status| status.rollout.as_ref())
        else {
            continue;
        };
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for cluster in &rollout.clusters {
            *states.entry(format!("{:?}", cluster.state)).or_default() += 1;
        }
        let (namespace, of) = (fleet.namespace().unwrap_or_default(), fleet.name_any());
        for (state, count) in states {
            let _ = writeln!(
                text,
                "{name}{{fleet=\"{}\",namespace=\"{}\",state=\"{state}\"}} {count}",
                escape(&of),
                escape(&namespace)
            );
        }
    }
    let name = "fairway_held_revisions";
    family(
        text,
        name,
        "gauge",
        "Generated GitRepositories that hold a commit.",
    );
    let holds = context
        .homes
        .all()
        .iter()
        .map(|home| {
            let all = home.repositories.all();
            all.iter().filter(|object| is_hold(object)).count()
        })
        .sum::<usize>();
    let _ = writeln!(text, "{name} {holds}");
}

fn leases(text: &mut String, context: &Context) {
    let name = "fairway_leader";
    family(text, name, "gauge", "Whether this process holds a Lease.");
    for (lease, standing) in context.standings.all() {
        let leads = u8::from(standing == Standing::Leading);
        let _ = writeln!(text, "{name}{{lease=\"{}\"}} {leads}", escape(lease));
    }
}

fn resources(text: &mut String, context: &Context) {
    let name = "gotk_resource_info";
    family(text, name, "gauge", "The current state of a Flux resource.");
    let mut line = |home: &HomeId,
                    kind: &str,
                    namespace: &str,
                    of: &str,
                    ready: &[Condition],
                    suspended: bool,
                    more: String| {
        let ready = match conditions::get(ready, names::READY).map(|ready| ready.status) {
            Some(ConditionStatus::True) => "True",
            Some(ConditionStatus::False) => "False",
            Some(ConditionStatus::Unknown) | None => "Unknown",
        };
        let cluster = match home {
            HomeId::Hub => String::new(),
            HomeId::Cluster((_, cluster)) => format!(",cluster=\"{}\"", escape(cluster)),
        };
        let _ = writeln!(
            text,
            "{name}{{customresource_kind=\"{kind}\",exported_namespace=\"{}\",name=\"{}\",ready=\"{ready}\",\
             suspended=\"{suspended}\"{more}{cluster}}} 1",
            escape(namespace),
            escape(of),
        );
    };
    for home in context.homes.all() {
        for object in home.kustomizations.all() {
            let status = object.status.clone().unwrap_or_default();
            let more = format!(
                ",revision=\"{}\",source_name=\"{}\"",
                escape(status.last_applied_revision.as_deref().unwrap_or_default()),
                escape(&object.spec.source_ref.name)
            );
            let (namespace, of) = (object.namespace().unwrap_or_default(), object.name_any());
            let suspended = object.spec.suspend;
            line(
                &home.id,
                "Kustomization",
                &namespace,
                &of,
                &status.conditions,
                suspended,
                more,
            );
        }
        for object in home.repositories.all() {
            let status = object.status.clone().unwrap_or_default();
            let revision = status.artifact.map(|artifact| artifact.revision);
            let more = format!(",revision=\"{}\"", escape(&revision.unwrap_or_default()));
            let (namespace, of) = (object.namespace().unwrap_or_default(), object.name_any());
            let suspended = object.spec.suspend;
            line(
                &home.id,
                "GitRepository",
                &namespace,
                &of,
                &status.conditions,
                suspended,
                more,
            );
        }
    }
}

/// The value of a label, between its quotes.
pub(crate) fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
