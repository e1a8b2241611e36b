//! What the judge of a Pipeline knows.

use fairway_types::pipeline::{Deviation, PipelineSpec, QueueRule};
use fairway_types::promotion::{Intent, Phase, PromotionSpec, PromotionStatus};
use jiff::Timestamp;

use crate::promotion::judge::{Revoked, Spread, Turn};

/// All that is known of a Pipeline at one moment.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is wanted.
    pub spec: &'a PipelineSpec,
    /// Generation of that.
    pub generation: Option<i64>,
    /// The annotation by which somebody unblocks versions.
    pub unblock: Option<&'a str>,
    /// The annotation by which somebody asks for a run.
    pub requested: Option<&'a str>,
    /// The stages, in the order of the spec.
    pub stages: Vec<StageSeen>,
    /// The Promotions of the Pipeline.
    pub promotions: Vec<Attempt<'a>>,
    /// Why nothing may be touched, if so.
    pub conflict: Option<String>,
}

/// What is known of a stage.
#[derive(Debug, Clone, Default)]
pub struct StageSeen {
    /// The version of the overlay at the head of the branch, or why it cannot be read. Nothing before the first fetch.
    pub version: Option<Result<Option<String>, String>>,
    /// The revision that was read.
    pub revision: Option<String>,
    /// Its clusters.
    pub spread: Spread,
    /// The freeze that holds.
    pub frozen: Option<String>,
    /// Clusters that have another version by a file of their own.
    pub deviations: Vec<Deviation>,
}

impl StageSeen {
    /// The version, where it can be read.
    pub fn version(&self) -> Option<&str> {
        match &self.version {
            Some(Ok(version)) => version.as_deref(),
            _ => None,
        }
    }
}

/// One Promotion.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was asked for.
    pub created: Timestamp,
    /// What was asked for.
    pub spec: &'a PromotionSpec,
    /// How it is.
    pub status: &'a PromotionStatus,
    /// What the engine made it for, if the engine made it: the arrival in the stage before, or in its own if that is the
    /// first.
    pub arrival: Option<&'a str>,
    /// Verdicts that were taken back.
    pub revoked: Revoked,
    /// Whether somebody deletes it.
    pub is_going: bool,
}

impl Attempt<'_> {
    /// Whether more is to happen.
    pub fn is_open(&self) -> bool {
        !self.status.phase.is_final() && !self.is_going
    }

    /// The order in which they were asked for. Times are in seconds; the engine's own names count on.
    fn order(&self) -> (Timestamp, usize, &str) {
        (self.created, self.name.len(), self.name)
    }

    fn is_rollback(&self) -> bool {
        self.spec.intent == Intent::Rollback
    }

    /// Whether it waits for what no time brings: people, a window, the end of a freeze.
    fn waits_outside(&self) -> bool {
        if self.status.phase != Phase::Gating || !self.status.approvals.is_empty() {
            return false;
        }
        match self.status.gates.iter().find(|gate| !gate.passed()) {
            Some(gate) => matches!(gate.kind.as_str(), "approval" | "window"),
            None => true,
        }
    }
}

/// Whether a Promotion may go on, from who has the stage and who else wants it.
pub fn turn(me: &Attempt<'_>, holder: Option<&str>, all: &[Attempt<'_>], rule: QueueRule) -> Turn {
    let others = || {
        all.iter()
            .filter(|other| other.name != me.name && other.spec.stage == me.spec.stage)
            .filter(|other| other.is_open())
    };
    let newest = || {
        others()
            .filter(|other| other.arrival.is_some() && other.order() > me.order())
            .max_by(|a, b| a.order().cmp(&b.order()))
            .filter(|_| me.arrival.is_some() && rule == QueueRule::Newest)
    };
    let superseded = |by: &Attempt<'_>| Turn::Superseded {
        by: by.name.to_owned(),
    };
    if holder == Some(me.name) {
        if let Some(rollback) = others().find(|other| other.is_rollback() && !me.is_rollback()) {
            return Turn::Preempted {
                by: rollback.name.to_owned(),
            };
        }
        return match newest().filter(|_| me.waits_outside()) {
            Some(newer) => superseded(newer),
            None => Turn::Mine,
        };
    }
    match newest() {
        Some(newer) if me.status.phase == Phase::Queued => superseded(newer),
        _ => Turn::Waits {
            behind: holder.unwrap_or("its turn").to_owned(),
        },
    }
}

/// Who has the stage next, and who waits behind: rollbacks first, then in the order in which they were asked for.
pub fn queue<'a>(
    stage: &str,
    holder: Option<&str>,
    all: &'a [Attempt<'_>],
) -> (Option<&'a str>, Vec<String>) {
    let mut open: Vec<&Attempt<'_>> = all
        .iter()
        .filter(|attempt| attempt.spec.stage == stage && attempt.is_open())
        .collect();
    open.sort_by(|a, b| (!a.is_rollback(), a.order()).cmp(&(!b.is_rollback(), b.order())));
    // Who has begun has the stage, whatever the Pipeline's status says: it may have been lost.
    let has_begun = |attempt: &&&Attempt<'_>| attempt.status.phase != Phase::Queued;
    let holds = open
        .iter()
        .find(|attempt| Some(attempt.name) == holder)
        .or_else(|| open.iter().find(has_begun))
        .or_else(|| open.first())
        .map(|attempt| attempt.name);
    let waits = open
        .iter()
        .filter(|attempt| Some(attempt.name) != holds)
        .map(|attempt| attempt.name.to_owned())
        .collect();
    (holds, waits)
}
