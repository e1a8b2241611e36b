//! Fan-out: one Kustomization for each cluster that a FleetKustomization selects.

mod child;
pub mod template;

pub use child::child_name;
