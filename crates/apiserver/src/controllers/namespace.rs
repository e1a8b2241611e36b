//! The end of a namespace: everything in it goes first.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cache::Key;
use super::object::{condition, finalizers, is_deleting, name, stamp};
use super::plan::{Plan, Write};
use super::resource::NAMESPACES;
use super::world::World;
use crate::writer::{Propagation, Scope};

const FINALIZER: &str = "kubernetes";

/// Looks at one namespace.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(namespace) = world.cache.get(key) else {
        return plan;
    };
    let held = namespace["spec"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|f| f == FINALIZER));
    if !is_deleting(namespace) || !held {
        return plan;
    }
    let content = world.cache.in_namespace(name(namespace));
    if content.is_empty() {
        let mut freed = (**namespace).clone();
        if let Some(list) = freed["spec"]["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != FINALIZER);
        }
        plan.writes
            .push(Write::Replace(key.clone(), freed, Scope::Finalize));
        return plan;
    }
    let mut remaining: BTreeMap<String, usize> = BTreeMap::new();
    let mut holding: BTreeMap<String, usize> = BTreeMap::new();
    for key in content {
        let Some(object) = world.cache.get(&key) else {
            continue;
        };
        if is_deleting(object) {
            *remaining
                .entry(format!("{}.{}", key.resource.resource, key.resource.group))
                .or_default() += 1;
            for finalizer in finalizers(object) {
                *holding.entry(finalizer.to_owned()).or_default() += 1;
            }
        } else {
            plan.delete(&key.resource, object, Some(Propagation::Background));
        }
    }
    // What the deletions above leave behind is seen when their events come back here.
    if plan.writes.is_empty() {
        let status = json!({"phase": "Terminating", "conditions": conditions(world, namespace, &remaining, &holding)});
        plan.status(&NAMESPACES, namespace, status);
    }
    plan
}

fn conditions(
    world: &World<'_>,
    namespace: &Value,
    remaining: &BTreeMap<String, usize>,
    holding: &BTreeMap<String, usize>,
) -> Vec<Value> {
    let some = |list: Vec<String>| list.join(", ");
    let resources = some(
        remaining
            .iter()
            .map(|(name, count)| format!("{name} has {count} resource instances"))
            .collect(),
    );
    let names = some(
        holding
            .iter()
            .map(|(name, count)| format!("{name} in {count} resource instances"))
            .collect(),
    );
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        (
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {resources}"),
        ),
        (
            "NamespaceFinalizersRemaining",
            !holding.is_empty(),
            if holding.is_empty() { "ContentHasNoFinalizers" } else { "SomeFinalizersRemain" },
            if holding.is_empty() {
                "All content-preserving finalizers finished".to_owned()
            } else {
                format!("Some content in the namespace has finalizers remaining: {names}")
            },
        ),
    ]
    .into_iter()
    .map(|(kind, holds, reason, message)| {
        let status = if holds { "True" } else { "False" };
        let since = condition(namespace, kind)
            .filter(|known| known["status"] == status)
            .map_or_else(|| stamp(world.now), |known| known["lastTransitionTime"].clone());
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    })
    .collect()
}
