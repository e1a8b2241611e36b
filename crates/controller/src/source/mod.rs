//! GitRepositories: fetch, publish the revision, tell who depends on it.
//!
//! ```text
//!   GitRepository ──▶ credential ──▶ Mirror (one per URL and credential) ──fetch──▶ Sources ──▶ dependents
//!                                                                                     │
//!                                                                                     └──▶ status, events
//! ```

pub mod credentials;
mod reconcile;
pub mod registry;

pub(crate) use reconcile::{NOT_RUN, reconcile};
pub use registry::{Source, Sources};
