//! Writing into a status: transitions, conditions, audit entries, and what people are told.

use fairway_types::ConditionStatus;
use fairway_types::conditions;
use fairway_types::names;
use fairway_types::promotion::{AuditRecord, Intent, Phase, PromotionStatus, Transition};
use jiff::{SignedDuration, Timestamp};

use super::{Action, Facts, Step, Tell};

/// The most transitions that are kept: a version that flaps for days must not grow its status.
const TRANSITIONS: usize = 64;
/// How soon something is looked at again that no watch tells of.
pub(super) const SOON: SignedDuration = SignedDuration::from_secs(2);

/// A status that is being decided on.
pub(super) struct Draft<'f> {
    pub facts: &'f Facts<'f>,
    pub status: PromotionStatus,
    pub now: Timestamp,
    pub action: Option<Action>,
    pub retry: bool,
    /// Why it waits, for people.
    pub waits: Option<String>,
    wake_at: Option<Timestamp>,
    tells: Vec<Tell>,
}

impl<'f> Draft<'f> {
    pub(super) fn new(facts: &'f Facts<'f>, status: PromotionStatus, now: Timestamp) -> Self {
        Self {
            facts,
            status,
            now,
            action: None,
            retry: false,
            waits: None,
            wake_at: None,
            tells: Vec::new(),
        }
    }

    /// Notes the request itself, once.
    pub(super) fn begin(&mut self) {
        if !self.status.transitions.is_empty() {
            return;
        }
        let spec = self.facts.spec;
        self.status.transitions.push(Transition {
            phase: Phase::Queued,
            at: self.now,
            message: None,
        });
        let what = match (&spec.version, &spec.rollback) {
            (Some(version), _) => format!("{version} to {}", spec.stage),
            (None, Some(rollback)) => {
                let (how, target) = if let Some(to) = &rollback.to {
                    ("to", to.as_str())
                } else if let Some(commit) = &rollback.revert {
                    ("revert of", commit.as_str())
                } else {
                    (
                        "restore of",
                        rollback.restore.as_deref().unwrap_or_default(),
                    )
                };
                format!("rollback of {}: {how} {target}", spec.stage)
            }
            (None, None) => format!("nothing to {}", spec.stage),
        };
        let what = match &spec.reason {
            Some(reason) => format!("{what} ({reason})"),
            None => what,
        };
        self.status.to.clone_from(&spec.version);
        if let Some(to) = spec
            .rollback
            .as_ref()
            .and_then(|rollback| rollback.to.clone())
        {
            self.status.to = Some(to);
        }
        self.audit("Requested", spec.requested_by.as_deref(), &what, None);
        self.tell(false, "Requested", what);
    }

    /// Begins a phase.
    pub(super) fn go(&mut self, phase: Phase, message: impl Into<String>) {
        let message = message.into();
        self.status.phase = phase;
        self.status.transitions.push(Transition {
            phase,
            at: self.now,
            message: Some(message.clone()).filter(|message| !message.is_empty()),
        });
        if self.status.transitions.len() > TRANSITIONS {
            self.status.transitions.remove(1);
        }
        let bad = matches!(phase, Phase::Failed | Phase::Rejected | Phase::RollingBack);
        // Going back and forth between spreading and verifying is not for the log of who did what.
        if !matches!(phase, Phase::Verifying | Phase::Gating | Phase::Committing)
            && !(phase == Phase::RollingOut)
        {
            self.audit(phase.as_str(), None, &message, None);
        }
        if phase.is_final() {
            conditions::remove(&mut self.status.conditions, names::NEEDS_ATTENTION);
        }
        self.waits = None;
        self.tell(bad, phase.as_str(), message);
        self.wake(self.now);
    }

    /// Writes an entry of the audit log.
    pub(super) fn audit(
        &mut self,
        event: &str,
        actor: Option<&str>,
        message: &str,
        commit: Option<&str>,
    ) {
        self.status.audit_count += 1;
        self.status.audit.push(AuditRecord {
            number: self.status.audit_count,
            time: self.now,
            event: event.to_owned(),
            actor: actor.map(str::to_owned),
            message: Some(message.to_owned()).filter(|message| !message.is_empty()),
            commit: commit.map(str::to_owned),
        });
    }

    /// Tells people.
    pub(super) fn tell(&mut self, bad: bool, reason: &'static str, message: impl Into<String>) {
        let message = message.into();
        self.tells.push(Tell {
            bad,
            reason,
            message,
        });
    }

    /// Asks for a person, once for each reason.
    pub(super) fn attention(&mut self, reason: &'static str, message: &str) {
        let known = conditions::get(&self.status.conditions, names::NEEDS_ATTENTION)
            .is_some_and(|known| known.reason == reason);
        conditions::set(
            &mut self.status.conditions,
            names::NEEDS_ATTENTION,
            ConditionStatus::True,
            reason,
            message,
            self.facts.generation,
            self.now,
        );
        if !known {
            self.audit(reason, None, message, None);
            self.tell(true, reason, message);
        }
    }

    /// Needs nobody any more.
    pub(super) fn calm(&mut self) {
        conditions::remove(&mut self.status.conditions, names::NEEDS_ATTENTION);
    }

    /// Looks again at this time at the latest.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }

    /// Looks again after this time at the latest.
    pub(super) fn wake_after(&mut self, after: SignedDuration) {
        self.wake(self.now.saturating_add(after).unwrap_or(Timestamp::MAX));
    }

    /// Waits for something that may work later.
    pub(super) fn try_later(&mut self, why: impl Into<String>) {
        self.waits = Some(why.into());
        self.retry = true;
    }

    pub(super) fn to(&self) -> &str {
        self.status.to.as_deref().unwrap_or_default()
    }

    pub(super) fn is_rollback(&self) -> bool {
        self.facts.spec.intent == Intent::Rollback
    }

    pub(super) fn finish(mut self) -> Step {
        let phase = self.status.phase;
        let (is, reason) = match phase {
            Phase::Succeeded => (ConditionStatus::True, "Succeeded"),
            phase if phase.is_final() => (ConditionStatus::False, phase.as_str()),
            phase => (ConditionStatus::Unknown, phase.as_str()),
        };
        let last = self
            .status
            .transitions
            .last()
            .and_then(|transition| transition.message.clone());
        let message = self.waits.take().or(last).unwrap_or_default();
        conditions::set(
            &mut self.status.conditions,
            names::READY,
            is,
            reason,
            &message,
            self.facts.generation,
            self.now,
        );
        match &self.status.hold {
            Some(hold) => {
                let message = format!(
                    "{} of {} held at {}: {}",
                    count(hold.clusters.len(), "cluster"),
                    hold.fleets.join(", "),
                    hold.commit.get(..12).unwrap_or(&hold.commit),
                    hold.reason
                );
                conditions::set(
                    &mut self.status.conditions,
                    names::HELD,
                    ConditionStatus::True,
                    "Held",
                    &message,
                    self.facts.generation,
                    self.now,
                );
            }
            None => {
                conditions::remove(&mut self.status.conditions, names::HELD);
            }
        }
        conditions::ready_first(&mut self.status.conditions);
        self.status.observed_generation = self.facts.generation;
        Step {
            status: self.status,
            action: self.action,
            wake_at: self.wake_at,
            retry: self.retry,
            tells: self.tells,
        }
    }
}

/// `1 cluster`, `2 clusters`.
pub(super) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
