//! Pods: a scheduler and a kubelet that only pretend.
//!
//! ```text
//! created ─▶ bound to a Node ─▶ ContainerCreating ──delay──▶ Running, Ready ──delay──▶ Succeeded
//!                    │                   │                                   (restartPolicy Never, OnFailure)
//!        no Node fits: Pending           └─ image with a tag that contains `broken`: ImagePullBackOff
//! ```

mod containers;

use serde_json::{Value, json};

use super::cache::Key;
use super::node;
use super::object::{condition, is_deleting, items, map_at, namespace, stamp, uid};
use super::plan::Plan;
use super::resource::PODS;
use super::world::World;
pub(crate) use containers::quality;
use containers::{Stage, broken_image};

const SCHEDULER: &str = "default-scheduler";
const KUBELET: &str = "kubelet";

/// Looks at one Pod.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(pod) = world.cache.get(key) else {
        return plan;
    };
    if is_deleting(pod) {
        // What pretends to run ends at once.
        if pod["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .is_some_and(|seconds| seconds > 0)
        {
            plan.delete(&PODS, pod, None);
        }
        return plan;
    }
    if is_finished(pod) {
        return plan;
    }
    let node = match pod["spec"]["nodeName"].as_str() {
        Some(node) => node.to_owned(),
        None => match node::pick(world.cache, &pod["spec"], uid(pod)) {
            Ok(node) => {
                let mut bound = (**pod).clone();
                map_at(&mut bound, "spec").insert("nodeName".into(), json!(node));
                plan.replace(&PODS, bound);
                let place = format!("{}/{}", namespace(pod), super::object::name(pod));
                plan.note(
                    SCHEDULER,
                    pod,
                    "Scheduled",
                    format!("Successfully assigned {place} to {node}"),
                );
                node
            }
            Err(why) => {
                unschedulable(world, pod, &why, &mut plan);
                return plan;
            }
        },
    };
    run(world, key, pod, &node, &mut plan);
    plan
}

