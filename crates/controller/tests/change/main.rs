//! What promotions write: edits compared with what kustomize makes of them, and pushes against a real Git server that goes
//! wrong.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

mod audit;
mod edits;
mod hosts;
mod pushes;
mod rollback;
mod world;
