//! The way back: the clusters are held already; now the values are put back, the hold is lifted, and everything is healthy.

use fairway_types::conditions;
use fairway_types::names;
use fairway_types::promotion::{Intent, Phase, Transition};

use super::commit::{POLL, record, short};
use super::record::{Draft, SOON};
use super::spread::duration;
use super::{Action, How, Outcome, Turn};

/// Reasons after which nothing is tried again without a person.
const FINAL: [&str; 3] = ["ChangedMeanwhile", "PullRequestClosed", "CannotPutBack"];

/// What the transition says by which the hold was lifted.
const RELEASED: &str = "the branch is as it was, and the clusters follow it again";

pub(super) fn rolling_back(draft: &mut Draft<'_>, outcome: Option<Outcome>) {
    let heard_nothing = outcome.is_none();
    if let Some(outcome) = outcome {
        heard(draft, outcome);
    }
    draft.wake_after(SOON / 2);
    notice_recovery(draft);
    draft.status.waves.clone_from(&draft.facts.spread.waves);
    if draft.status.hold.is_some() {
        // What cannot end by itself is ended by who takes over.
        if let Some(who) = &draft.facts.cancelled
            && is_stuck(draft)
        {
            return give_up(draft, &format!("given up by {who}"));
        }
        if let Turn::Preempted { by } = &draft.facts.turn
            && is_stuck(draft)
        {
            return give_up(draft, &format!("the rollback {by} takes over"));
        }
        if lift(draft) {
            finish(draft);
        } else {
            put_back(draft, heard_nothing);
        }
        return;
    }
    finish(draft);
}

fn is_stuck(draft: &Draft<'_>) -> bool {
    conditions::is_true(&draft.status.conditions, names::NEEDS_ATTENTION)
}

fn give_up(draft: &mut Draft<'_>, why: &str) {
    draft.status.hold = None;
    let failure = draft.status.failure.clone().unwrap_or_default();
    draft.go(
        Phase::Failed,
        format!("{failure}; {why}, the hold is lifted"),
    );
}

/// Lifts the hold where the branch, as the clusters will see it, is what it was.
fn lift(draft: &mut Draft<'_>) -> bool {
    let facts = draft.facts;
    // Before the commit of this Promotion was ever seen, an old head proves nothing.
    let is_back =
        draft.status.commit(Intent::Rollback).is_some() || draft.status.progress.is_some();
    let renders = facts.head.commit.is_some()
        && facts.head.problem.is_none()
        && facts.head.version == draft.status.from;
    if !is_back || !renders {
        return false;
    }
    draft.status.hold = None;
    draft.status.pull_request = None;
    draft.calm();
    draft.status.transitions.push(Transition {
        phase: Phase::RollingBack,
        at: draft.now,
        message: Some(RELEASED.to_owned()),
    });
    draft.tell(false, "Released", RELEASED);
    true
}

/// Has the values put back, unless that is done, or a person is needed.
fn put_back(draft: &mut Draft<'_>, heard_nothing: bool) {
    if let Some(back) = draft.status.commit(Intent::Rollback) {
        let patience = draft
            .facts
            .stage
            .map_or(SOON, |stage| duration(stage.health.timeout().get()));
        let overdue = draft.now.duration_since(back.time) >= patience;
        draft.waits = Some("the values are put back; waits for the source".to_owned());
        if overdue {
            // Either the source is stuck, or somebody changed them again.
            let found = draft.facts.head.version.as_deref().unwrap_or("no version");
            let message = format!(
                "the values were put back, and the branch has {found} since; the clusters stay held\nhint: put the version right in Git, or cancel the promotion to lift the hold"
            );
            draft.attention("ChangedMeanwhile", &message);
        }
        if heard_nothing {
            draft.action = Some(Action::Fetch);
        }
        return;
    }
    if draft.facts.pipeline.suspend {
        draft.waits = Some("the clusters are held; the Pipeline is suspended".to_owned());
        return;
    }
    let reason = conditions::get(&draft.status.conditions, names::NEEDS_ATTENTION);
    if let Some(stuck) = reason.filter(|stuck| FINAL.contains(&stuck.reason.as_str())) {
        draft.waits = Some(stuck.message.clone());
        return;
    }
    if heard_nothing {
        draft.action = Some(if draft.status.pull_request.is_some() {
            Action::Poll
        } else {
            Action::Commit(Intent::Rollback)
        });
    }
}

