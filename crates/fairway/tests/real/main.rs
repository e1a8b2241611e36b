//! Fairway against real Kubernetes and real Flux: `cargo xtask e2e` runs these, on the programs that
//! `cargo xtask envtest --flux` builds.
#![allow(clippy::unwrap_used, reason = "what fails in a test fails the test")]

#[allow(
    dead_code,
    reason = "shared with the suite that needs no real clusters"
)]
#[path = "../e2e/binary.rs"]
mod binary;
#[allow(
    dead_code,
    reason = "shared with the suite that needs no real clusters"
)]
#[path = "../e2e/cluster.rs"]
mod cluster;
mod snapshot;
mod world;

mod flux_cli;
mod handover;
mod least_privilege;
mod rollout;
