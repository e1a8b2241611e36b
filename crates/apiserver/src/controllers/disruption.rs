//! PodDisruptionBudgets: how many Pods could be missed now.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::{Cache, Key};
use super::object::{
    condition, condition_holds, controller_of, generation, is_deleting, labels, number, share_of,
    stamp,
};
use super::plan::Plan;
use super::replica_set::is_active;
use super::resource::{DISRUPTION_BUDGETS, PODS};
use super::selector_matches;
use super::world::World;

/// Looks at one budget.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(budget) = world.cache.get(key).filter(|budget| !is_deleting(budget)) else {
        return plan;
    };
    let pods: Vec<&Arc<Value>> = world
        .cache
        .list(&PODS, &key.namespace)
        .filter(|pod| is_active(pod) && selector_matches(&budget["spec"]["selector"], labels(pod)))
        .collect();
    let present = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let healthy = pods
        .iter()
        .filter(|pod| condition_holds(pod, "Ready"))
        .count();
    let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
    let spec = &budget["spec"];
    let (expected, desired) = if spec["maxUnavailable"].is_null() {
        match spec["minAvailable"].as_i64() {
            Some(minimum) => (present, minimum),
            None => {
                let expected = expected(world.cache, &pods);
                (
                    expected,
                    share_of(&spec["minAvailable"], expected, true).unwrap_or_default(),
                )
            }
        }
    } else {
        let expected = expected(world.cache, &pods);
        let unavailable = share_of(&spec["maxUnavailable"], expected, true).unwrap_or_default();
        (expected, (expected - unavailable).max(0))
    };
    let allowed = if expected > 0 {
        (healthy - desired).max(0)
    } else {
        0
    };
    let (state, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let since = condition(budget, "DisruptionAllowed")
        .filter(|known| known["status"] == state)
        .map_or_else(
            || stamp(world.now),
            |known| known["lastTransitionTime"].clone(),
        );
    let status = json!({
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": generation(budget),
        "conditions": [{
            "type": "DisruptionAllowed", "status": state, "reason": reason, "message": "",
            "observedGeneration": generation(budget), "lastTransitionTime": since,
        }],
    });
    plan.status(&DISRUPTION_BUDGETS, budget, status);
    plan
}

/// How many Pods there are to be: the wished scale of whatever manages those that there are.
fn expected(cache: &Cache, pods: &[&Arc<Value>]) -> i64 {
    let mut owners: Vec<&str> = pods
        .iter()
        .filter_map(|pod| controller_of(pod))
        .filter_map(|owner| owner["uid"].as_str())
        .collect();
    owners.sort_unstable();
    owners.dedup();
    owners
        .into_iter()
        .filter_map(|uid| cache.get(cache.by_uid(uid)?))
        .map(|owner| number(&owner["spec"]["replicas"], 1))
        .sum()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::resource::DEPLOYMENTS;
    use crate::controllers::rig::Rig;

    #[test]
    fn a_budget_counts_what_may_be_missed() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let budget = |name: &str, field: &str, value: Value| {
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": {"app": "web"}}, field: value},
            })
        };
        let minimum = rig.create(&DISRUPTION_BUDGETS, budget("a", "minAvailable", json!(2)));
        let maximum = rig.create(
            &DISRUPTION_BUDGETS,
            budget("b", "maxUnavailable", json!("50%")),
        );
        rig.create(
            &DEPLOYMENTS,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {
                    "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "w:1"}]}},
                },
            }),
        );
        rig.run();
        assert_eq!(rig.get(&minimum)["status"]["disruptionsAllowed"], 1);
        assert_eq!(rig.get(&maximum)["status"]["disruptionsAllowed"], 2);
        assert_eq!(rig.get(&maximum)["status"]["expectedPods"], 3);
    }
}
