//! Before the commit: whose turn it is, and the gates in their order.

use fairway_types::check::{Check, Evidence, Kind, Verdict};
use fairway_types::promotion::{Phase, PromotionStatus};
use jiff::{SignedDuration, Timestamp};

use super::approval::{Tally, records, tally};
use super::record::{Draft, SOON};
use super::{Action, Facts, Order, Outcome, Place, Turn};

/// How soon a freeze is looked at again: its end is nothing that a watch tells of.
const FREEZE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn queued(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let Some(stage) = facts.stage else {
        let message = format!("the Pipeline has no stage '{}'", facts.spec.stage);
        return draft.go(Phase::Rejected, message);
    };
    if let Some(who) = &facts.cancelled {
        return draft.go(Phase::Rejected, format!("cancelled by {who}"));
    }
    match &facts.turn {
        Turn::Superseded { by } => draft.go(Phase::Superseded, format!("{by} takes its place")),
        Turn::Waits { behind } => draft.waits = Some(format!("waits for {behind} to end")),
        Turn::Mine | Turn::Preempted { .. } if draft.is_rollback() => {
            draft.status.from.clone_from(&facts.head.version);
            draft.status.base.clone_from(&facts.head.commit);
            draft.go(Phase::Committing, "rollbacks pass no gates");
        }
        Turn::Mine | Turn::Preempted { .. } if facts.automatic && facts.order == Order::First => {
            // What arrives in the first stage is committed already, by whoever does that.
            draft.status.from.clone_from(&facts.spec.from);
            draft.status.source_commit.clone_from(&facts.head.commit);
            let message = format!("{} arrived in {}", draft.to(), stage.name);
            draft.go(Phase::RollingOut, message);
        }
        Turn::Mine | Turn::Preempted { .. } => draft.go(Phase::Gating, ""),
    }
}

/// Why it must not be committed now, and what becomes of it then.
pub(super) enum Obstacle {
    /// It ends in this phase.
    End(Phase, String),
    /// It waits.
    Wait(String),
}

/// What stands against a commit, besides the gates.
pub(super) fn obstacle(facts: &Facts<'_>, status: &PromotionStatus) -> Option<Obstacle> {
    if let Some(who) = &facts.cancelled {
        return Some(Obstacle::End(
            Phase::Rejected,
            format!("cancelled by {who}"),
        ));
    }
    match &facts.turn {
        Turn::Mine | Turn::Waits { .. } => {}
        Turn::Superseded { by } => {
            let message = format!("{by} takes its place");
            return Some(Obstacle::End(Phase::Superseded, message));
        }
        Turn::Preempted { by } => {
            let message = format!("the rollback {by} was asked for");
            return Some(Obstacle::End(Phase::Superseded, message));
        }
    }
    if facts.spec.intent == fairway_types::promotion::Intent::Rollback {
        // Neither blocks nor freezes stop the way back.
        return None;
    }
    if let Some(why) = &facts.blocked {
        let message = format!(
            "{} is blocked: {why}\nhint: unblock it once that is understood",
            status.to.as_deref().unwrap_or_default()
        );
        return Some(Obstacle::End(Phase::Rejected, message));
    }
    match &facts.order {
        Order::Unverified { stage } => {
            let message = format!(
                "{} is not verified in {stage}\nhint: bring it there first",
                status.to.as_deref().unwrap_or_default()
            );
            return Some(Obstacle::End(Phase::Rejected, message));
        }
        Order::Verifying { stage } => {
            let message = format!(
                "{} is not verified in {stage} yet",
                status.to.as_deref().unwrap_or_default()
            );
            return Some(Obstacle::Wait(message));
        }
        Order::First | Order::Verified { .. } => {}
    }
    if let Some(problem) = &facts.head.problem {
        return Some(Obstacle::Wait(problem.clone()));
    }
    if facts.head.commit.is_none() {
        return Some(Obstacle::Wait("the source is not fetched yet".to_owned()));
    }
    if let Some(wanted) = &facts.spec.from {
        let found = facts.head.version.as_deref();
        if found != Some(wanted) && found != status.to.as_deref() {
            let message = format!(
                "{} has {}, and this was asked for from {wanted}",
                facts.spec.stage,
                found.unwrap_or("no version")
            );
            return Some(Obstacle::End(Phase::Rejected, message));
        }
    }
    if facts.pipeline.suspend {
        return Some(Obstacle::Wait("the Pipeline is suspended".to_owned()));
    }
    facts.frozen.clone().map(Obstacle::Wait)
}

