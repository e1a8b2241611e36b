//! How a fleet is, from how its Kustomizations are.

use std::sync::Arc;

use fairway_types::fleet::{ClusterCounts, ClusterSummary, bound_summary};
use fairway_types::names::{self, reason};
use fairway_types::rollout::{ClusterRollout, ClusterState, RolloutStatus, WaveState, WaveStatus};
use fairway_types::{ConditionStatus, Kustomization, conditions};

use super::plan::{Action, Child, ChildError, Plan};

/// What goes into the status.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The numbers.
    pub counts: ClusterCounts,
    /// The clusters, bounded.
    pub clusters: Vec<ClusterSummary>,
    /// The Ready condition.
    pub ready: ConditionStatus,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// Sums up; `child` finds a Kustomization by its name.
pub fn summarize(
    plan: &Plan,
    child: &dyn Fn(&str) -> Option<Arc<Kustomization>>,
    rollout: Option<&RolloutStatus>,
) -> Summary {
    let mut clusters: Vec<ClusterSummary> = plan
        .children
        .iter()
        .map(|planned| one(planned, child(&planned.name).as_deref()))
        .collect();
    for cluster in &mut clusters {
        if let Some(entry) = rollout.and_then(|rollout| rollout.cluster(&cluster.name)) {
            under_way(cluster, entry);
        }
    }
    let count = |status| {
        clusters
            .iter()
            .filter(|cluster| cluster.ready == status)
            .count()
    };
    let (matched, ready, failed) = (
        clusters.len(),
        count(ConditionStatus::True),
        count(ConditionStatus::False),
    );
    let mut summary = Summary {
        counts: ClusterCounts {
            matched: matched as i32,
            ready: ready as i32,
            failed: failed as i32,
        },
        clusters: Vec::new(),
        ready: ConditionStatus::True,
        reason: reason::RECONCILIATION_SUCCEEDED,
        message: format!("{ready} of {matched} clusters ready"),
    };
    bound_summary(&mut clusters);
    if matched == 0 {
        summary.ready = ConditionStatus::False;
        summary.reason = reason::SELECTOR_FAILED;
        "no Cluster matches spec.clusterSelector".clone_into(&mut summary.message);
    } else if let Some(message) = rollout.and_then(given_up) {
        summary.ready = ConditionStatus::False;
        summary.reason = reason::ROLLOUT_FAILED;
        summary.message = format!("{ready} of {matched} clusters ready; {message}");
    } else if failed > 0 {
        summary.ready = ConditionStatus::False;
        let templates = plan.children.iter().any(|child| {
            matches!(
                child.action,
                Action::Refuse(ChildError::Template(_) | ChildError::Invalid(_))
            )
        });
        summary.reason = if templates {
            reason::TEMPLATE_FAILED
        } else {
            reason::RECONCILIATION_FAILED
        };
        if let Some(first) = clusters.first() {
            let text = first.message.as_deref().unwrap_or_default();
            let line = text.lines().next().unwrap_or_default();
            summary.message = format!(
                "{ready} of {matched} clusters ready, {failed} failed; {}: {line}",
                first.name
            );
        }
    } else if ready < matched {
        summary.ready = ConditionStatus::Unknown;
        summary.reason = reason::PROGRESSING;
    }
    if summary.ready == ConditionStatus::Unknown
        && let Some(message) = rollout.and_then(|rollout| rollout.message.as_deref())
    {
        summary.message = format!("{}; {message}", summary.message);
    }
    summary.clusters = clusters;
    summary
}

/// What a rollout says where more clusters have failed than may.
fn given_up(rollout: &RolloutStatus) -> Option<&str> {
    let failed = |wave: &WaveStatus| wave.state == WaveState::Failed;
    let has = rollout.waves.iter().any(failed);
    rollout.message.as_deref().filter(|_| has)
}

/// A cluster that a change is under way to is not ready, however well it does with what it has.
fn under_way(cluster: &mut ClusterSummary, entry: &ClusterRollout) {
    let (ready, why) = match entry.state {
        ClusterState::Soaking | ClusterState::Done => return,
        ClusterState::Failed => (ConditionStatus::False, reason::ROLLOUT_FAILED),
        ClusterState::Progressing => (ConditionStatus::Unknown, reason::PROGRESSING),
        ClusterState::Pending => (ConditionStatus::Unknown, "Pending"),
        ClusterState::Skipped => (ConditionStatus::Unknown, "Skipped"),
        ClusterState::Held => (ConditionStatus::Unknown, "Held"),
        ClusterState::HeldBack => (ConditionStatus::Unknown, "HeldBack"),
    };
    if cluster.ready == ConditionStatus::False && ready == ConditionStatus::Unknown {
        // Something is wrong with what it has, too.
        return;
    }
    cluster.ready = ready;
    cluster.reason = Some(why.to_owned());
    let waits = format!("wave {}: waits for its turn", entry.wave);
    cluster.message = entry
        .message
        .clone()
        .or_else(|| (entry.state == ClusterState::Pending).then_some(waits));
}

