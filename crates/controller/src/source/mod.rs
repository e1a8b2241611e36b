//! Sources: fetch what is ours, read what is somebody else's, publish the revision, tell who depends on it.
//!
//! ```text
//!   GitRepository ──▶ credential ──▶ Mirror (one per URL and credential) ──▶ verify ──▶ compose ──┬──▶ Sources ──▶ dependents
//!                     (access)                            (fetch)                     (content)   └──▶ artifact, status, events
//!   of somebody else, ──▶ status.artifact ──▶ fetch, check the digest ──▶ Sources
//!   or another kind       (external)
//! ```

mod access;
mod content;
pub mod credentials;
pub mod external;
mod github_app;
mod include;
mod judge;
mod reconcile;
pub mod registry;
mod verify;

pub(crate) use access::{mirror_of, read as read_secret};
pub use github_app::Apps;
pub(crate) use include::enqueue_includers;
pub(crate) use judge::NOT_RUN;
pub(crate) use reconcile::{reconcile, sweep_mirrors};
pub use registry::{Source, Sources};
