//! Promotions: one attempt each to bring a version to a stage, or to take it back.
//!
//! ```text
//!   Pipeline, head of the branch, children, checks, approvals ──▶ facts ──▶ judge (pure) ──▶ status, written first
//!                                                                   ▲                           │
//!                                                                   └──────── outcome ◀── act ◀─┘ commit, ask, fetch
//! ```
//!
//! The judge decides, the reconciler reads, writes and acts. A promotion never touches a cluster: what it holds stands in
//! its status (`hold`), and the fleet reconciler pins the children. It never reaches into a rollout either: it reads
//! `status.rollout` of the FleetKustomizations that carry its stage.

mod act;
mod attempt;
mod audit;
pub mod judge;
mod observe;
mod pulls;
mod reconcile;
mod request;
mod versions;
mod who;

pub(crate) use act::writable;
pub(crate) use attempt::{attempt_of, attempts_of};
pub(crate) use audit::push as push_audit;
pub(crate) use observe::{Filter, Sight, pipeline_source};
pub(crate) use reconcile::{label, reconcile};
pub(crate) use versions::Versions;
pub(crate) use who::Whoami;
