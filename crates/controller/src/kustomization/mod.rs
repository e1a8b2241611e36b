//! Kustomizations: build, apply, prune, watch.

pub mod cycle;
