//! Pipelines: which version each stage has, what was verified, whose turn it is, and which Promotions are made by themselves.
//!
//! ```text
//!   head of the branch ──▶ versions ──▶ an arrival in the first stage ──▶ Promotion (a record, verified there)
//!   Promotion succeeded ──▶ verified ──▶ next stage, if auto ──▶ Promotion (gates, commit, verified there)
//!   Promotion failed ──▶ version blocked, until somebody unblocks it
//! ```
//!
//! A stage belongs to one Promotion at a time (`status.stages[].promotion`), until that has ended; the others wait. Rollbacks
//! that somebody asks for come first, and end what is under way. Of the Promotions that the engine makes, the newest takes
//! the place of those that still wait (`spec.queue: Newest`); one whose gates are being asked keeps its turn unless it waits
//! for people, a window or the end of a freeze, so that a stream of new versions can't starve the stage.

pub mod facts;
mod hear;
pub mod judge;
mod reconcile;
#[cfg(test)]
mod tests;

pub(crate) use reconcile::reconcile;
