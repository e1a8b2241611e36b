//! What of a cluster must stay as it is when one engine takes over from another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Id};

/// The label that says whose an object is.
const OWNER: &str = "kustomize.toolkit.fluxcd.io/name";

/// The managed objects of one cluster: identity, generation, resource version and field managers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Managed(pub(crate) BTreeMap<Id, Value>);

impl Managed {
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let mut found = BTreeMap::new();
        for (id, object) in cluster.everything().await {
            // What controllers of the cluster derive from an object takes its labels.
            let is_derived = object["metadata"]["ownerReferences"].is_array()
                || id.0.starts_with("Endpoint")
                || ["Kustomization", "GitRepository"].contains(&id.0.as_str());
            if is_derived || object["metadata"]["labels"][OWNER].is_null() {
                continue;
            }
            let metadata = &object["metadata"];
            let managers: Vec<Value> = metadata["managedFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| {
                    json!([
                        entry["manager"],
                        entry["operation"],
                        entry["subresource"],
                        entry["fieldsV1"]
                    ])
                })
                .collect();
            let kept = json!({
                "uid": metadata["uid"], "generation": metadata["generation"],
                "resourceVersion": metadata["resourceVersion"], "managers": managers,
            });
            found.insert(id, kept);
        }
        Self(found)
    }
}

/// The Kustomizations or GitRepositories of the hub as people and other engines see them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statuses(pub(crate) BTreeMap<String, Value>);

impl Statuses {
    /// Of Kustomizations: what was applied, and what is said of it. Times and counts of attempts are left out.
    pub(crate) async fn of_kustomizations(hub: &Cluster) -> Self {
        let list = hub.list("Kustomization", "").await;
        let seen = list.iter().map(|object| {
            let status = &object["status"];
            let seen = json!({
                "uid": object["metadata"]["uid"],
                "generation": object["metadata"]["generation"],
                "finalizers": object["metadata"]["finalizers"],
                "spec": object["spec"],
                "observedGeneration": status["observedGeneration"],
                "lastAppliedRevision": status["lastAppliedRevision"],
                "lastAttemptedRevision": status["lastAttemptedRevision"],
                "inventory": status["inventory"],
                "conditions": conditions(status),
            });
            (name(object), seen)
        });
        Self(seen.collect())
    }

    /// Of GitRepositories.
    pub(crate) async fn of_sources(hub: &Cluster) -> Self {
        let list = hub.list("GitRepository", "").await;
        let seen = list.iter().map(|object| {
            let status = &object["status"];
            let seen = json!({
                "uid": object["metadata"]["uid"],
                "generation": object["metadata"]["generation"],
                "finalizers": object["metadata"]["finalizers"],
                "spec": object["spec"],
                "observedGeneration": status["observedGeneration"],
                "revision": status["artifact"]["revision"],
                "conditions": conditions(status),
            });
            (name(object), seen)
        });
        Self(seen.collect())
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// Type, status, reason, message and generation of each; how long a health check took is nobody's promise.
fn conditions(status: &Value) -> Vec<Value> {
    let all = status["conditions"].as_array().into_iter().flatten();
    let mut seen: Vec<Value> = all
        .map(|c| {
            let message = c["message"].as_str().unwrap_or_default();
            let message = match message.split_once("passed in ") {
                Some((before, _)) => format!("{before}passed in …"),
                None => message.to_owned(),
            };
            json!([
                c["type"],
                c["status"],
                c["reason"],
                message,
                c["observedGeneration"]
            ])
        })
        .collect();
    seen.sort_by_key(Value::to_string);
    seen
}

/// Where two maps differ, for people; empty where they don't.
pub(crate) fn differences<K: Ord + std::fmt::Debug>(
    before: &BTreeMap<K, Value>,
    after: &BTreeMap<K, Value>,
) -> String {
    let mut text = String::new();
    for (key, old) in before {
        match after.get(key) {
            None => writeln!(text, "{key:?} is gone").unwrap(),
            Some(new) if new != old => {
                for (field, value) in old.as_object().unwrap() {
                    if new[field] != *value {
                        writeln!(
                            text,
                            "{key:?} {field}:\n  was {value}\n  is  {}",
                            new[field]
                        )
                        .unwrap();
                    }
                }
            }
            Some(_) => {}
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(key)) {
        writeln!(text, "{key:?} is new").unwrap();
    }
    text
}
