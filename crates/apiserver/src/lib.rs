//! An embedded Kubernetes-compatible API server with simulated workloads.

pub mod auth;
pub mod authz;
pub mod controllers;
mod defaults;
pub mod resources;
pub mod status;
pub mod store;
pub mod writer;
