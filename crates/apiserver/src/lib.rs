//! An embedded Kubernetes-compatible API server with simulated workloads.
