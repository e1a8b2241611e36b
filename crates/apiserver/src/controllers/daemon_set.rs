//! DaemonSets: one Pod on each Node that it fits.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::Key;
use super::node;
use super::object::{
    condition_holds, generation, is_deleting, labels, map_at, name, number, share_of, without_empty,
};
use super::plan::Plan;
use super::replica_set::{Readiness, is_active, pod_of};
use super::resource::{DAEMON_SETS, NODES, PODS};
use super::revisions::{self, HASH_LABEL};
use super::world::World;

const SOURCE: &str = "daemonset-controller";

/// Looks at one DaemonSet.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(set) = world.cache.get(key) else {
        return plan;
    };
    let hash = revisions::current_hash(set);
    let pods: Vec<&Arc<Value>> = world.cache.controlled(&PODS, set).collect();
    let nodes: Vec<&str> = world
        .cache
        .all(&NODES)
        .filter(|node| node::fits(node, &set["spec"]["template"]["spec"]))
        .map(|node| name(node))
        .collect();
    if !is_deleting(set) {
        let in_use: Vec<&str> = pods
            .iter()
            .filter_map(|pod| labels(pod)[HASH_LABEL].as_str())
            .collect();
        revisions::keep(world.cache, set, &hash, &in_use, &mut plan);
        place(world, set, &pods, &nodes, &hash, &mut plan);
    }
    report(world, set, &pods, &nodes, &hash, &mut plan);
    plan
}

fn place(
    world: &World<'_>,
    set: &Value,
    pods: &[&Arc<Value>],
    nodes: &[&str],
    hash: &str,
    plan: &mut Plan,
) {
    let on = |pod: &Value, node: &str| pod["spec"]["nodeName"] == node;
    for node in nodes {
        let here: Vec<&&Arc<Value>> = pods.iter().filter(|pod| on(pod, node)).collect();
        if here.is_empty() {
            let mut pod = pod_of(set, &format!("{}-{}", name(set), (world.suffix)()));
            map_at(&mut pod["metadata"], "labels").extend([
                (HASH_LABEL.to_owned(), json!(hash)),
                (
                    "pod-template-generation".to_owned(),
                    json!(generation(set).to_string()),
                ),
            ]);
            map_at(&mut pod, "spec").insert("nodeName".to_owned(), json!(node));
            plan.note(
                SOURCE,
                set,
                "SuccessfulCreate",
                format!("Created pod: {}", name(&pod)),
            );
            plan.create(&PODS, pod);
        }
        for pod in here
            .into_iter()
            .filter(|pod| !is_active(pod) && !is_deleting(pod))
        {
            plan.delete(&PODS, pod, None);
        }
    }
    for pod in pods
        .iter()
        .filter(|pod| !nodes.iter().any(|node| on(pod, node)) && !is_deleting(pod))
    {
        remove(set, pod, plan);
    }
    if set["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return;
    }
    let total = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    let allowed = share_of(
        &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        total,
        true,
    )
    .unwrap_or(1)
    .max(1);
    let (ready, unready): (Vec<&&Arc<Value>>, Vec<&&Arc<Value>>) = pods
        .iter()
        .filter(|pod| is_active(pod))
        .partition(|pod| condition_holds(pod, "Ready"));
    let is_old = |pod: &Value| labels(pod)[HASH_LABEL] != hash;
    let missing = total - i64::try_from(ready.len()).unwrap_or(i64::MAX);
    let room = usize::try_from(allowed - missing).unwrap_or_default();
    // Old Pods that do not work can go at any time.
    for pod in unready.iter().filter(|pod| is_old(pod)) {
        remove(set, pod, plan);
    }
    for pod in ready.iter().filter(|pod| is_old(pod)).take(room) {
        remove(set, pod, plan);
    }
}

fn remove(set: &Value, pod: &Value, plan: &mut Plan) {
    plan.note(
        SOURCE,
        set,
        "SuccessfulDelete",
        format!("Deleted pod: {}", name(pod)),
    );
    plan.delete(&PODS, pod, None);
}

fn report(
    world: &World<'_>,
    set: &Value,
    pods: &[&Arc<Value>],
    nodes: &[&str],
    hash: &str,
    plan: &mut Plan,
) {
    let active: Vec<&Arc<Value>> = pods.iter().filter(|pod| is_active(pod)).copied().collect();
    let (placed, misplaced): (Vec<&Arc<Value>>, Vec<&Arc<Value>>) =
        active.into_iter().partition(|pod| {
            pod["spec"]["nodeName"]
                .as_str()
                .is_some_and(|node| nodes.contains(&node))
        });
    let readiness = Readiness::of(
        &placed,
        number(&set["spec"]["minReadySeconds"], 0),
        world.now,
    );
    let wished = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    let mut status = without_empty(json!({
        "updatedNumberScheduled": placed.iter().filter(|pod| labels(pod)[HASH_LABEL] == hash).count(),
        "numberAvailable": readiness.available,
        "numberUnavailable": (wished - readiness.available).max(0),
        "observedGeneration": generation(set),
    }));
    for (field, count) in [
        ("currentNumberScheduled", placed.len()),
        ("numberMisscheduled", misplaced.len()),
        ("desiredNumberScheduled", nodes.len()),
    ] {
        status[field] = json!(count);
    }
    status["numberReady"] = json!(readiness.ready);
    plan.status(&DAEMON_SETS, set, status);
    if let Some(next) = readiness.next {
        plan.look_again(next);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::rig::Rig;

    fn set() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}},
            },
        })
    }

    #[test]
    fn each_node_gets_a_pod() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(&DAEMON_SETS, set());
        rig.run();
        let mut nodes: Vec<Value> = rig
            .cache
            .list(&PODS, "default")
            .map(|pod| pod["spec"]["nodeName"].clone())
            .collect();
        nodes.sort_by_key(ToString::to_string);
        assert_eq!(nodes, ["test-node-1", "test-node-2"]);
        let status = &rig.get(&key)["status"];
        assert_eq!(status["numberAvailable"], 2);
        assert_eq!(status["desiredNumberScheduled"], 2);
        assert_eq!(status["numberUnavailable"], Value::Null);
    }

    #[test]
    fn an_update_replaces_one_pod_at_a_time() {
        let mut rig = Rig::new(SignedDuration::from_secs(1));
        let key = rig.create(&DAEMON_SETS, set());
        rig.pass(SignedDuration::from_secs(1));
        rig.edit(&key, |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        });
        rig.run();
        assert_eq!(rig.get(&key)["status"]["updatedNumberScheduled"], 1);
        assert_eq!(rig.get(&key)["status"]["numberAvailable"], 1);
        rig.pass(SignedDuration::from_secs(2));
        assert_eq!(rig.get(&key)["status"]["updatedNumberScheduled"], 2);
        assert_eq!(rig.get(&key)["status"]["numberAvailable"], 2);
    }

    #[test]
    fn without_a_fitting_node_nothing_is_wished() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let mut object = set();
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"gpu": "yes"});
        let key = rig.create(&DAEMON_SETS, object);
        rig.run();
        assert_eq!(rig.get(&key)["status"]["desiredNumberScheduled"], 0);
        assert!(rig.names(&PODS).is_empty());
    }
}
