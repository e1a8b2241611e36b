//! What has happened to a Promotion between two looks at it, in lines for people.

use fairway_types::approval::Decision;
use fairway_types::check::{Evidence, Verdict};
use fairway_types::promotion::{Intent, PromotionStatus};
use fairway_types::{ConditionStatus, names};

use crate::output::cut;

/// How much of a message a line shows.
const MESSAGE: usize = 300;

/// One line for each thing that is new in `after`.
pub(super) fn news(before: &PromotionStatus, after: &PromotionStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let known = before.transitions.len().min(after.transitions.len());
    for transition in &after.transitions[known..] {
        lines.push(said(
            transition.phase.as_str(),
            transition.message.as_deref().unwrap_or_default(),
        ));
    }
    checks("gate", &before.gates, &after.gates, &mut lines);
    for approval in &after.approvals {
        let old = before
            .approvals
            .iter()
            .find(|old| old.name == approval.name);
        if old.is_some_and(|old| old.ignored == approval.ignored) {
            continue;
        }
        let what = match approval.decision {
            Decision::Approve => "approves",
            Decision::Reject => "rejects",
        };
        lines.push(match &approval.ignored {
            Some(why) => said(
                &format!("  {} {what}, which does not count", approval.approver),
                why,
            ),
            None => format!("  {} {what}", approval.approver),
        });
    }
    for commit in after.commits.iter().skip(before.commits.len()) {
        let what = match commit.kind {
            Intent::Promote => "commit",
            Intent::Rollback => "commit that takes it back",
        };
        lines.push(format!("  {what}: {}", short(&commit.sha)));
    }
    if let Some(request) = &after.pull_request
        && before.pull_request.as_ref() != Some(request)
    {
        lines.push(format!(
            "  pull request waits to be merged: {}",
            request.url
        ));
    }
    for wave in &after.waves {
        let same = |old: &&fairway_types::promotion::WaveProgress| {
            (&old.fleet, &old.name) == (&wave.fleet, &wave.name)
        };
        if before.waves.iter().find(same).map(|old| &old.state) != Some(&wave.state) {
            lines.push(format!(
                "  wave {} of {} ({}): {}",
                wave.name,
                wave.fleet,
                clusters(wave.clusters),
                wave.state
            ));
        }
    }
    if let Some(progress) = &after.progress {
        let old = before.progress.as_ref();
        if old.map(|old| (old.healthy, old.clusters)) != Some((progress.healthy, progress.clusters))
        {
            lines.push(format!(
                "  {} of {} healthy with it",
                progress.healthy,
                clusters(progress.clusters)
            ));
        }
        for trouble in &progress.waiting {
            // Who has not begun yet, by what it has, is no trouble.
            let waits = trouble.message.starts_with("at ");
            if !waits && !old.is_some_and(|old| old.waiting.contains(trouble)) {
                lines.push(said(&format!("  {}", trouble.cluster), &trouble.message));
            }
        }
    }
    checks(
        "check",
        &before.verification,
        &after.verification,
        &mut lines,
    );
    if let Some(failure) = &after.failure
        && before.failure.as_ref() != Some(failure)
    {
        lines.push(said("✗ failed", failure));
    }
    match (&before.hold, &after.hold) {
        (None, Some(hold)) => lines.push(said(
            &format!(
                "  held at {}, the last good commit: {}",
                short(&hold.commit),
                hold.clusters.join(", ")
            ),
            &hold.reason,
        )),
        (Some(_), None) => lines.push("  nothing is held any more".to_owned()),
        _ => {}
    }
    if let Some(millis) = after.recovery_millis
        && before.recovery_millis.is_none()
    {
        lines.push(format!(
            "  healthy again {} after the first sign",
            time(millis)
        ));
    }
    if let Some(message) = attention(after)
        && attention(before).as_ref() != Some(&message)
    {
        lines.push(said("! a person is needed", &message));
    }
    lines
}

fn checks(what: &str, before: &[Evidence], after: &[Evidence], lines: &mut Vec<String>) {
    for evidence in after {
        let old = before.iter().find(|old| old.name == evidence.name);
        let is_new = old.is_none_or(|old| old.verdict != evidence.verdict)
            // Each word of a person is news, though the gate still waits for others.
            || (evidence.kind == "approval"
                && old.is_some_and(|old| old.message != evidence.message));
        let says_nothing = evidence.verdict == Verdict::Pending && evidence.message.is_empty();
        if is_new && !says_nothing {
            lines.push(said(
                &format!(
                    "  {} {what} {}: {}",
                    glyph(evidence.verdict),
                    evidence.name,
                    evidence.verdict
                ),
                &evidence.message,
            ));
        }
    }
}

