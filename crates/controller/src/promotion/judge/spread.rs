//! After the commit: it spreads over the clusters, everything is healthy, stays so, and is verified.

use fairway_types::check::{Check, Evidence, Verdict};
use fairway_types::pipeline::{Stage, StageFailure};
use fairway_types::promotion::{ClusterTrouble, Hold, Intent, Phase, Progress, WAITING_LENGTH};
use jiff::SignedDuration;

use super::gate::{align, take_answers};
use super::record::{Draft, SOON, count};
use super::{Action, How, Outcome, Place, Turn};

/// The check that is always first.
pub(super) const HEALTH: &str = "health";

pub(super) fn spreading(draft: &mut Draft<'_>, outcome: Option<Outcome>) {
    let facts = draft.facts;
    let Some(stage) = facts.stage else {
        let message = format!("the Pipeline has no stage '{}' any more", facts.spec.stage);
        return draft.go(Phase::Failed, message);
    };
    let heard = outcome.is_some();
    align_verification(draft, stage);
    let (fresh, again) = take_answers(draft, outcome, Place::Verification);
    if let Turn::Preempted { by } = &facts.turn {
        return draft.go(
            Phase::Superseded,
            format!("the rollback {by} was asked for"),
        );
    }
    if let Some(who) = &facts.cancelled {
        return fail(draft, stage, format!("cancelled by {who}"));
    }
    draft.wake_after(SOON / 2);
    if !has_arrived(draft, stage, heard) {
        return;
    }
    let healthy = measure(draft, stage);
    draft.status.waves.clone_from(&facts.spread.waves);
    if let Some(failed) = failure(draft) {
        return fail(draft, stage, failed);
    }
    if let Some(failed) = draft
        .status
        .verification
        .iter()
        .find(|check| check.verdict == Verdict::Failed)
    {
        let message = format!("check {}: {}", failed.name, failed.message);
        return fail(draft, stage, message);
    }
    if !healthy {
        return still_waiting(draft, stage);
    }
    let soak = duration(stage.health.soak().get());
    let progress = draft.status.progress.get_or_insert_default();
    let since = *progress.healthy_since.get_or_insert(draft.now);
    let soaked = draft.now.duration_since(since) >= soak;
    if !soaked {
        draft.waits = Some(format!(
            "{} healthy, soaking for {}",
            count(facts.spread.clusters.len(), "cluster"),
            stage.health.soak()
        ));
        draft.wake(since.saturating_add(soak).unwrap_or(draft.now));
        return;
    }
    if draft.status.phase == Phase::RollingOut {
        passed_health(draft, stage);
        let message = format!(
            "{} healthy for {}",
            count(facts.spread.clusters.len(), "cluster"),
            stage.health.soak()
        );
        return draft.go(Phase::Verifying, message);
    }
    verify(draft, stage, &fresh, again);
}

/// Asks the checks, all that have not passed at once.
fn verify(
    draft: &mut Draft<'_>,
    stage: &Stage,
    fresh: &[String],
    again: Option<std::time::Duration>,
) {
    let pending: Vec<(Place, usize)> = stage
        .verification
        .iter()
        .enumerate()
        .filter(|(_, check)| {
            draft
                .status
                .verification
                .iter()
                .any(|known| known.name == check.name && !known.passed())
        })
        .map(|(index, _)| (Place::Verification, index))
        .collect();
    if pending.is_empty() {
        draft.calm();
        draft.status.first_failure = None;
        let message = format!(
            "{} {} verified in {}",
            draft.to(),
            if draft.is_rollback() {
                "is back and"
            } else {
                "is"
            },
            stage.name
        );
        return draft.go(Phase::Succeeded, message);
    }
    let names: Vec<&str> = pending
        .iter()
        .map(|(_, index)| stage.verification[*index].name.as_str())
        .collect();
    draft.waits = Some(format!("waits for {}", names.join(", ")));
    if fresh.is_empty() {
        draft.action = Some(Action::Ask(pending));
    } else if let Some(again) = again {
        draft.wake_after(SignedDuration::try_from(again).unwrap_or(SOON));
    }
}

