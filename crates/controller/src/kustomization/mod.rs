//! Kustomizations: build, apply, prune, watch.
//!
//! ```text
//!   source revision ─▶ build (cached) ─▶ same digest as applied? ── yes ─▶ one status patch
//!                                              │ no
//!   dependencies ready? ─▶ status: inventory = old ∪ new ─▶ apply in stages ─▶ prune ─▶ health ─▶ status: inventory = new
//! ```
//!
//! The process may be killed between any two of these steps. Before anything is created the status names it, so that
//! nothing that was applied is ever forgotten; what the old inventory names stays in it until it has been pruned. Naming
//! too much is harmless: only what carries the owner's labels is ever deleted.

mod apply;
mod attempt;
pub mod cycle;
pub mod depends;
mod failure;
mod finalize;
mod health;
mod inputs;
pub(crate) mod memory;
pub mod progress;
mod reconcile;
mod variables;

pub use memory::Memory;
pub(crate) use reconcile::reconcile;
pub(crate) use variables::resolve as finish;

/// Annotation (`"true"`) on a Kustomization that is being deleted: its cluster is gone for good. Where the cluster cannot be
/// reached, the objects are left there, named in an event, and the Kustomization goes. Where it answers after all, they are
/// deleted as ever.
pub const ABANDON: &str = "fleet.fairway.dev/abandon";

/// Annotation on a Kustomization: an empty build may delete everything that was applied before.
pub const ALLOW_EMPTY: &str = "fleet.fairway.dev/allow-empty";
