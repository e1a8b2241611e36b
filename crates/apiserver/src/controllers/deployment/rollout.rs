//! How many Pods each ReplicaSet may have at this moment of a rollout.

use std::sync::Arc;

use serde_json::{Value, json};

use super::replica_sets::{Sets, set_replica_annotations};
use super::{Limits, SOURCE, total, wished};
use crate::controllers::object::{name, number};
use crate::controllers::plan::Plan;
use crate::controllers::resource::REPLICA_SETS;

fn available(set: &Value) -> i64 {
    number(&set["status"]["availableReplicas"], 0)
}

fn running(set: &Value) -> i64 {
    number(&set["status"]["replicas"], 0)
}

/// Changes the scale of the sets by one move. Returns whether any changed.
pub(super) fn scale(
    deployment: &Value,
    sets: &Sets,
    limits: Limits,
    paused: bool,
    plan: &mut Plan,
) -> bool {
    let before = plan.writes.len();
    let recreate = deployment["spec"]["strategy"]["type"] == "Recreate";
    if paused || (sets.new.is_none() && !sets.old.is_empty()) {
        scale_active(deployment, sets, limits, plan);
    } else if recreate {
        for set in &sets.old {
            set_scale(deployment, set, 0, limits, plan);
        }
        if let Some(new) = &sets.new
            && total(&sets.old, wished) == 0
            && total(&sets.old, running) == 0
        {
            set_scale(deployment, new, limits.desired, limits, plan);
        }
    } else {
        grow_new(deployment, sets, limits, plan);
        if plan.writes.len() == before {
            shrink_old(deployment, sets, limits, plan);
        }
    }
    plan.writes.len() > before
}

/// A paused Deployment can be scaled: the one set that has Pods follows; several keep their proportions roughly.
fn scale_active(deployment: &Value, sets: &Sets, limits: Limits, plan: &mut Plan) {
    let active: Vec<&Arc<Value>> = sets.all().filter(|set| wished(set) > 0).collect();
    match active.as_slice() {
        [] => {
            if let Some(latest) = sets.new.as_ref().or_else(|| sets.old.last()) {
                set_scale(deployment, latest, limits.desired, limits, plan);
            }
        }
        [only] => set_scale(deployment, only, limits.desired, limits, plan),
        several => {
            let whole: i64 = several.iter().map(|set| wished(set)).sum();
            let allowed = limits.desired + limits.surge;
            if whole > allowed {
                let mut excess = whole - allowed;
                for set in several {
                    let cut = excess.min(wished(set));
                    set_scale(deployment, set, wished(set) - cut, limits, plan);
                    excess -= cut;
                }
            } else if whole < limits.desired {
                let largest = several.iter().max_by_key(|set| wished(set));
                if let Some(set) = largest {
                    set_scale(
                        deployment,
                        set,
                        wished(set) + limits.desired - whole,
                        limits,
                        plan,
                    );
                }
            }
        }
    }
}

fn grow_new(deployment: &Value, sets: &Sets, limits: Limits, plan: &mut Plan) {
    let Some(new) = &sets.new else { return };
    let own = wished(new);
    let target = if own > limits.desired {
        limits.desired
    } else {
        let room = limits.desired + limits.surge - total(sets.all(), wished);
        own + room.clamp(0, limits.desired - own)
    };
    set_scale(deployment, new, target, limits, plan);
}

fn shrink_old(deployment: &Value, sets: &Sets, limits: Limits, plan: &mut Plan) {
    let Some(new) = &sets.new else { return };
    if total(&sets.old, wished) == 0 {
        return;
    }
    let needed = limits.desired - limits.unavailable;
    let new_unavailable = wished(new) - available(new);
    let mut removable = total(sets.all(), wished) - needed - new_unavailable;
    if removable <= 0 {
        return;
    }
    let mut targets: Vec<i64> = sets.old.iter().map(|set| wished(set)).collect();
    // Pods that do not work cost nothing to remove.
    for (set, target) in sets.old.iter().zip(&mut targets) {
        let cut = (*target - available(set)).clamp(0, removable);
        *target -= cut;
        removable -= cut;
    }
    let mut spare = total(sets.all(), available) - needed;
    for (set, target) in sets.old.iter().zip(&mut targets) {
        let cut = (*target).min(spare).min(available(set)).max(0);
        *target -= cut;
        spare -= cut;
    }
    for (set, target) in sets.old.iter().zip(targets) {
        set_scale(deployment, set, target, limits, plan);
    }
}

fn set_scale(deployment: &Value, set: &Value, replicas: i64, limits: Limits, plan: &mut Plan) {
    let before = wished(set);
    let mut changed = set.clone();
    changed["spec"]["replicas"] = json!(replicas);
    set_replica_annotations(&mut changed, limits);
    if changed == *set {
        return;
    }
    plan.replace(&REPLICA_SETS, changed);
    if before != replicas {
        let direction = if replicas > before { "up" } else { "down" };
        plan.note(
            SOURCE,
            deployment,
            "ScalingReplicaSet",
            format!(
                "Scaled {direction} replica set {} from {before} to {replicas}",
                name(set)
            ),
        );
    }
}
