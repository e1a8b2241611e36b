//! The commit, or its pull request. The remote says what came of it.

use fairway_types::promotion::{CommitRecord, Intent, Phase};
use jiff::SignedDuration;

use super::gate::{Obstacle, obstacle};
use super::record::Draft;
use super::{Action, Outcome};

/// How often a pull request is looked at.
pub(super) const POLL: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn committing(draft: &mut Draft<'_>, outcome: Option<Outcome>) {
    let intent = draft.facts.spec.intent;
    match outcome {
        Some(outcome) => heard(draft, intent, outcome),
        None => {
            let has_pull_request = draft.status.pull_request.is_some();
            draft.action = Some(match obstacle(draft.facts, &draft.status) {
                Some(Obstacle::End(..)) if has_pull_request => Action::Close,
                // A freeze stops our commits; whoever merges a pull request meanwhile decides for themselves.
                Some(Obstacle::Wait(_)) if has_pull_request => Action::Poll,
                Some(_) => Action::Look(intent),
                None if has_pull_request => Action::Poll,
                None => Action::Commit(intent),
            });
        }
    }
}

fn heard(draft: &mut Draft<'_>, intent: Intent, outcome: Outcome) {
    match outcome {
        Outcome::Committed {
            sha,
            parent,
            changes,
            version,
            pull_request,
            ..
        } => {
            draft.calm();
            draft.status.pull_request = None;
            draft.status.changes = changes;
            if draft.is_rollback() || draft.status.to.is_none() {
                draft.status.to = version.or_else(|| draft.status.to.take());
            }
            record(draft, intent, &sha, parent, pull_request);
            let message = format!("commit {}", short(&sha));
            draft.audit("Committed", None, &described(draft), Some(&sha));
            draft.go(Phase::RollingOut, message);
            draft.action = Some(Action::Fetch);
        }
        Outcome::Standing { commit, version } => {
            draft.calm();
            if draft.is_rollback() || draft.status.to.is_none() {
                draft.status.to = version.or_else(|| draft.status.to.take());
            }
            draft.status.source_commit.get_or_insert(commit);
            let message = format!(
                "{} stands in {} already",
                draft.to(),
                draft.facts.spec.stage
            );
            draft.go(Phase::RollingOut, message);
        }
        Outcome::Opened(pull_request) => {
            let message = format!("pull request {} waits to be merged", pull_request.url);
            draft.audit("PullRequestOpened", None, &pull_request.url, None);
            draft.tell(false, "PullRequestOpened", message.clone());
            draft.status.pull_request = Some(pull_request);
            draft.waits = Some(message);
            draft.wake_after(POLL);
        }
        Outcome::Waiting => {
            if let Some(pull_request) = &draft.status.pull_request {
                draft.waits = Some(format!(
                    "pull request {} waits to be merged",
                    pull_request.url
                ));
            }
            draft.wake_after(POLL);
        }
        Outcome::Closed => {
            let message = match obstacle(draft.facts, &draft.status) {
                Some(Obstacle::End(phase, message)) => Some((phase, message)),
                _ => None,
            };
            draft.status.pull_request = None;
            let (phase, message) = message.unwrap_or_else(|| {
                let message = "the pull request was closed without being merged";
                (Phase::Rejected, message.to_owned())
            });
            draft.go(phase, message);
        }
        Outcome::Absent => match obstacle(draft.facts, &draft.status) {
            Some(Obstacle::End(phase, message)) => draft.go(phase, message),
            Some(Obstacle::Wait(message)) => draft.go(Phase::Gating, message),
            None => draft.action = Some(Action::Commit(intent)),
        },
        Outcome::Changed(message) | Outcome::Impossible(message) => {
            draft.go(Phase::Rejected, message);
        }
        Outcome::Refused(message) => {
            draft.attention("PushRefused", &message);
            draft.try_later(message);
        }
        Outcome::Away(message) => draft.try_later(message),
        Outcome::Answers { .. } | Outcome::Done => {}
    }
}

/// Notes a commit, once.
pub(super) fn record(
    draft: &mut Draft<'_>,
    kind: Intent,
    sha: &str,
    parent: Option<String>,
    pull_request: Option<String>,
) {
    if draft
        .status
        .commits
        .iter()
        .any(|known| known.kind == kind && known.sha == sha)
    {
        return;
    }
    draft.status.commits.push(CommitRecord {
        sha: sha.to_owned(),
        kind,
        parent,
        pull_request,
        time: draft.now,
    });
}

/// `1.2.3 → 1.2.4 in prod`.
fn described(draft: &Draft<'_>) -> String {
    format!(
        "{} → {} in {}",
        draft.status.from.as_deref().unwrap_or("nothing"),
        draft.to(),
        draft.facts.spec.stage
    )
}

pub(super) fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}
