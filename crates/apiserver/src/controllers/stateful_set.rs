//! StatefulSets: Pods with names of their own, one after the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::Key;
use super::object::{
    condition_holds, controller_reference, generation, is_deleting, items, labels, map_at, name,
    namespace, number, without_empty,
};
use super::plan::Plan;
use super::replica_set::{Readiness, is_active, pod_of};
use super::resource::{CLAIMS, PODS, STATEFUL_SETS};
use super::revisions::{self, HASH_LABEL};
use super::world::World;

const SOURCE: &str = "statefulset-controller";

/// Looks at one StatefulSet.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(set) = world.cache.get(key) else {
        return plan;
    };
    let pods: Vec<&Arc<Value>> = world.cache.controlled(&PODS, set).collect();
    let update = revisions::revision_name(set, &revisions::current_hash(set));
    let known = set["status"]["currentRevision"]
        .as_str()
        .filter(|known| !known.is_empty());
    let current = known.unwrap_or(&update).to_owned();
    if !is_deleting(set) {
        let in_use: Vec<&str> = pods
            .iter()
            .filter_map(|pod| labels(pod)[HASH_LABEL].as_str())
            .collect();
        revisions::keep(world.cache, set, &update, &in_use, &mut plan);
        scale(world, set, &pods, &current, &update, &mut plan);
    }
    report(world, set, &pods, &current, &update, &mut plan);
    plan
}

fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    name(pod)
        .strip_prefix(name(set))?
        .strip_prefix('-')?
        .parse()
        .ok()
}

/// Makes at most one move in ordered sets, all at once in parallel ones.
fn scale(
    world: &World<'_>,
    set: &Value,
    pods: &[&Arc<Value>],
    current: &str,
    update: &str,
    plan: &mut Plan,
) {
    let wished = number(&set["spec"]["replicas"], 1);
    let start = number(&set["spec"]["ordinals"]["start"], 0);
    let parallel = set["spec"]["podManagementPolicy"] == "Parallel";
    let strategy = &set["spec"]["updateStrategy"];
    let partition = start + number(&strategy["rollingUpdate"]["partition"], 0);
    let pod_at = |wanted: i64| pods.iter().find(|pod| ordinal(set, pod) == Some(wanted));
    for at in start..start + wished {
        match pod_at(at) {
            None => {
                // Below the partition the old template would be needed; it is kept only as a revision, so a
                // Pod that is lost there comes back with the new one.
                let revision = if at < partition && current == update {
                    current
                } else {
                    update
                };
                create(world, set, at, revision, plan);
                if !parallel {
                    return;
                }
            }
            Some(pod) if !is_active(pod) => {
                if !is_deleting(pod) {
                    plan.delete(&PODS, pod, None);
                }
                if !parallel {
                    return;
                }
            }
            Some(pod) => {
                if !parallel && !condition_holds(pod, "Ready") {
                    // A Pod that will never come up must not be in the way of its own replacement.
                    if labels(pod)[HASH_LABEL] != update
                        && strategy["type"] != "OnDelete"
                        && at >= partition
                    {
                        delete(set, pod, plan);
                    }
                    return;
                }
            }
        }
    }
    let mut excess: Vec<(i64, &&Arc<Value>)> = pods
        .iter()
        .filter_map(|pod| Some((ordinal(set, pod)?, pod)))
        .filter(|(at, pod)| (*at < start || *at >= start + wished) && !is_deleting(pod))
        .collect();
    excess.sort_by_key(|(at, _)| -at);
    let moves = if parallel { excess.len() } else { 1 };
    for (_, pod) in excess.iter().take(moves) {
        delete(set, pod, plan);
    }
    if !excess.is_empty() || strategy["type"] == "OnDelete" {
        return;
    }
    // From the last to the first, each only when those after it are ready.
    for at in (partition.max(start)..start + wished).rev() {
        let Some(pod) = pod_at(at) else { return };
        if labels(pod)[HASH_LABEL] != update {
            delete(set, pod, plan);
            return;
        }
        if !condition_holds(pod, "Ready") {
            return;
        }
    }
}

fn delete(set: &Value, pod: &Value, plan: &mut Plan) {
    plan.note(
        SOURCE,
        set,
        "SuccessfulDelete",
        format!(
            "delete Pod {} in StatefulSet {} successful",
            name(pod),
            name(set)
        ),
    );
    plan.delete(&PODS, pod, None);
}

fn create(world: &World<'_>, set: &Value, at: i64, revision: &str, plan: &mut Plan) {
    let pod_name = format!("{}-{at}", name(set));
    let mut pod = pod_of(set, &pod_name);
    map_at(&mut pod["metadata"], "labels").extend([
        (HASH_LABEL.to_owned(), json!(revision)),
        (
            "statefulset.kubernetes.io/pod-name".to_owned(),
            json!(pod_name),
        ),
        (
            "apps.kubernetes.io/pod-index".to_owned(),
            json!(at.to_string()),
        ),
    ]);
    let spec = map_at(&mut pod, "spec");
    spec.insert("hostname".to_owned(), json!(pod_name));
    if let Some(service) = set["spec"]["serviceName"]
        .as_str()
        .filter(|service| !service.is_empty())
    {
        spec.insert("subdomain".to_owned(), json!(service));
    }
    for template in items(&set["spec"]["volumeClaimTemplates"]) {
        let volume = name(template);
        let claim_name = format!("{volume}-{pod_name}");
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.retain(|known| known["name"] != volume);
            volumes
                .push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim_name}}));
        }
        if world
            .cache
            .find(&CLAIMS, namespace(set), &claim_name)
            .is_none()
        {
            plan.create(&CLAIMS, claim(set, template, &claim_name));
        }
    }
    plan.note(
        SOURCE,
        set,
        "SuccessfulCreate",
        format!(
            "create Pod {pod_name} in StatefulSet {} successful",
            name(set)
        ),
    );
    plan.create(&PODS, pod);
}

