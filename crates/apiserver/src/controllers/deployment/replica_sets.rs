//! Which ReplicaSet runs the template of a Deployment, and which ran earlier ones.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Limits, REVISION, SOURCE, wished};
use crate::controllers::cache::Cache;
use crate::controllers::object::{
    annotation, controller_reference, is_deleting, items, labels, map_at, name, namespace, number,
    set_annotation, short_hash,
};
use crate::controllers::plan::Plan;
use crate::controllers::resource::{DEPLOYMENTS, REPLICA_SETS};
use crate::controllers::selector_matches;

const HASH_LABEL: &str = "pod-template-hash";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The ReplicaSets of one Deployment.
pub(super) struct Sets {
    /// Runs the template as it is now.
    pub(super) new: Option<Arc<Value>>,
    /// The others, oldest first.
    pub(super) old: Vec<Arc<Value>>,
}

impl Sets {
    pub(super) fn of(cache: &Cache, deployment: &Value) -> Self {
        let hash = short_hash(&deployment["spec"]["template"]);
        let mut old: Vec<Arc<Value>> = cache
            .controlled(&REPLICA_SETS, deployment)
            .filter(|set| !is_deleting(set))
            .cloned()
            .collect();
        old.sort_by_key(|set| revision(set));
        let new = old
            .iter()
            .position(|set| labels(set)[HASH_LABEL] == hash.as_str())
            .map(|at| old.remove(at));
        Self { new, old }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Value>> + Clone {
        self.new.iter().chain(&self.old)
    }
}

/// The number that the Deployment gave a ReplicaSet's template.
pub(super) fn revision(object: &Value) -> i64 {
    annotation(object, REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Takes over matching ReplicaSets that nobody manages, as an orphaning deletion leaves them.
pub(super) fn adopt(cache: &Cache, deployment: &Value, plan: &mut Plan) -> bool {
    let selector = &deployment["spec"]["selector"];
    let mut adopted = false;
    for set in cache.unmanaged(&REPLICA_SETS, namespace(deployment)) {
        if !is_deleting(set) && selector_matches(selector, labels(set)) {
            let mut set = (**set).clone();
            add_owner(&mut set, deployment);
            plan.replace(&REPLICA_SETS, set);
            adopted = true;
        }
    }
    adopted
}

fn add_owner(object: &mut Value, owner: &Value) {
    let mut owners: Vec<Value> = items(&object["metadata"]["ownerReferences"])
        .cloned()
        .collect();
    owners.push(controller_reference(owner));
    object["metadata"]["ownerReferences"] = owners.into();
}

/// Creates the new ReplicaSet, or brings its annotations and the Deployment's up to date. Returns whether to wait
/// for the creation.
pub(super) fn prepare_new(
    deployment: &Value,
    sets: &Sets,
    limits: Limits,
    plan: &mut Plan,
) -> bool {
    let latest_old = sets
        .old
        .iter()
        .map(|set| revision(set))
        .max()
        .unwrap_or_default();
    let next = (latest_old + 1).to_string();
    let Some(new) = &sets.new else {
        let set = build(deployment, sets, limits, &next);
        let (set_name, replicas) = (name(&set).to_owned(), wished(&set));
        plan.create(&REPLICA_SETS, set);
        if replicas > 0 {
            plan.note(
                SOURCE,
                deployment,
                "ScalingReplicaSet",
                format!("Scaled up replica set {set_name} from 0 to {replicas}"),
            );
        }
        number_deployment(deployment, &next, plan);
        return true;
    };
    let mut set = (**new).clone();
    copy_annotations(deployment, &mut set);
    // A template that comes back becomes the latest revision.
    if revision(new) <= latest_old {
        if let Some(before) = annotation(new, REVISION) {
            let history = match annotation(new, HISTORY) {
                Some(known) => format!("{known},{before}"),
                None => before.to_owned(),
            };
            set_annotation(&mut set, HISTORY, history);
        }
        set_annotation(&mut set, REVISION, next);
    }
    let now_revision = revision(&set).to_string();
    if set["spec"]["minReadySeconds"] != deployment["spec"]["minReadySeconds"]
        && number(&deployment["spec"]["minReadySeconds"], 0)
            != number(&set["spec"]["minReadySeconds"], 0)
    {
        set["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"].clone();
    }
    if set != **new {
        plan.replace(&REPLICA_SETS, set);
        number_deployment(deployment, &now_revision, plan);
        return true;
    }
    number_deployment(deployment, &now_revision, plan);
    false
}

fn number_deployment(deployment: &Value, revision: &str, plan: &mut Plan) {
    if annotation(deployment, REVISION) != Some(revision) {
        let mut deployment = deployment.clone();
        set_annotation(&mut deployment, REVISION, revision);
        plan.replace(&DEPLOYMENTS, deployment);
    }
}

fn build(deployment: &Value, sets: &Sets, limits: Limits, revision: &str) -> Value {
    let hash = short_hash(&deployment["spec"]["template"]);
    let mut template = deployment["spec"]["template"].clone();
    map_at(&mut template["metadata"], "labels").insert(HASH_LABEL.to_owned(), json!(hash));
    let mut selector = deployment["spec"]["selector"].clone();
    map_at(&mut selector, "matchLabels").insert(HASH_LABEL.to_owned(), json!(hash));
    let existing: i64 = sets.old.iter().map(|set| wished(set)).sum();
    let recreating = deployment["spec"]["strategy"]["type"] == "Recreate" && existing > 0;
    let replicas = if recreating {
        0
    } else {
        (limits.desired + limits.surge - existing).clamp(0, limits.desired)
    };
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", name(deployment)),
            "namespace": namespace(deployment),
            "labels": template["metadata"]["labels"],
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    if let Some(seconds) = deployment["spec"]["minReadySeconds"]
        .as_i64()
        .filter(|seconds| *seconds > 0)
    {
        set["spec"]["minReadySeconds"] = json!(seconds);
    }
    copy_annotations(deployment, &mut set);
    set_annotation(&mut set, REVISION, revision);
    set_replica_annotations(&mut set, limits);
    set
}

/// The annotations that tell others how far the set may grow.
pub(super) fn set_replica_annotations(set: &mut Value, limits: Limits) {
    set_annotation(set, DESIRED, limits.desired.to_string());
    set_annotation(set, MAXIMUM, (limits.desired + limits.surge).to_string());
}

fn copy_annotations(deployment: &Value, set: &mut Value) {
    let own: Map<String, Value> = deployment["metadata"]["annotations"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for (key, value) in own {
        if ![LAST_APPLIED, REVISION, HISTORY, DESIRED, MAXIMUM].contains(&key.as_str()) {
            set_annotation(set, &key, value);
        }
    }
}

/// Deletes old sets without Pods, beyond those that `revisionHistoryLimit` keeps.
pub(super) fn forget_old(deployment: &Value, sets: &Sets, plan: &mut Plan) {
    let limit = number(&deployment["spec"]["revisionHistoryLimit"], 10).max(0);
    let idle: Vec<&Arc<Value>> = sets
        .old
        .iter()
        .filter(|set| wished(set) == 0 && number(&set["status"]["replicas"], 0) == 0)
        .collect();
    let excess = idle
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for set in idle.into_iter().take(excess) {
        plan.delete(&REPLICA_SETS, set, None);
    }
}
