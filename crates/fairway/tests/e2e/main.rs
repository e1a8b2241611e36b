//! The binary from outside, end to end: commits go in, clusters follow. Every test has a home, a temporary folder and ports of
//! its own, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod binary;
mod bootstrap;
mod cluster;
mod demo;
mod random;
mod small;

mod bad_input;
mod cli;
mod fleet;
mod flux_commands;
mod installation;
mod one_cluster_alone;
mod own_repository;
mod promises;
mod promotion;
mod quick_start;
mod real;
mod sudden_death;
mod try_steps;