fn align_verification(draft: &mut Draft<'_>, stage: &Stage) {
    let health = draft
        .status
        .verification
        .iter()
        .find(|known| known.kind == HEALTH)
        .cloned()
        .unwrap_or_else(|| Evidence::begin(HEALTH, HEALTH, draft.now));
    let checks: Vec<Check> = stage
        .verification
        .iter()
        .filter(|check| check.name != HEALTH)
        .cloned()
        .collect();
    align(&mut draft.status.verification, &checks, draft.now);
    draft.status.verification.insert(0, health);
}

fn passed_health(draft: &mut Draft<'_>, stage: &Stage) {
    let message = format!(
        "{} healthy for {}",
        count(draft.facts.spread.clusters.len(), "cluster"),
        stage.health.soak()
    );
    let now = draft.now;
    if let Some(health) = draft.status.verification.first_mut() {
        health.verdict = Verdict::Passed;
        health.message = message;
        health.at = now;
    }
}

/// Whether the branch, as it is known here, has had the version; and whether it still has.
fn has_arrived(draft: &mut Draft<'_>, stage: &Stage, heard: bool) -> bool {
    let facts = draft.facts;
    let stands = facts.head.commit.is_some() && facts.head.version == draft.status.to;
    if stands {
        if draft.status.progress.is_none() {
            draft.status.progress = Some(Progress {
                clusters: facts.spread.clusters.len() as i32,
                progressed_at: Some(draft.now),
                ..Progress::default()
            });
        }
        return true;
    }
    if let Some(problem) = &facts.head.problem {
        draft.waits = Some(problem.clone());
        return false;
    }
    if draft.status.progress.is_some() && facts.head.commit.is_none() {
        // A process that has just begun knows nothing of the branch: what was seen before it still holds.
        draft.waits = Some("the source is not fetched yet".to_owned());
        return false;
    }
    if draft.status.progress.is_some() {
        let found = facts.head.version.as_deref().unwrap_or("no version");
        let message = format!(
            "{} has {found} now, by a commit that is not of this Promotion",
            stage.name
        );
        draft.go(Phase::Superseded, message);
        return false;
    }
    draft.waits = Some("waits for the source to be fetched".to_owned());
    let since = draft.status.since(Phase::RollingOut).unwrap_or(draft.now);
    if draft.now.duration_since(since) > duration(stage.health.timeout().get()) {
        let message = format!(
            "the source did not bring the commit within {}",
            stage.health.timeout()
        );
        fail(draft, stage, message);
    } else if !heard {
        draft.action = Some(Action::Fetch);
    }
    false
}

/// Counts the clusters, and notes progress and the first sign of trouble. Whether all of them are healthy.
fn measure(draft: &mut Draft<'_>, stage: &Stage) -> bool {
    let facts = draft.facts;
    let now = draft.now;
    let to = draft.to().to_owned();
    let clusters = &facts.spread.clusters;
    let waiting: Vec<ClusterTrouble> = clusters
        .iter()
        .filter(|cluster| !cluster.is_healthy_with(&to))
        .map(|cluster| ClusterTrouble {
            cluster: cluster.name.clone(),
            message: if cluster.is_about(&to) && cluster.how != How::Healthy {
                cluster.how.message().to_owned()
            } else {
                format!("at {}", cluster.applied.as_deref().unwrap_or("no version"))
            },
        })
        .collect();
    let healthy = clusters.len() - waiting.len();
    let all = !clusters.is_empty() && waiting.is_empty() && facts.spread.problem.is_none();
    let busy_only = clusters
        .iter()
        .filter(|cluster| !cluster.is_healthy_with(&to))
        .all(|cluster| cluster.is_about(&to) && matches!(cluster.how, How::Busy(_)))
        && facts.spread.problem.is_none();
    let is_bad = clusters.iter().any(|cluster| {
        cluster.is_about(&to) && matches!(cluster.how, How::Failing(_) | How::Failed(_))
    });
    if is_bad {
        draft.status.first_failure.get_or_insert(now);
    } else if all {
        draft.status.first_failure = None;
    }
    let pause = (duration(stage.health.timeout().get()) / 4).min(SignedDuration::from_secs(10));
    let was_healthy = {
        let progress = draft.status.progress.get_or_insert_default();
        progress.clusters = clusters.len() as i32;
        let more = healthy as i32 > progress.healthy;
        progress.healthy = healthy as i32;
        let stale = progress
            .progressed_at
            .is_none_or(|at| now.duration_since(at) >= pause);
        if more || ((facts.spread.soaking || all) && stale) {
            progress.progressed_at = Some(now);
        }
        progress.waiting = waiting;
        progress.waiting.truncate(WAITING_LENGTH);
        let was = progress.healthy_since.is_some();
        if !all && !busy_only {
            progress.healthy_since = None;
        }
        was && progress.healthy_since.is_none()
    };
    if was_healthy && draft.status.phase == Phase::Verifying {
        for check in &mut draft.status.verification {
            *check = Evidence::begin(&check.name.clone(), &check.kind.clone(), now);
        }
        let message = first_trouble(draft).unwrap_or_default();
        draft.go(Phase::RollingOut, format!("health was lost: {message}"));
    }
    all
}

