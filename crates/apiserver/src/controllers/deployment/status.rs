//! The status of a Deployment: counts, and what its conditions say.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::replica_sets::Sets;
use super::{Limits, total, wished};
use crate::controllers::object::{
    condition, generation, items, name, number, stamp, time, without_empty,
};
use crate::controllers::plan::Plan;
use crate::controllers::resource::DEPLOYMENTS;
use crate::controllers::world::World;

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
/// Deployments without a deadline have this one in the API, which means none.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// What a condition is to say.
struct Said {
    status: &'static str,
    reason: &'static str,
    message: String,
    /// Whether it counts as progress, which starts the deadline anew.
    progress: bool,
}

/// Brings the status up to date, and looks again when the deadline is over.
pub(super) fn update(
    world: &World<'_>,
    deployment: &Value,
    sets: &Sets,
    limits: Limits,
    plan: &mut Plan,
) {
    let count = |field: &'static str| move |set: &Value| number(&set["status"][field], 0);
    let replicas = total(sets.all(), count("replicas"));
    let available = total(sets.all(), count("availableReplicas"));
    let updated = total(&sets.new, count("replicas"));
    let mut status = without_empty(json!({
        "observedGeneration": generation(deployment),
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": total(sets.all(), count("readyReplicas")),
        "availableReplicas": available,
        "unavailableReplicas": (total(sets.all(), wished) - available).max(0),
        "collisionCount": deployment["status"]["collisionCount"],
    }));
    let mut conditions: Vec<Value> = items(&deployment["status"]["conditions"])
        .cloned()
        .collect();
    let is_available = available >= limits.desired - limits.unavailable;
    let (state, reason, message) = if is_available {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    let said = Said {
        status: state,
        reason,
        message: message.to_owned(),
        progress: false,
    };
    set_condition(&mut conditions, "Available", said, world.now);
    if let Some(said) = progressing(world, deployment, sets, limits, &status, plan) {
        set_condition(&mut conditions, "Progressing", said, world.now);
    }
    status["conditions"] = conditions.into();
    plan.status(&DEPLOYMENTS, deployment, status);
}

fn progressing(
    world: &World<'_>,
    deployment: &Value,
    sets: &Sets,
    limits: Limits,
    status: &Value,
    plan: &mut Plan,
) -> Option<Said> {
    let deadline = number(&deployment["spec"]["progressDeadlineSeconds"], 600);
    if deadline == NO_DEADLINE {
        return None;
    }
    let current = condition(deployment, "Progressing");
    let reason = current.and_then(|known| known["reason"].as_str());
    if deployment["spec"]["paused"] == true {
        if reason == Some(TIMED_OUT) || reason == Some(PAUSED) {
            return None;
        }
        return Some(Said {
            status: "Unknown",
            reason: PAUSED,
            message: "Deployment is paused".to_owned(),
            progress: true,
        });
    }
    if reason == Some(PAUSED) {
        plan.look_again(world.now);
        return Some(Said {
            status: "Unknown",
            reason: "DeploymentResumed",
            message: "Deployment is resumed".to_owned(),
            progress: true,
        });
    }
    let subject = match &sets.new {
        Some(new) => format!("ReplicaSet {:?}", name(new)),
        None => format!("Deployment {:?}", name(deployment)),
    };
    let now = |field: &str| number(&status[field], 0);
    let before = |field: &str| number(&deployment["status"][field], 0);
    let settled = now("replicas") == now("updatedReplicas");
    let complete =
        settled && now("replicas") == limits.desired && now("availableReplicas") == limits.desired;
    if complete {
        return Some(Said {
            status: "True",
            reason: COMPLETE,
            message: format!("{subject} has successfully progressed."),
            progress: reason != Some(COMPLETE),
        });
    }
    // What was complete stays so until a new template comes: a Pod that dies is no rollout.
    if settled && reason == Some(COMPLETE) {
        return None;
    }
    let Some(current) = current else {
        plan.look_again(world.now + SignedDuration::from_secs(deadline + 1));
        let (reason, message) = match &sets.new {
            Some(new) => (
                "NewReplicaSetCreated",
                format!("Created new replica set {:?}", name(new)),
            ),
            None => ("ReplicaSetUpdated", format!("{subject} is progressing.")),
        };
        return Some(Said {
            status: "True",
            reason,
            message,
            progress: true,
        });
    };
    let moved = now("updatedReplicas") > before("updatedReplicas")
        || now("replicas") - now("updatedReplicas")
            < before("replicas") - before("updatedReplicas")
        || now("readyReplicas") > before("readyReplicas")
        || now("availableReplicas") > before("availableReplicas");
    let new_template = reason == Some(COMPLETE);
    if moved || new_template {
        plan.look_again(world.now + SignedDuration::from_secs(deadline + 1));
        return Some(Said {
            status: "True",
            reason: "ReplicaSetUpdated",
            message: format!("{subject} is progressing."),
            progress: true,
        });
    }
    if reason == Some(TIMED_OUT) {
        return None;
    }
    let since = time(&current["lastUpdateTime"]).unwrap_or(world.now);
    let end = since + SignedDuration::from_secs(deadline);
    if world.now <= end {
        plan.look_again(end + SignedDuration::from_secs(1));
        return None;
    }
    Some(Said {
        status: "False",
        reason: TIMED_OUT,
        message: format!("{subject} has timed out progressing."),
        progress: true,
    })
}

fn set_condition(conditions: &mut Vec<Value>, kind: &str, said: Said, now: Timestamp) {
    let known = conditions
        .iter_mut()
        .find(|condition| condition["type"] == kind);
    let same_status = known
        .as_ref()
        .is_some_and(|known| known["status"] == said.status);
    let same = same_status
        && known
            .as_ref()
            .is_some_and(|known| known["reason"] == said.reason);
    if same && !said.progress {
        return;
    }
    let mut condition = json!({
        "type": kind,
        "status": said.status,
        "reason": said.reason,
        "message": said.message,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": stamp(now),
    });
    match known {
        Some(known) => {
            if same_status {
                condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
            }
            *known = condition;
        }
        None => conditions.push(condition),
    }
}
