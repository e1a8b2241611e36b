//! GitRepositories: fetch, publish the revision, tell who depends on it.
//!
//! ```text
//!   GitRepository ──▶ credential ──▶ Mirror (one per URL and credential) ──fetch──▶ Sources ──▶ dependents
//!                                                                                     │
//!                                                                                     └──▶ status, events
//! ```

pub mod credentials;
mod judge;
mod reconcile;
pub mod registry;

pub(crate) use judge::NOT_RUN;
pub(crate) use reconcile::reconcile;
pub use registry::{Source, Sources};
