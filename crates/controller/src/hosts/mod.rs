//! Git hosts by their API: GitHub (and what has its API), and GitLab.
//!
//! ```text
//!   repository URL ──▶ Place ──▶ API URL       Api: JSON over https with a token; limits, pages, words for errors
//!                        │                      │
//!                        └──────────────────────┴──▶ PullRequests: open (once), read, comment, close
//! ```
//!
//! A pull request belongs to the branch that it asks to merge, and a promotion's branch has a name that nothing else has; so
//! opening one again finds the first, whatever became of it. Tokens are in no error, log line or debug output.

mod api;
mod error;
mod place;
mod pulls;

pub use api::{Api, Reply, encoded};
pub use error::HostError;
pub use place::{NotHosted, Place};
pub use pulls::{Proposal, Pull, PullRequests, PullState, branch_name};
