//! PersistentVolumeClaims: bound at once to a volume that does not exist.

use serde_json::{Value, json};

use super::cache::Key;
use super::object::{is_deleting, map_at, name, namespace, set_annotation, uid};
use super::plan::{Plan, Write};
use super::resource::{CLAIMS, VOLUMES};
use super::world::World;
use crate::writer::Scope;

const CLASS: &str = "standard";
const PROVISIONER: &str = "fairway.dev/simulated";

/// The default StorageClass of a simulated cluster.
pub(crate) fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    })
}

/// Looks at one claim; when it is gone, its volume goes.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(claim) = world.cache.get(key) else {
        let orphaned = world.cache.list(&VOLUMES, "").filter(|volume| {
            let of = &volume["spec"]["claimRef"];
            of["namespace"] == *key.namespace
                && of["name"] == *key.name
                && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        });
        for volume in orphaned {
            plan.delete(&VOLUMES, volume, None);
        }
        return plan;
    };
    if is_deleting(claim) {
        return plan;
    }
    let named = claim["spec"]["volumeName"]
        .as_str()
        .filter(|volume| !volume.is_empty());
    let volume = named.map_or_else(|| format!("pvc-{}", uid(claim)), str::to_owned);
    match world.cache.find(&VOLUMES, "", &volume) {
        None if named.is_some() && claim["status"]["phase"] != "Bound" => {
            // Asked for by name: somebody has to make it.
            plan.status(&CLAIMS, claim, json!({"phase": "Pending"}));
        }
        None => {
            plan.create(&VOLUMES, build(claim, &volume));
            // Its status follows when it is there.
            plan.look_again(world.now);
        }
        Some(found) => {
            if found["status"]["phase"] != "Bound" {
                plan.status(&VOLUMES, found, json!({"phase": "Bound"}));
            }
            bind(claim, found, &mut plan);
        }
    }
    plan
}

fn build(claim: &Value, volume: &str) -> Value {
    let class = claim["spec"]["storageClassName"].as_str().unwrap_or(CLASS);
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": namespace(claim), "name": name(claim), "uid": uid(claim),
            },
            "hostPath": {"path": format!("/simulated/{volume}"), "type": ""},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": class,
            "volumeMode": claim["spec"]["volumeMode"].as_str().unwrap_or("Filesystem"),
        },
        "status": {"phase": "Bound"},
    })
}

fn bind(claim: &Value, volume: &Value, plan: &mut Plan) {
    if claim["spec"]["volumeName"] != name(volume) {
        let mut bound = claim.clone();
        let spec = map_at(&mut bound, "spec");
        spec.insert("volumeName".to_owned(), json!(name(volume)));
        spec.entry("storageClassName")
            .or_insert_with(|| volume["spec"]["storageClassName"].clone());
        set_annotation(&mut bound, "pv.kubernetes.io/bind-completed", "yes");
        set_annotation(&mut bound, "pv.kubernetes.io/bound-by-controller", "yes");
        plan.writes.push(Write::Replace(
            Key::of(&CLAIMS, claim),
            bound,
            Scope::Object,
        ));
    }
    let status = json!({
        "phase": "Bound",
        "accessModes": volume["spec"]["accessModes"],
        "capacity": volume["spec"]["capacity"],
    });
    plan.status(&CLAIMS, claim, status);
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::rig::Rig;

    #[test]
    fn a_claim_is_bound_and_takes_its_volume_with_it() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(
            &CLAIMS,
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
            }),
        );
        rig.run();
        let claim = rig.get(&key);
        assert_eq!(claim["status"]["phase"], "Bound");
        assert_eq!(claim["status"]["capacity"]["storage"], "2Gi");
        let volume = claim["spec"]["volumeName"].as_str().unwrap().to_owned();
        assert!(rig.cache.find(&VOLUMES, "", &volume).is_some());
        rig.delete(&key, None);
        rig.run();
        assert!(rig.cache.find(&VOLUMES, "", &volume).is_none());
    }
}