/// Why a person is needed, where one is.
pub(crate) fn attention(status: &PromotionStatus) -> Option<String> {
    status
        .conditions
        .iter()
        .find(|condition| {
            condition.type_ == names::NEEDS_ATTENTION && condition.status == ConditionStatus::True
        })
        .map(|condition| condition.message.clone())
}

/// One character for a verdict.
pub(crate) fn glyph(verdict: Verdict) -> char {
    match verdict {
        Verdict::Pending => '·',
        Verdict::Passed => '✔',
        Verdict::Failed => '✗',
        Verdict::Revoked => '↶',
    }
}

/// `3 clusters`.
fn clusters(count: i32) -> String {
    format!("{count} cluster{}", if count == 1 { "" } else { "s" })
}

/// Milliseconds as seconds for people.
pub(crate) fn time(millis: i64) -> String {
    crate::output::seconds(std::time::Duration::from_millis(
        u64::try_from(millis).unwrap_or_default(),
    ))
}

/// The first eight digits of a commit.
pub(crate) fn short(commit: &str) -> String {
    commit.chars().take(8).collect()
}

fn said(what: &str, message: &str) -> String {
    let message = message.trim();
    if message.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {}", cut(message, MESSAGE))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(value: Value) -> PromotionStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn each_step_is_told_once() {
        let at = "2026-01-01T00:00:00Z";
        let first = status(json!({
            "phase": "Gating",
            "transitions": [{"phase": "Queued", "at": at}, {"phase": "Gating", "at": at}],
            "gates": [{"name": "sign-off", "kind": "approval", "message": "0 of 1 approvals"}],
        }));
        let second = status(json!({
            "phase": "RollingOut",
            "transitions": [
                {"phase": "Queued", "at": at}, {"phase": "Gating", "at": at},
                {"phase": "RollingOut", "at": at, "message": "commit 0123456789 is on main"},
            ],
            "gates": [{"name": "sign-off", "kind": "approval", "verdict": "Passed", "message": "1 of 1 approvals: ann"}],
            "approvals": [{"name": "a", "approver": "ann", "decision": "approve", "at": at}],
            "commits": [{"sha": "0123456789abcdef", "kind": "promote", "time": at}],
            "progress": {"clusters": 3, "healthy": 0},
            "waves": [{"fleet": "apps", "name": "canary", "clusters": 1, "state": "Progressing: 1"}],
        }));
        assert_eq!(
            news(&PromotionStatus::default(), &first),
            [
                "Queued",
                "Gating",
                "  · gate sign-off: Pending: 0 of 1 approvals"
            ]
        );
        assert_eq!(
            news(&first, &second),
            [
                "RollingOut: commit 0123456789 is on main",
                "  ✔ gate sign-off: Passed: 1 of 1 approvals: ann",
                "  ann approves",
                "  commit: 01234567",
                "  wave canary of apps (1 cluster): Progressing: 1",
                "  0 of 3 clusters healthy with it",
            ]
        );
        assert_eq!(news(&second, &second), Vec::<String>::new());
    }

    #[test]
    fn a_failure_its_hold_and_its_recovery_are_told() {
        let at = "2026-01-01T00:00:00Z";
        let failed = status(json!({
            "failure": "canary: Deployment/myapp/myapp is not ready",
            "hold": {"commit": "fedcba9876543210", "fleets": ["apps"], "clusters": ["eu"], "since": at, "reason": "failed"},
            "conditions": [{"type": "NeedsAttention", "status": "True", "reason": "R", "message": "somebody changed it since", "lastTransitionTime": at}],
        }));
        let healed = status(json!({
            "failure": "canary: Deployment/myapp/myapp is not ready", "recoveryMillis": 4200,
            "approvals": [{"name": "a", "approver": "bob", "decision": "approve", "at": at, "ignored": "who asks cannot approve"}],
        }));
        assert_eq!(
            news(&PromotionStatus::default(), &failed),
            [
                "✗ failed: canary: Deployment/myapp/myapp is not ready",
                "  held at fedcba98, the last good commit: eu: failed",
                "! a person is needed: somebody changed it since",
            ]
        );
        assert_eq!(
            news(&failed, &healed),
            [
                "  bob approves, which does not count: who asks cannot approve",
                "  nothing is held any more",
                "  healthy again 4.2 s after the first sign",
            ]
        );
    }
}
