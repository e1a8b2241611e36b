//! Whole journeys: commits go in, clusters follow. Embedded API servers, a real Git server, real HTTPS.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

mod beside;
mod contract;
mod economy;
mod faults;
mod fleet;
mod one_cluster;
mod promotion;
mod rollout;
mod sources;
mod world;
