//! What the controllers of a cluster do, simulated: garbage collection, namespaces, workloads.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::auth::TokenIssuer;
use crate::writer::Writer;

/// What controllers work with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Name of the cluster.
    pub cluster: String,
    /// Reads and writes.
    pub writer: Writer,
    /// Signs ServiceAccount tokens.
    pub tokens: TokenIssuer,
    /// How long a Pod takes to become ready.
    pub rollout_delay: Duration,
}

/// Starts the controllers of one cluster; they end when the set is dropped.
pub fn start(_context: &Context) -> JoinSet<()> {
    JoinSet::new()
}
mod selector;

pub(crate) use selector::matches as selector_matches;