pub(super) fn gating(draft: &mut Draft<'_>, outcome: Option<Outcome>) {
    let facts = draft.facts;
    let Some(stage) = facts.stage else {
        let message = format!("the Pipeline has no stage '{}' any more", facts.spec.stage);
        return draft.go(Phase::Rejected, message);
    };
    if let Order::Verified { commit } = &facts.order {
        draft.status.source_commit.clone_from(commit);
    }
    if draft.status.from.is_none() {
        draft.status.from.clone_from(&facts.head.version);
    }
    align(&mut draft.status.gates, &stage.gates, draft.now);
    let (fresh, again) = take_answers(draft, outcome, Place::Gate);
    if let Some(Obstacle::End(phase, message)) = obstacle(facts, &draft.status) {
        return draft.go(phase, message);
    }
    hear_people(draft, &stage.gates);
    revoke(draft);
    if let Some(failed) = draft
        .status
        .gates
        .iter()
        .find(|gate| gate.verdict == Verdict::Failed)
    {
        let message = format!("gate {}: {}", failed.name, failed.message);
        return draft.go(Phase::Rejected, message);
    }
    let asks = to_ask(&stage.gates, &draft.status.gates, &fresh);
    let waiting = draft
        .status
        .gates
        .iter()
        .find(|gate| !gate.passed())
        .map(|gate| match gate.message.as_str() {
            "" => format!("waits for gate {}", gate.name),
            message => format!("waits for gate {}: {message}", gate.name),
        });
    if !asks.is_empty() {
        draft.waits = waiting;
        draft.action = Some(Action::Ask(asks));
        return;
    }
    if let Some(again) = again {
        draft.wake_after(SignedDuration::try_from(again).unwrap_or(SOON));
    }
    if waiting.is_some() {
        draft.waits = waiting;
        return;
    }
    draft.calm();
    match obstacle(facts, &draft.status) {
        Some(Obstacle::Wait(message)) => {
            draft.waits = Some(message);
            draft.wake_after(FREEZE);
        }
        Some(Obstacle::End(phase, message)) => draft.go(phase, message),
        None => {
            let passed = stage.gates.len();
            // A second time through the gates may follow a commit whose answer was lost.
            if draft.status.base.is_none() {
                draft.status.base.clone_from(&facts.head.commit);
            }
            draft.go(
                Phase::Committing,
                match passed {
                    0 => String::new(),
                    _ => format!("{} passed", super::record::count(passed, "gate")),
                },
            );
        }
    }
}

/// Brings a list of evidence into the order of its checks; what is new is pending, what is no check any more is left out.
pub(super) fn align(evidence: &mut Vec<Evidence>, checks: &[Check], now: Timestamp) {
    let aligned = checks
        .iter()
        .map(|check| {
            let kind = check.kind().map_or("", |kind| kind.name());
            evidence
                .iter()
                .find(|known| known.name == check.name && known.kind == kind)
                .cloned()
                .unwrap_or_else(|| Evidence::begin(&check.name, kind, now))
        })
        .collect();
    *evidence = aligned;
}

/// Puts answers into a list. Says which checks have just answered, and when to ask again.
pub(super) fn take_answers(
    draft: &mut Draft<'_>,
    outcome: Option<Outcome>,
    place: Place,
) -> (Vec<String>, Option<std::time::Duration>) {
    let Some(Outcome::Answers { evidence, again }) = outcome else {
        return (Vec::new(), None);
    };
    let mut fresh = Vec::new();
    for (of, answer) in evidence {
        if of != place {
            continue;
        }
        fresh.push(answer.name.clone());
        let list = match place {
            Place::Gate => &mut draft.status.gates,
            Place::Verification => &mut draft.status.verification,
        };
        let Some(known) = list
            .iter_mut()
            .find(|known| known.name == answer.name && known.kind == answer.kind)
        else {
            continue;
        };
        if known.verdict == Verdict::Revoked {
            continue;
        }
        let was = known.verdict;
        *known = answer.clone();
        told_verdict(draft, place, was, &answer);
    }
    (fresh, again)
}