fn heard(draft: &mut Draft<'_>, outcome: Outcome) {
    match outcome {
        Outcome::Committed {
            sha,
            parent,
            pull_request,
            ..
        } => {
            draft.calm();
            draft.status.pull_request = None;
            record(draft, Intent::Rollback, &sha, parent, pull_request);
            let message = format!(
                "{} is put back by commit {}",
                draft.status.from.as_deref().unwrap_or("what was there"),
                short(&sha)
            );
            draft.audit("PutBack", None, &message, Some(&sha));
            draft.tell(false, "PutBack", message);
        }
        Outcome::Standing { commit, .. } => {
            draft.calm();
            record(draft, Intent::Rollback, &commit, None, None);
            let message = "somebody put the values back already";
            draft.audit("PutBack", None, message, Some(&commit));
            draft.tell(false, "PutBack", message);
        }
        Outcome::Opened(pull_request) => {
            let message = format!(
                "the branch takes no push; pull request {} puts the values back, and the clusters are held until it is merged",
                pull_request.url
            );
            draft.attention("PullRequestOpened", &message);
            draft.status.pull_request = Some(pull_request);
            draft.waits = Some(message);
            draft.wake_after(POLL);
        }
        Outcome::Waiting => draft.wake_after(POLL),
        Outcome::Closed => {
            draft.status.pull_request = None;
            draft.attention(
                "PullRequestClosed",
                "the pull request that puts the values back was closed; the clusters stay held\nhint: put them back by hand, or cancel the promotion to lift the hold",
            );
        }
        Outcome::Changed(what) => {
            let message = format!(
                "somebody changed what this promotion set, so nothing is written; the clusters stay held: {what}\nhint: put the version right in Git, or cancel the promotion to lift the hold"
            );
            draft.attention("ChangedMeanwhile", &message);
        }
        Outcome::Impossible(what) => {
            let message = format!(
                "the values cannot be put back; the clusters stay held: {what}\nhint: put them back by hand, or cancel the promotion to lift the hold"
            );
            draft.attention("CannotPutBack", &message);
        }
        Outcome::Refused(what) => {
            let message = format!("the push is refused; the clusters stay held: {what}");
            draft.attention("PushRefused", &message);
            draft.try_later(message);
        }
        Outcome::Away(what) => draft.try_later(format!(
            "the clusters are held; the values are put back as soon as Git answers: {what}"
        )),
        Outcome::Absent | Outcome::Answers { .. } | Outcome::Done => {}
    }
}

/// Notes when everything was healthy again with what was there before, by the hold or by the branch.
fn notice_recovery(draft: &mut Draft<'_>) {
    if draft.status.recovered_at.is_some() || !is_recovered(draft) {
        return;
    }
    draft.status.recovered_at = Some(draft.now);
    let first = draft.status.first_failure.unwrap_or(draft.now);
    let took = draft.now.duration_since(first).as_millis();
    let millis = i64::try_from(took).unwrap_or(i64::MAX).max(0);
    draft.status.recovery_millis = Some(millis);
    let message = format!(
        "healthy again {}.{:03}s after the first sign of failure",
        millis / 1000,
        millis % 1000
    );
    draft.audit("Recovered", None, &message, None);
    draft.tell(false, "Recovered", message);
}

fn is_recovered(draft: &Draft<'_>) -> bool {
    let spread = &draft.facts.spread;
    !spread.clusters.is_empty()
        && spread.problem.is_none()
        && spread.clusters.iter().all(|cluster| {
            cluster.applied == draft.status.from
                && (cluster.attempted.is_none() || cluster.attempted == draft.status.from)
                && cluster.how == How::Healthy
        })
}

/// The hold is lifted: done when everything is healthy, or when that has had its time.
fn finish(draft: &mut Draft<'_>) {
    let failure = draft.status.failure.clone().unwrap_or_default();
    let Some(stage) = draft.facts.stage else {
        return draft.go(Phase::RolledBack, failure);
    };
    let back = draft.status.from.clone();
    let back = back.as_deref().unwrap_or("what was there");
    if draft.status.recovered_at.is_some() {
        let message = format!("{back} is back in {}: {failure}", stage.name);
        return draft.go(Phase::RolledBack, message);
    }
    let since = draft
        .status
        .transitions
        .last()
        .map_or(draft.now, |released| released.at);
    if draft.now.duration_since(since) >= duration(stage.health.timeout().get()) {
        let message = format!(
            "{back} is back in {}, and not every cluster is healthy with it: {failure}",
            stage.name
        );
        return draft.go(Phase::RolledBack, message);
    }
    draft.waits = Some(format!("{back} is put back; waits for the clusters"));
}
