//! The reconcilers: sources, Kustomizations, clusters and fan-out.