fn first_trouble(draft: &Draft<'_>) -> Option<String> {
    if let Some(problem) = &draft.facts.spread.problem {
        return Some(problem.clone());
    }
    if draft.facts.spread.clusters.is_empty() {
        return Some("no cluster matches the stage".to_owned());
    }
    let progress = draft.status.progress.as_ref()?;
    let first = progress.waiting.first()?;
    Some(format!("{}: {}", first.cluster, first.message))
}

/// What does not get better by itself.
fn failure(draft: &Draft<'_>) -> Option<String> {
    let to = draft.to();
    draft
        .facts
        .spread
        .clusters
        .iter()
        .find_map(|cluster| match &cluster.how {
            How::Failed(message) if cluster.is_about(to) => {
                Some(format!("{}: {message}", cluster.name))
            }
            _ => None,
        })
}

/// Not everything is healthy: that has its time.
fn still_waiting(draft: &mut Draft<'_>, stage: &Stage) {
    let why = first_trouble(draft).unwrap_or_default();
    let progress = draft.status.progress.get_or_insert_default();
    let since = *progress.progressed_at.get_or_insert(draft.now);
    let (healthy, clusters) = (progress.healthy, progress.clusters);
    let timeout = duration(stage.health.timeout().get());
    if draft.now.duration_since(since) >= timeout {
        let message = format!("no progress for {}: {why}", stage.health.timeout());
        return fail(draft, stage, message);
    }
    draft.wake(since.saturating_add(timeout).unwrap_or(draft.now));
    draft.waits = Some(format!("{healthy} of {clusters} clusters healthy; {why}"));
}

/// The version has failed here. Where it was this Promotion that brought it, the clusters are held at once.
pub(super) fn fail(draft: &mut Draft<'_>, stage: &Stage, why: String) {
    let now = draft.now;
    draft.status.first_failure.get_or_insert(now);
    draft.status.failure = Some(why.clone());
    let brought = draft
        .status
        .commit(Intent::Promote)
        .and_then(|commit| commit.parent.clone())
        .filter(|_| !draft.status.changes.is_empty());
    let goes_back = stage.on_failure == StageFailure::Rollback && !draft.is_rollback();
    let Some(parent) = brought.filter(|_| goes_back) else {
        return draft.go(Phase::Failed, why);
    };
    draft.status.hold = Some(Hold {
        commit: parent,
        fleets: draft.facts.spread.fleets.clone(),
        clusters: draft
            .facts
            .spread
            .clusters
            .iter()
            .map(|cluster| cluster.name.clone())
            .collect(),
        since: now,
        reason: why.clone(),
    });
    draft.go(Phase::RollingBack, why);
}

pub(super) fn duration(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