fn one(planned: &Child, child: Option<&Kustomization>) -> ClusterSummary {
    let mut summary = ClusterSummary {
        name: planned.cluster.clone(),
        kustomization: Some(planned.name.clone()),
        ready: ConditionStatus::Unknown,
        reason: Some(reason::PROGRESSING.to_owned()),
        message: None,
        revision: None,
    };
    match &planned.action {
        Action::Refuse(error) => {
            summary.ready = ConditionStatus::False;
            summary.reason = Some(
                if matches!(error, ChildError::Foreign(_)) {
                    "ForeignObject"
                } else {
                    reason::TEMPLATE_FAILED
                }
                .to_owned(),
            );
            summary.message = Some(error.to_string());
            summary.kustomization = None;
        }
        // What is about to change is not yet what was ready.
        Action::Apply(_) | Action::Hold(_) => {}
        Action::Keep => {
            let Some(child) = child else { return summary };
            let Some(status) = &child.status else {
                return summary;
            };
            summary.revision.clone_from(&status.last_applied_revision);
            if let Some(condition) = conditions::get(&status.conditions, names::READY) {
                let is_current = status.observed_generation == child.metadata.generation;
                summary.ready = match condition.status {
                    ConditionStatus::True if !is_current => ConditionStatus::Unknown,
                    status => status,
                };
                // A child that waits for another one is not broken.
                if condition.status == ConditionStatus::False
                    && condition.reason == reason::DEPENDENCY_NOT_READY
                {
                    summary.ready = ConditionStatus::Unknown;
                }
                summary.reason = Some(condition.reason.clone());
                if summary.ready != ConditionStatus::True {
                    summary.message = Some(condition.message.clone());
                }
            }
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summarize(plan: &Plan, child: &dyn Fn(&str) -> Option<Arc<Kustomization>>) -> Summary {
        super::summarize(plan, child, None)
    }

    fn kept(name: &str) -> Child {
        Child {
            cluster: name.into(),
            name: format!("apps-{name}"),
            action: Action::Keep,
        }
    }

    fn child(status: &str, reason: &str, message: &str) -> Arc<Kustomization> {
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": "x", "namespace": "fs", "generation": 2},
                "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}},
                "status": {"observedGeneration": 2, "lastAppliedRevision": "main@sha1:1", "conditions": [{
                    "type": "Ready", "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn all_ready() {
        let plan = Plan {
            children: vec![kept("a"), kept("b")],
            leavers: vec![],
        };
        let summary = summarize(&plan, &|_| {
            Some(child("True", "ReconciliationSucceeded", "ok"))
        });
        assert_eq!(
            (summary.ready, summary.message.as_str()),
            (ConditionStatus::True, "2 of 2 clusters ready")
        );
        assert_eq!(summary.clusters[0].revision.as_deref(), Some("main@sha1:1"));
    }

    #[test]
    fn one_failure_is_named_first() {
        let plan = Plan {
            children: vec![kept("a"), kept("b"), kept("c")],
            leavers: vec![],
        };
        let summary = summarize(&plan, &|name| {
            Some(match name {
                "apps-b" => child("False", "BuildFailed", "kustomization.yaml:3: no\nmore"),
                "apps-c" => child("False", "DependencyNotReady", "dependency 'x' is not ready"),
                _ => child("True", "ReconciliationSucceeded", "ok"),
            })
        });
        assert_eq!(summary.ready, ConditionStatus::False);
        assert_eq!(summary.reason, "ReconciliationFailed");
        assert_eq!(
            summary.message,
            "1 of 3 clusters ready, 1 failed; b: kustomization.yaml:3: no"
        );
        assert_eq!(
            summary.counts,
            ClusterCounts {
                matched: 3,
                ready: 1,
                failed: 1
            }
        );
    }

    #[test]
    fn nothing_matched_is_not_green() {
        let summary = summarize(
            &Plan {
                children: vec![],
                leavers: vec![],
            },
            &|_| None,
        );
        assert_eq!(
            (summary.ready, summary.reason),
            (ConditionStatus::False, "SelectorFailed")
        );
    }
}
