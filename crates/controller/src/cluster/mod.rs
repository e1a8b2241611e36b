//! Clusters: connections to them, whether they answer, what is seen on them, and running them as if Flux were in them.
//!
//! ```text
//!   Cluster ──kubeconfig Secret──▶ Connections ──▶ Target ─┬─ reachable? one probe for all
//!                                                          ├─ Observer ──▶ drift, health ──▶ Kustomizations
//!                                                          └─ residents: a second owner is refused
//!   Cluster.spec.sync ──▶ Home: the cluster's own GitRepositories and Kustomizations are reconciled too
//! ```

mod connections;
mod owners;
mod reconcile;
pub mod residents;
mod sync;
mod target;
mod watch;
mod workload;

pub use connections::{ConnectError, Connections};
pub(crate) use reconcile::reconcile;
pub(crate) use sync::supersede;
pub use target::Target;
pub(crate) use watch::listen;