fn claim(set: &Value, template: &Value, claim_name: &str) -> Value {
    let mut claim = template.clone();
    claim["apiVersion"] = json!("v1");
    claim["kind"] = json!("PersistentVolumeClaim");
    if let Some(map) = claim.as_object_mut() {
        map.remove("status");
    }
    claim["metadata"]["name"] = json!(claim_name);
    claim["metadata"]["namespace"] = json!(namespace(set));
    if let Some(wanted) = set["spec"]["selector"]["matchLabels"].as_object() {
        map_at(&mut claim["metadata"], "labels").extend(wanted.clone());
    }
    if set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
        claim["metadata"]["ownerReferences"] = json!([controller_reference(set)]);
    }
    claim
}

fn report(
    world: &World<'_>,
    set: &Value,
    pods: &[&Arc<Value>],
    current: &str,
    update: &str,
    plan: &mut Plan,
) {
    let active: Vec<&Arc<Value>> = pods.iter().filter(|pod| is_active(pod)).copied().collect();
    let readiness = Readiness::of(
        &active,
        number(&set["spec"]["minReadySeconds"], 0),
        world.now,
    );
    let of = |revision: &str| {
        active
            .iter()
            .filter(|pod| labels(pod)[HASH_LABEL] == revision)
            .count()
    };
    let updated = of(update);
    let wished = usize::try_from(number(&set["spec"]["replicas"], 1)).unwrap_or_default();
    let ready = usize::try_from(readiness.ready).unwrap_or_default();
    let complete = updated == wished && active.len() == wished && ready == wished;
    let current = if complete { update } else { current };
    let mut status = without_empty(json!({
        "observedGeneration": generation(set),
        "readyReplicas": readiness.ready,
        "currentReplicas": of(current),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": update,
    }));
    status["replicas"] = json!(active.len());
    status["availableReplicas"] = json!(readiness.available);
    status["collisionCount"] = json!(0);
    plan.status(&STATEFUL_SETS, set, status);
    if let Some(next) = readiness.next {
        plan.look_again(next);
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::resource::CONTROLLER_REVISIONS;
    use crate::controllers::rig::Rig;

    fn set(replicas: i64, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {
                "replicas": replicas, "serviceName": "db",
                "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
            },
        })
    }

    fn set_image(rig: &mut Rig, key: &Key, image: &str) {
        rig.edit(key, |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
    }

    #[test]
    fn pods_start_one_after_the_other() {
        let mut rig = Rig::new(SignedDuration::from_secs(1));
        rig.create(&STATEFUL_SETS, set(3, "db:1"));
        rig.run();
        assert_eq!(rig.names(&PODS), ["db-0"]);
        rig.pass(SignedDuration::from_secs(1));
        assert_eq!(rig.names(&PODS), ["db-0", "db-1"]);
        rig.pass(SignedDuration::from_secs(2));
        assert_eq!(rig.names(&PODS), ["db-0", "db-1", "db-2"]);
        assert_eq!(rig.names(&CLAIMS), ["data-db-0", "data-db-1", "data-db-2"]);
    }

    #[test]
    fn an_update_goes_from_the_last_to_the_first_and_settles() {
        let mut rig = Rig::new(SignedDuration::from_secs(1));
        let key = rig.create(&STATEFUL_SETS, set(2, "db:1"));
        rig.pass(SignedDuration::from_secs(3));
        let before = rig.get(&key)["status"]["currentRevision"].clone();
        set_image(&mut rig, &key, "db:2");
        rig.run();
        let images = |rig: &Rig| -> Vec<Value> {
            rig.cache
                .list(&PODS, "default")
                .map(|pod| pod["spec"]["containers"][0]["image"].clone())
                .collect()
        };
        assert_eq!(images(&rig), ["db:1", "db:2"]);
        assert_eq!(rig.get(&key)["status"]["currentRevision"], before);
        rig.pass(SignedDuration::from_secs(3));
        assert_eq!(images(&rig), ["db:2", "db:2"]);
        let status = &rig.get(&key)["status"];
        assert_eq!(status["currentRevision"], status["updateRevision"]);
        assert_eq!(status["updatedReplicas"], 2);
        assert_eq!(status["availableReplicas"], 2);
        assert_ne!(status["currentRevision"], before);
        assert_eq!(rig.names(&CONTROLLER_REVISIONS).len(), 2);
    }

    #[test]
    fn a_broken_update_stops_and_can_be_repaired() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(&STATEFUL_SETS, set(3, "db:1"));
        rig.run();
        set_image(&mut rig, &key, "db:broken");
        rig.run();
        assert_eq!(
            rig.get(&key)["status"]["readyReplicas"],
            2,
            "only the last Pod was replaced"
        );
        set_image(&mut rig, &key, "db:3");
        rig.run();
        assert_eq!(rig.get(&key)["status"]["readyReplicas"], 3);
        assert_eq!(rig.get(&key)["status"]["updatedReplicas"], 3);
    }

    #[test]
    fn the_last_pods_go_first() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(&STATEFUL_SETS, set(3, "db:1"));
        rig.run();
        rig.edit(&key, |set| set["spec"]["replicas"] = json!(1));
        rig.run();
        assert_eq!(rig.names(&PODS), ["db-0"]);
        assert_eq!(rig.names(&CLAIMS).len(), 3, "claims outlive their Pods");
    }
}
