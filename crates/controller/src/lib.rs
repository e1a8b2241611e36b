//! The reconcilers: sources, Kustomizations, clusters and fan-out.

pub mod build;
pub mod events;
pub mod fleet;
pub mod kustomization;
pub mod objects;
pub mod queue;