/// Tells of a verdict that is new.
fn told_verdict(draft: &mut Draft<'_>, place: Place, was: Verdict, now: &Evidence) {
    if was == now.verdict {
        return;
    }
    let (passed, failed) = match place {
        Place::Gate => ("GatePassed", "GateFailed"),
        Place::Verification => ("CheckPassed", "CheckFailed"),
    };
    let message = format!("{}: {}", now.name, now.message);
    match now.verdict {
        Verdict::Passed => {
            draft.audit(passed, None, &message, None);
            draft.tell(false, passed, message);
        }
        Verdict::Failed => {
            draft.audit(failed, None, &message, None);
            draft.tell(true, failed, message);
        }
        Verdict::Pending | Verdict::Revoked => {}
    }
}

/// Judges the gates that people decide.
fn hear_people(draft: &mut Draft<'_>, gates: &[Check]) {
    let requester = draft.facts.spec.requested_by.clone();
    let before = std::mem::take(&mut draft.status.approvals);
    draft.status.approvals = records(draft.facts.approvals, requester.as_deref());
    // By name: of two words of the same second, the newer one may stand before the older one.
    let is_new = |name: &str| before.iter().all(|known| known.name != name);
    let words = draft.status.approvals.iter();
    let new: Vec<_> = words.filter(|word| is_new(&word.name)).cloned().collect();
    for record in new {
        let event = match record.decision {
            fairway_types::approval::Decision::Approve => "Approved",
            fairway_types::approval::Decision::Reject => "RejectedBy",
        };
        let message = record.ignored.clone().unwrap_or_default();
        draft.audit(event, Some(&record.approver), &message, None);
        draft.tell(false, event, format!("by {}", record.approver));
    }
    for (index, gate) in gates.iter().enumerate() {
        let Ok(Kind::Approval(rule)) = gate.kind() else {
            continue;
        };
        let mut answer = draft.status.gates[index].clone();
        if answer.verdict == Verdict::Revoked {
            continue;
        }
        let was = answer.verdict;
        let (verdict, message) = if draft.facts.policy {
            match tally(rule, draft.facts.approvals, requester.as_deref()) {
                Tally::Approved(who) => (Verdict::Passed, who),
                Tally::Rejected(who) => (Verdict::Failed, format!("rejected by {who}")),
                Tally::Waiting(what) => (Verdict::Pending, what),
            }
        } else {
            let message = format!(
                "manual gates are refused: the ValidatingAdmissionPolicy {} or its binding is not on the hub, so nobody can tell who approves\nhint: fairway install",
                fairway_types::names::APPROVALS_POLICY
            );
            draft.attention("ApprovalPolicyMissing", &message);
            draft.wake_after(SignedDuration::from_secs(30));
            (Verdict::Pending, message)
        };
        if verdict != was || message != answer.message {
            answer.verdict = verdict;
            answer.message = message;
            answer.at = draft.now;
            draft.status.gates[index] = answer.clone();
            told_verdict(draft, Place::Gate, was, &answer);
        }
    }
}

/// Takes back the verdicts that somebody revoked, and lets gates be asked again whose revocation was taken away.
fn revoke(draft: &mut Draft<'_>) {
    let now = draft.now;
    let mut told = Vec::new();
    for gate in &mut draft.status.gates {
        let revoked = draft.facts.revoked.has(&gate.name);
        match gate.verdict {
            Verdict::Passed if revoked => {
                gate.verdict = Verdict::Revoked;
                gate.at = now;
                told.push(gate.name.clone());
            }
            Verdict::Revoked if !revoked => {
                *gate = Evidence::begin(&gate.name.clone(), &gate.kind.clone(), now);
            }
            _ => {}
        }
    }
    for name in told {
        draft.audit("GateRevoked", None, &name, None);
        draft.tell(
            true,
            "GateRevoked",
            format!("the verdict of gate {name} was taken back"),
        );
    }
}

/// Which gates to ask now: in their order, the next one only when those before it have passed; and windows, which close
/// again, once more each time.
fn to_ask(gates: &[Check], evidence: &[Evidence], fresh: &[String]) -> Vec<(Place, usize)> {
    let mut asks = Vec::new();
    for (index, (gate, known)) in gates.iter().zip(evidence).enumerate() {
        let is_fresh = fresh.contains(&known.name);
        match gate.kind() {
            Ok(Kind::Approval(_)) => {}
            Ok(Kind::Window(_)) if !is_fresh && known.verdict != Verdict::Revoked => {
                asks.push((Place::Gate, index));
            }
            _ if known.verdict == Verdict::Pending && !is_fresh => {
                asks.push((Place::Gate, index));
            }
            _ => {}
        }
        if !known.passed() {
            break;
        }
    }
    asks
}
