//! What happens next to a Promotion, as a pure function of what is known: no clock, no request, no memory of its own.
//!
//! ```text
//!   Queued ─turn─▶ Gating ─gates, no freeze─▶ Committing ─commit─▶ RollingOut ─all healthy, soaked─▶ Verifying ─▶ Succeeded
//!                    │                           │ (pull request)     ▲    └───────health lost─────────┘ │
//!                    └──▶ Rejected, Superseded ◀─┘                    │                                  ▼ fails
//!                                                          Failed ◀───┴───── RollingBack: hold, commit, release ─▶ RolledBack
//! ```
//!
//! Who calls it writes the status before it does what is asked for, so that after a crash the same is asked for again; and
//! everything that is asked for may be done twice: a commit carries the Promotion's uid, and one that is there already is
//! recognised and not repeated. `Committing` therefore means "there may be a commit", and is left only by an answer of the
//! remote.

mod approval;
mod back;
mod commit;
mod facts;
mod gate;
#[cfg(test)]
mod model;
mod record;
mod spread;

pub use facts::{
    ClusterSeen, Facts, Head, How, Order, Outcome, Place, Revoked, Spread, Turn, Word,
};
use fairway_types::promotion::{Intent, Phase, PromotionStatus};
use jiff::Timestamp;
use record::Draft;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask these checks, each by its place in its list.
    Ask(Vec<(Place, usize)>),
    /// Make the commit that this intent needs, unless it is on the remote already.
    Commit(Intent),
    /// See whether the commit of this intent is on the remote.
    Look(Intent),
    /// See how the pull request is.
    Poll,
    /// Close the pull request.
    Close,
    /// Have the source fetched: the remote is ahead of what is known.
    Fetch,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    /// Whether it is bad news.
    pub bad: bool,
    /// In CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The status, to be written before anything is done.
    pub status: PromotionStatus,
    /// What to do then; its outcome goes into the next step.
    pub action: Option<Action>,
    /// When to look again though nothing is heard.
    pub wake_at: Option<Timestamp>,
    /// Whether the last try failed for a reason that may pass: look again with growing pauses.
    pub retry: bool,
    /// What people are told.
    pub tells: Vec<Tell>,
}

/// Decides. `outcome` is what the last action came to, if there was one since the status was written.
pub fn step(
    facts: &Facts<'_>,
    status: &PromotionStatus,
    outcome: Option<Outcome>,
    now: Timestamp,
) -> Step {
    let mut draft = Draft::new(facts, status.clone(), now);
    draft.begin();
    match draft.status.phase {
        Phase::Queued => gate::queued(&mut draft),
        Phase::Gating => gate::gating(&mut draft, outcome),
        Phase::Committing => commit::committing(&mut draft, outcome),
        Phase::RollingOut | Phase::Verifying => spread::spreading(&mut draft, outcome),
        Phase::RollingBack => back::rolling_back(&mut draft, outcome),
        Phase::Succeeded
        | Phase::Failed
        | Phase::RolledBack
        | Phase::Rejected
        | Phase::Superseded => {}
    }
    draft.finish()
}
