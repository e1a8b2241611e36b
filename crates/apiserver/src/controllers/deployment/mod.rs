//! Deployments: one ReplicaSet for each template, scaled up and down as the strategy allows.
//!
//! ```text
//! step ─▶ replica_sets (which is new, which are old; revisions; history)
//!      ─▶ rollout      (how many Pods each may have now)
//!      ─▶ status       (counts, Available, Progressing)
//! ```

mod replica_sets;
mod rollout;
mod status;

use std::sync::Arc;

use serde_json::Value;

use super::cache::Key;
use super::object::{is_deleting, number, share_of};
use super::plan::Plan;
use super::world::World;
use replica_sets::Sets;

/// Who tells about Deployments.
const SOURCE: &str = "deployment-controller";
/// Numbers the templates of a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// How many Pods may be there and may be missing during a rollout.
#[derive(Debug, Clone, Copy)]
struct Limits {
    desired: i64,
    surge: i64,
    unavailable: i64,
}

impl Limits {
    fn of(deployment: &Value) -> Self {
        let desired = number(&deployment["spec"]["replicas"], 1);
        if deployment["spec"]["strategy"]["type"] == "Recreate" {
            return Self {
                desired,
                surge: 0,
                unavailable: desired,
            };
        }
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        let quarter = |round_up| share_of(&"25%".into(), desired, round_up).unwrap_or_default();
        let surge = share_of(&rolling["maxSurge"], desired, true).unwrap_or_else(|| quarter(true));
        let mut unavailable =
            share_of(&rolling["maxUnavailable"], desired, false).unwrap_or_else(|| quarter(false));
        // With neither, nothing could ever move.
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self {
            desired,
            surge,
            unavailable: unavailable.min(desired),
        }
    }
}

/// Looks at one Deployment.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(deployment) = world.cache.get(key) else {
        return plan;
    };
    let limits = Limits::of(deployment);
    let paused = deployment["spec"]["paused"] == true;
    let sets = Sets::of(world.cache, deployment);
    if is_deleting(deployment) {
        status::update(world, deployment, &sets, limits, &mut plan);
        return plan;
    }
    if replica_sets::adopt(world.cache, deployment, &mut plan) {
        return plan;
    }
    if !paused && replica_sets::prepare_new(deployment, &sets, limits, &mut plan) {
        // The new set is not in the cache yet; its arrival leads back here.
        return plan;
    }
    let scaled = rollout::scale(deployment, &sets, limits, paused, &mut plan);
    if !scaled {
        replica_sets::forget_old(deployment, &sets, &mut plan);
    }
    status::update(world, deployment, &sets, limits, &mut plan);
    plan
}

/// `spec.replicas` of a ReplicaSet.
fn wished(set: &Value) -> i64 {
    number(&set["spec"]["replicas"], 1)
}

/// The sum of a number over ReplicaSets.
fn total<'a>(sets: impl IntoIterator<Item = &'a Arc<Value>>, count: impl Fn(&Value) -> i64) -> i64 {
    sets.into_iter().map(|set| count(set)).sum()
}

#[cfg(test)]
mod tests;
