//! The checks of waves: asked once a wave is healthy, while it soaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_types::FleetKustomization;
use fairway_types::check::{Check, Evidence, Verdict as Judged};
use fairway_types::rollout::{ClusterRollout, ClusterState, Rollout, RolloutStatus, WaveStatus};
use kube::ResourceExt;

use super::sight::Verdict;
use super::{pins, short_hash};
use crate::context::Context;
use crate::gates::{Subject, evaluate};

/// How the checks of all waves stand.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// By index of the wave.
    pub(super) verdicts: BTreeMap<usize, Verdict>,
    /// By name of the wave: what they are about, and what was found.
    pub(super) found: BTreeMap<String, (String, Vec<Evidence>)>,
    /// When to ask again.
    pub(super) again: Option<Duration>,
}

impl Checked {
    /// Writes down what was found.
    pub(super) fn note(&self, status: &mut RolloutStatus) {
        for wave in &mut status.waves {
            if let Some((about, evidence)) = self.found.get(&wave.name) {
                wave.checked = Some(about.clone());
                wave.checks.clone_from(evidence);
            }
        }
    }
}

/// The clusters that a wave's checks are about, once all of them are healthy.
fn healthy<'r>(before: &'r RolloutStatus, wave: &str) -> Option<Vec<&'r ClusterRollout>> {
    let members: Vec<&ClusterRollout> = before
        .clusters
        .iter()
        .filter(|entry| entry.wave == wave && !entry.changes.is_empty())
        .filter(|entry| !matches!(entry.state, ClusterState::Skipped | ClusterState::Failed))
        .collect();
    let all = members
        .iter()
        .all(|entry| entry.state == ClusterState::Soaking);
    (all && !members.is_empty()).then_some(members)
}

/// What checks are about. A cluster that was unhealthy in between is to be checked anew.
fn about(members: &[&ClusterRollout]) -> String {
    let parts: Vec<String> = members
        .iter()
        .map(|entry| format!("{} {} {}", entry.name, entry.target.digest, entry.since))
        .collect();
    short_hash(&parts.join("\n"))
}

/// What several checks come to.
fn verdict(evidence: &[Evidence]) -> Verdict {
    let bad = |evidence: &&Evidence| matches!(evidence.verdict, Judged::Failed | Judged::Revoked);
    if let Some(failed) = evidence.iter().find(bad) {
        return Verdict::Failed(format!("check {}: {}", failed.name, failed.message));
    }
    if evidence.iter().all(|one| one.verdict == Judged::Passed) {
        Verdict::Passed
    } else {
        Verdict::Pending
    }
}

/// Asks the checks of those waves that are healthy.
pub(super) async fn ask(
    context: &Arc<Context>,
    fleet: &FleetKustomization,
    rollout: &Rollout,
    before: &RolloutStatus,
) -> Checked {
    let mut checked = Checked::default();
    for (index, wave) in rollout.waves.iter().enumerate() {
        let Some(members) = healthy(before, &wave.name).filter(|_| !wave.checks.is_empty()) else {
            continue;
        };
        let about = about(&members);
        let known = before.waves.iter().find(|known| known.name == wave.name);
        let subject = Subject {
            namespace: fleet.namespace().unwrap_or_default(),
            wave: wave.name.clone(),
            fleets: vec![fleet.name_any()],
            clusters: members.iter().map(|entry| entry.name.clone()).collect(),
            commit: pins::commit_of(&members[0].target.revision).unwrap_or_default(),
            attempt: format!("{}-{about}", fleet.uid().unwrap_or_default()),
            ..Subject::default()
        };
        let looks = wave
            .checks
            .iter()
            .map(|check| one(context, check, &subject, known, &about));
        let found = futures::future::join_all(looks).await;
        let mut evidence = Vec::new();
        for (one, again) in found {
            evidence.push(one);
            checked.again = match (checked.again, again) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        checked.verdicts.insert(index, verdict(&evidence));
        checked.found.insert(wave.name.clone(), (about, evidence));
    }
    checked
}

async fn one(
    context: &Arc<Context>,
    check: &Check,
    subject: &Subject,
    known: Option<&WaveStatus>,
    about: &str,
) -> (Evidence, Option<Duration>) {
    let previous = known
        .filter(|known| known.checked.as_deref() == Some(about))
        .and_then(|known| {
            known
                .checks
                .iter()
                .find(|evidence| evidence.name == check.name)
        });
    let evaluation = evaluate(context, check, subject, previous).await;
    (evaluation.evidence, evaluation.again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn evidence(name: &str, verdict: Judged) -> Evidence {
        Evidence {
            verdict,
            message: "7% is above 1%".into(),
            ..Evidence::begin(name, "prometheus", Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn all_have_to_pass_and_one_is_enough_to_fail() {
        let (pass, wait) = (
            evidence("a", Judged::Passed),
            evidence("b", Judged::Pending),
        );
        assert_eq!(verdict(&[pass.clone(), pass.clone()]), Verdict::Passed);
        assert_eq!(verdict(&[pass.clone(), wait.clone()]), Verdict::Pending);
        for bad in [Judged::Failed, Judged::Revoked] {
            assert_eq!(
                verdict(&[pass.clone(), wait.clone(), evidence("c", bad)]),
                Verdict::Failed("check c: 7% is above 1%".into())
            );
        }
    }

    #[test]
    fn they_are_asked_when_the_whole_wave_is_healthy() {
        let entry = |name: &str, state| ClusterRollout {
            name: name.into(),
            wave: "canary".into(),
            state,
            changes: vec![fairway_types::rollout::OpenChange::default()],
            ..ClusterRollout::default()
        };
        let status = |states: &[ClusterState]| RolloutStatus {
            clusters: states
                .iter()
                .enumerate()
                .map(|(index, state)| entry(&index.to_string(), *state))
                .collect(),
            ..RolloutStatus::default()
        };
        use ClusterState::{Failed, Progressing, Skipped, Soaking};
        let asked = |states: &[ClusterState]| healthy(&status(states), "canary").map(|m| m.len());
        assert_eq!(asked(&[Soaking, Soaking]), Some(2));
        assert_eq!(asked(&[Soaking, Progressing]), None);
        assert_eq!(asked(&[Soaking, Skipped, Failed]), Some(1));
        assert_eq!(asked(&[Skipped]), None);
        let (before, after) = (status(&[Soaking]), status(&[Soaking]));
        let mut flapped = after.clone();
        flapped.clusters[0].since = Timestamp::from_second(9).expect("a time");
        let of = |status: &RolloutStatus| about(&[&status.clusters[0]]);
        assert_eq!(of(&before), of(&after));
        assert_ne!(of(&before), of(&flapped));
    }
}
