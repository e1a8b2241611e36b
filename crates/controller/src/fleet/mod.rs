//! Fan-out: one Kustomization for each cluster that a FleetKustomization selects.
//!
//! ```text
//!   clusterSelector ──▶ matching Clusters ──▶ template rendered for each ──▶ Kustomization <fleet>-<cluster>
//!                                                                                     │ Ready
//!   status of the fleet ◀──────────────────── summary ◀───────────────────────────────┘
//! ```

mod child;
pub mod plan;
mod reconcile;
pub mod summary;
pub mod template;

pub use child::child_name;
pub(crate) use reconcile::reconcile;