fn is_finished(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

fn unschedulable(world: &World<'_>, pod: &Value, why: &str, plan: &mut Plan) {
    let mut status = json!({"phase": "Pending"});
    status["qosClass"] = json!(containers::quality(&pod["spec"]));
    let known = condition(pod, "PodScheduled").filter(|known| known["status"] == "False");
    let since = known.map_or_else(
        || stamp(world.now),
        |known| known["lastTransitionTime"].clone(),
    );
    status["conditions"] = json!([{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        "lastProbeTime": null, "lastTransitionTime": since,
    }]);
    if known.is_none() {
        plan.warn(SCHEDULER, pod, "FailedScheduling", why.to_owned());
    }
    plan.status(&PODS, pod, status);
}

/// Brings the Pod to the stage that its age allows.
fn run(world: &World<'_>, key: &Key, pod: &Value, node: &str, plan: &mut Plan) {
    let seen = world.cache.seen(key).unwrap_or(world.now);
    let ready_at = seen + world.delay;
    let done_at = ready_at + world.delay;
    let ends = matches!(
        pod["spec"]["restartPolicy"].as_str(),
        Some("Never" | "OnFailure")
    );
    let was_ready = pod["status"]["phase"] == "Running";
    let broken = broken_image(&pod["spec"]);
    // What runs goes on running; the clock of this process may have started after it.
    let stage = if let Some(image) = &broken {
        Stage::ImagePull {
            image: image.clone(),
        }
    } else if !was_ready && world.now < ready_at {
        plan.look_again(ready_at);
        Stage::Creating
    } else if ends && world.now >= done_at {
        Stage::Done
    } else {
        if ends {
            plan.look_again(done_at);
        }
        Stage::Running
    };
    tell(pod, &stage, plan);
    let status = status(world, pod, node, &stage);
    plan.status(&PODS, pod, status);
}

fn status(world: &World<'_>, pod: &Value, node: &str, stage: &Stage) -> Value {
    let before = &pod["status"];
    let now = stamp(world.now);
    let since = |kind: &str, state: &str| {
        condition(pod, kind)
            .filter(|known| known["status"] == state)
            .map_or_else(|| now.clone(), |known| known["lastTransitionTime"].clone())
    };
    let ready = matches!(stage, Stage::Running);
    let started = matches!(stage, Stage::Running | Stage::Done);
    let waiting_for: Vec<&str> = items(&pod["spec"]["containers"])
        .filter_map(|container| container["name"].as_str())
        .collect();
    let mut conditions = Vec::new();
    let mut add = |kind: &str, holds: bool, reason: Option<&str>, message: Option<String>| {
        let state = if holds { "True" } else { "False" };
        let mut condition = json!({
            "type": kind, "status": state, "lastProbeTime": null, "lastTransitionTime": since(kind, state),
        });
        if let Some(reason) = reason {
            condition["reason"] = json!(reason);
        }
        if let Some(message) = message {
            condition["message"] = json!(message);
        }
        conditions.push(condition);
    };
    let unready = format!(
        "containers with unready status: [{}]",
        waiting_for.join(" ")
    );
    let (reason, message) = match stage {
        Stage::Running => (None, None),
        Stage::Done => (Some("PodCompleted"), None),
        Stage::Creating | Stage::ImagePull { .. } => (Some("ContainersNotReady"), Some(unready)),
    };
    let pending_init = containers::has_init(&pod["spec"]) && !started;
    add(
        "PodReadyToStartContainers",
        !matches!(stage, Stage::Done),
        None,
        None,
    );
    if pending_init {
        let names: Vec<&str> = items(&pod["spec"]["initContainers"])
            .filter_map(|container| container["name"].as_str())
            .collect();
        let text = format!("containers with incomplete status: [{}]", names.join(" "));
        add(
            "Initialized",
            false,
            Some("ContainersNotInitialized"),
            Some(text),
        );
    } else {
        add(
            "Initialized",
            true,
            reason.filter(|reason| *reason == "PodCompleted"),
            None,
        );
    }
    add("Ready", ready, reason, message.clone());
    add("ContainersReady", ready, reason, message);
    add("PodScheduled", true, None, None);
    let host = node::address(node, world.cluster);
    let address = before["podIP"]
        .as_str()
        .map_or_else(|| pod_address(world), str::to_owned);
    let phase = match stage {
        Stage::Running => "Running",
        Stage::Done => "Succeeded",
        Stage::Creating | Stage::ImagePull { .. } => "Pending",
    };
    let mut status = json!({
        "phase": phase,
        "conditions": conditions,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": before.get("startTime").cloned().unwrap_or_else(|| now.clone()),
        "containerStatuses": containers::statuses(pod, "containers", "containerStatuses", stage, world.now),
        "qosClass": containers::quality(&pod["spec"]),
    });
    if containers::has_init(&pod["spec"]) {
        status["initContainerStatuses"] = containers::statuses(
            pod,
            "initContainers",
            "initContainerStatuses",
            stage,
            world.now,
        );
    }
    status
}

fn pod_address(world: &World<'_>) -> String {
    let number = world.next_address() + 2;
    format!("10.244.{}.{}", (number / 250) % 256, number % 250 + 1)
}

/// The highest number that an address in use was made from, so that a restarted cluster gives out others.
pub(crate) fn addresses_in_use<'a>(pods: impl Iterator<Item = &'a Value>) -> u32 {
    pods.filter_map(|pod| pod["status"]["podIP"].as_str())
        .filter_map(|address| {
            let mut parts = address.strip_prefix("10.244.")?.split('.');
            let high: u32 = parts.next()?.parse().ok()?;
            let low: u32 = parts.next()?.parse().ok()?;
            Some(high * 250 + low)
        })
        .max()
        .unwrap_or_default()
}

/// The events of a change of stage.
fn tell(pod: &Value, stage: &Stage, plan: &mut Plan) {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    match stage {
        Stage::ImagePull { image } => {
            if containers::is_pulling(pod) {
                return;
            }
            plan.note(KUBELET, pod, "Pulling", format!("Pulling image {image:?}"));
            plan.warn(
                KUBELET,
                pod,
                "Failed",
                format!("Failed to pull image {image:?}: {}", containers::PULL_ERROR),
            );
            plan.warn(KUBELET, pod, "Failed", "Error: ErrImagePull".to_owned());
            plan.note(
                KUBELET,
                pod,
                "BackOff",
                format!("Back-off pulling image {image:?}"),
            );
            plan.warn(KUBELET, pod, "Failed", "Error: ImagePullBackOff".to_owned());
        }
        Stage::Running | Stage::Done if phase != "Running" => {
            for container in
                items(&pod["spec"]["initContainers"]).chain(items(&pod["spec"]["containers"]))
            {
                let image = container["image"].as_str().unwrap_or_default();
                let name = container["name"].as_str().unwrap_or_default();
                plan.note(
                    KUBELET,
                    pod,
                    "Pulled",
                    format!("Container image {image:?} already present on machine"),
                );
                plan.note(
                    KUBELET,
                    pod,
                    "Created",
                    format!("Created container: {name}"),
                );
                plan.note(KUBELET, pod, "Started", format!("Started container {name}"));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
