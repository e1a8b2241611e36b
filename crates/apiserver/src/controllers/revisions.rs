//! ControllerRevisions: the templates that a StatefulSet or DaemonSet had, for `kubectl rollout undo`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::Cache;
use super::object::{controller_reference, name, namespace, number, short_hash};
use super::plan::Plan;
use super::resource::CONTROLLER_REVISIONS;

/// The label on Pods (and revisions) that says which template they are of.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";

/// The hash of the workload's template as it is now.
pub(crate) fn current_hash(workload: &Value) -> String {
    short_hash(&workload["spec"]["template"])
}

/// The name of the revision of a hash.
pub(crate) fn revision_name(workload: &Value, hash: &str) -> String {
    format!("{}-{hash}", name(workload))
}

/// Sees to it that the template as it is now is the latest revision, and forgets old ones that no Pod is of.
pub(crate) fn keep(
    cache: &Cache,
    workload: &Value,
    label_value: &str,
    in_use: &[&str],
    plan: &mut Plan,
) {
    let hash = current_hash(workload);
    let mut known: Vec<&Arc<Value>> = cache.controlled(&CONTROLLER_REVISIONS, workload).collect();
    known.sort_by_key(|revision| number(&revision["revision"], 0));
    let latest = known
        .last()
        .map_or(0, |revision| number(&revision["revision"], 0));
    let wanted = revision_name(workload, &hash);
    match known.iter().find(|revision| name(revision) == wanted) {
        Some(revision) if number(&revision["revision"], 0) == latest => {}
        Some(revision) => {
            let mut revision = (***revision).clone();
            revision["revision"] = json!(latest + 1);
            plan.replace(&CONTROLLER_REVISIONS, revision);
        }
        None => {
            let mut template = workload["spec"]["template"].clone();
            template["$patch"] = json!("replace");
            let mut labels = workload["spec"]["template"]["metadata"]["labels"].clone();
            if !labels.is_object() {
                labels = json!({});
            }
            labels[HASH_LABEL] = json!(label_value);
            let revision = json!({
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": wanted,
                    "namespace": namespace(workload),
                    "labels": labels,
                    "ownerReferences": [controller_reference(workload)],
                },
                "data": {"spec": {"template": template}},
                "revision": latest + 1,
            });
            plan.create(&CONTROLLER_REVISIONS, revision);
        }
    }
    let limit =
        usize::try_from(number(&workload["spec"]["revisionHistoryLimit"], 10)).unwrap_or(10);
    let idle: Vec<&&Arc<Value>> = known
        .iter()
        .filter(|revision| name(revision) != wanted)
        .filter(|revision| {
            !in_use
                .iter()
                .any(|used| revision["metadata"]["labels"][HASH_LABEL] == **used)
        })
        .collect();
    for revision in idle.iter().take(idle.len().saturating_sub(limit)) {
        plan.delete(&CONTROLLER_REVISIONS, revision, None);
    }
}
