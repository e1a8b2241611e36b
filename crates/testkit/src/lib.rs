//! The world around Fairway, for its tests: a Git server with people who push to it, Kubernetes
//! control planes, `kubectl`, and processes that can be killed at any moment.
//!
//! ```text
//!   GitServer ── WorkClone (a person's clone: write, commit, push)
//!   Fleet ── embedded API servers: a hub and simulated clusters, with faults on demand
//!   real ── kube-apiserver, its controllers, Flux's programs from KUBEBUILDER_ASSETS
//!   Kubectl ── the real kubectl with a home and a kubeconfig of its own
//!   Process ── the binary under test: signals, SIGKILL, output
//! ```
//!
//! Everything listens on loopback, writes into temporary folders, and goes away when dropped. For
//! development only: nothing that is shipped depends on this crate.
//!
//! ```
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! use fairway_testkit::GitServer;
//!
//! let server = GitServer::start("fleet").await?;
//! let clone = server.clone_to_work().await?;
//! clone.write("apps/a.yaml", "a: 1\n")?;
//! let commit = clone.commit_and_push("Add a").await?;
//! assert_eq!(server.repository().resolve("refs/heads/main")?, Some(commit));
//! # Ok(()) }
//! ```

mod fleet;
mod git;
mod kubectl;
mod process;
pub mod real;
mod tool;

pub use fleet::Fleet;
pub use git::{GitServer, WorkClone};
pub use kubectl::{Kubectl, Output};
pub use process::Process;
