//! What the controllers of a cluster do, simulated: garbage collection, namespaces, accounts, workloads.
//!
//! ```text
//!   store ──feed──▶ cache ──route──▶ queue ──▶ one step of one controller ──plan──▶ writer ──▶ store
//!                                      ▲                   │
//!                                      └──── agenda ◀──────┘  "look again at …"
//! ```
//!
//! Every controller is a pure function from what is in the [`cache`] and the time to a [`plan`]; [`driver`] is all
//! that acts. One task runs the controllers of a cluster, one step at a time, so the outcome does not depend on
//! timing; it sleeps until an object changes or the agenda has something due.

mod accounts;
mod aggregation;
mod autoscaler;
mod cache;
mod claim;
mod cron_job;
mod cron_schedule;
mod daemon_set;
mod deployment;
mod disruption;
mod driver;
mod events;
mod feed;
mod garbage;
mod ingress;
mod job;
mod namespace;
mod node;
mod object;
mod plan;
mod pod;
mod quantity;
mod queue;
mod quota;
mod replica_set;
mod resource;
mod revisions;
#[cfg(test)]
mod rig;
mod route;
mod selector;
mod service;
mod stateful_set;
mod world;

use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::auth::TokenIssuer;
use crate::writer::{Scope, Writer};
pub(crate) use pod::quality;
pub(crate) use quantity::Quantity;
pub(crate) use selector::matches as selector_matches;

/// What controllers work with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Name of the cluster.
    pub cluster: String,
    /// Reads and writes.
    pub writer: Writer,
    /// Signs ServiceAccount tokens.
    pub tokens: TokenIssuer,
    /// The certificate of the authority that signed the API server's, as PEM.
    pub authority: String,
    /// How long a Pod takes to become ready.
    pub rollout_delay: Duration,
}

/// Creates what every cluster has (Nodes, a StorageClass) and starts the controllers of one cluster; they end when
/// the set is dropped.
pub fn start(context: &Context) -> JoinSet<()> {
    for node in node::objects(&context.cluster, Timestamp::now()) {
        let name = object::name(&node).to_owned();
        let status = node["status"].clone();
        driver::ensure(context, &resource::NODES, node);
        // A real kubelet reports the status apart; so does this one, where creating drops it.
        let reported = context
            .writer
            .modify(&resource::NODES, "", &name, Scope::Status, |node| {
                if !node["status"]["conditions"].is_array() {
                    node["status"] = status;
                }
            });
        if let Err(error) = reported {
            tracing::error!(%error, cluster = context.cluster, "report the status of a simulated Node");
        }
    }
    driver::ensure(context, &resource::STORAGE_CLASSES, claim::storage_class());
    let mut tasks = JoinSet::new();
    tasks.spawn(driver::Driver::new(context.clone()).run());
    tasks
}
