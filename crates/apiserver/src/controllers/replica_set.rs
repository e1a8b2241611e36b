//! ReplicaSets: as many Pods of one template as wished.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cache::Key;
use super::object::{
    condition, condition_holds, controller_reference, generation, is_deleting, items, labels,
    map_at, name, namespace, number, time, without_empty,
};
use super::plan::Plan;
use super::resource::{PODS, REPLICA_SETS};
use super::selector_matches;
use super::world::World;

const SOURCE: &str = "replicaset-controller";

/// Looks at one ReplicaSet.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(set) = world.cache.get(key) else {
        return plan;
    };
    let pods: Vec<&Arc<Value>> = world
        .cache
        .controlled(&PODS, set)
        .filter(|pod| is_active(pod))
        .collect();
    if !is_deleting(set) {
        if adopt(world, set, &mut plan) {
            return plan;
        }
        let wished = number(&set["spec"]["replicas"], 1);
        let existing = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        for _ in existing..wished {
            let pod = pod_of(set, &format!("{}-{}", name(set), (world.suffix)()));
            plan.note(
                SOURCE,
                set,
                "SuccessfulCreate",
                format!("Created pod: {}", name(&pod)),
            );
            plan.create(&PODS, pod);
        }
        for pod in expendable(&pods, existing - wished) {
            plan.note(
                SOURCE,
                set,
                "SuccessfulDelete",
                format!("Deleted pod: {}", name(pod)),
            );
            plan.delete(&PODS, pod, None);
        }
    }
    let minimum = number(&set["spec"]["minReadySeconds"], 0);
    let readiness = Readiness::of(&pods, minimum, world.now);
    let mut status = without_empty(json!({
        "fullyLabeledReplicas": pods.len(),
        "readyReplicas": readiness.ready,
        "availableReplicas": readiness.available,
        "observedGeneration": generation(set),
    }));
    status["replicas"] = json!(pods.len());
    if let Some(conditions) = set["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    plan.status(&REPLICA_SETS, set, status);
    if let Some(next) = readiness.next {
        plan.look_again(next);
    }
    plan
}

fn adopt(world: &World<'_>, set: &Value, plan: &mut Plan) -> bool {
    let mut adopted = false;
    for pod in world.cache.unmanaged(&PODS, namespace(set)) {
        if is_active(pod) && selector_matches(&set["spec"]["selector"], labels(pod)) {
            let mut pod = (**pod).clone();
            let mut owners: Vec<Value> = items(&pod["metadata"]["ownerReferences"])
                .cloned()
                .collect();
            owners.push(controller_reference(set));
            pod["metadata"]["ownerReferences"] = owners.into();
            plan.replace(&PODS, pod);
            adopted = true;
        }
    }
    adopted
}

/// Whether the Pod runs or may come to.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_deleting(pod)
        && !matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        )
}

/// A Pod of the template of a workload.
pub(crate) fn pod_of(owner: &Value, pod_name: &str) -> Value {
    let template = &owner["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name,
            "namespace": namespace(owner),
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"]
            .get(field)
            .filter(|value| !value.is_null())
        {
            pod["metadata"][field] = value.clone();
        }
    }
    // The name already says where it comes from; `generateName` is what `kubectl describe` shows.
    if let Some((prefix, _)) = pod_name.rsplit_once('-') {
        map_at(&mut pod, "metadata").insert("generateName".into(), format!("{prefix}-").into());
    }
    pod
}

/// The Pods that are missed least: those that are not ready, then the youngest.
fn expendable<'a>(pods: &[&'a Arc<Value>], count: i64) -> Vec<&'a Arc<Value>> {
    let mut pods = pods.to_vec();
    pods.sort_by(|left, right| {
        let rank = |pod: &Value| {
            (
                pod["spec"]["nodeName"].is_string(),
                condition_holds(pod, "Ready"),
            )
        };
        let created = |pod: &Value| {
            pod["metadata"]["creationTimestamp"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        rank(left)
            .cmp(&rank(right))
            .then_with(|| created(right).cmp(&created(left)))
    });
    pods.truncate(usize::try_from(count).unwrap_or_default());
    pods
}

/// How many Pods are ready, and available, which is ready for long enough.
pub(crate) struct Readiness {
    pub(crate) ready: i64,
    pub(crate) available: i64,
    /// When the next one becomes available.
    pub(crate) next: Option<Timestamp>,
}

impl Readiness {
    pub(crate) fn of<'a>(
        pods: impl IntoIterator<Item = &'a &'a Arc<Value>>,
        min_ready_seconds: i64,
        now: Timestamp,
    ) -> Self {
        let mut found = Self {
            ready: 0,
            available: 0,
            next: None,
        };
        for pod in pods {
            if !condition_holds(pod, "Ready") || is_deleting(pod) {
                continue;
            }
            found.ready += 1;
            let since = condition(pod, "Ready")
                .and_then(|ready| time(&ready["lastTransitionTime"]))
                .unwrap_or(now);
            let due = since + SignedDuration::from_secs(min_ready_seconds);
            if min_ready_seconds == 0 || due <= now {
                found.available += 1;
            } else {
                found.next = Some(found.next.map_or(due, |known| known.min(due)));
            }
        }
        found
    }
}
