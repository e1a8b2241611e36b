//! Garbage collection: objects whose owners are gone, and deletions that wait for dependents or orphan them.

use serde_json::Value;

use super::cache::{Cache, Key};
use super::object::{finalizers, is_deleting, items, uid};
use super::plan::{Plan, Write};
use super::world::World;
use crate::writer::{Propagation, Scope};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Whether an object needs [`step`] at all.
pub(crate) fn concerns(object: &Value) -> bool {
    items(&object["metadata"]["ownerReferences"])
        .next()
        .is_some()
        || (is_deleting(object)
            && finalizers(object).any(|name| name == ORPHAN || name == FOREGROUND))
}

/// Looks at one object as a dependent and, where it is being deleted, as an owner.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(object) = world.cache.get(key) else {
        return plan;
    };
    if is_deleting(object) {
        finalize(world.cache, key, object, &mut plan);
    }
    if plan.writes.is_empty() && (!is_deleting(object) || waits_for_dependents(object)) {
        collect(world, key, object, &mut plan);
    }
    plan
}

/// Whether the object is deleted only after those that it owns.
fn waits_for_dependents(object: &Value) -> bool {
    is_deleting(object) && finalizers(object).any(|name| name == FOREGROUND)
}

/// Acts on the finalizers of the garbage collector.
fn finalize(cache: &Cache, key: &Key, owner: &Value, plan: &mut Plan) {
    let own_uid = uid(owner);
    if finalizers(owner).any(|name| name == ORPHAN) {
        for dependent in cache.dependents(own_uid) {
            if let Some(object) = cache.get(dependent) {
                let freed = without_owners(object, &|reference| reference["uid"] == own_uid);
                plan.writes
                    .push(Write::Replace(dependent.clone(), freed, Scope::Object));
            }
        }
        plan.writes.push(without_finalizer(key, owner, ORPHAN));
    } else if waits_for_dependents(owner) {
        let blocked = cache.dependents(own_uid).any(|dependent| {
            cache.get(dependent).is_some_and(|object| {
                items(&object["metadata"]["ownerReferences"]).any(|reference| {
                    reference["uid"] == own_uid && reference["blockOwnerDeletion"] == true
                })
            })
        });
        if !blocked {
            plan.writes.push(without_finalizer(key, owner, FOREGROUND));
        }
    }
}

fn without_finalizer(key: &Key, object: &Value, finalizer: &str) -> Write {
    let mut object = object.clone();
    if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
        list.retain(|name| name != finalizer);
    }
    Write::Replace(key.clone(), object, Scope::Object)
}

fn without_owners(object: &Value, drop: &dyn Fn(&Value) -> bool) -> Value {
    let mut object = object.clone();
    if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
        list.retain(|reference| !drop(reference));
    }
    object
}

#[derive(PartialEq, Eq)]
enum Owner {
    /// It is there and stays.
    Solid,
    /// It is gone.
    Absent,
    /// It waits for its dependents to go first.
    Waiting,
}

/// Deletes the object if no owner is left, or drops references to those that are gone.
fn collect(world: &World<'_>, key: &Key, object: &Value, plan: &mut Plan) {
    let references: Vec<&Value> = items(&object["metadata"]["ownerReferences"]).collect();
    if references.is_empty() {
        return;
    }
    let states: Vec<Owner> = references
        .iter()
        .map(|reference| state_of(world, key, reference))
        .collect();
    if states.iter().all(|state| *state == Owner::Solid) {
        return;
    }
    if states.contains(&Owner::Solid) {
        let gone: Vec<&Value> = references
            .iter()
            .zip(&states)
            .filter(|(_, state)| **state != Owner::Solid)
            .map(|(reference, _)| &reference["uid"])
            .collect();
        let kept = without_owners(object, &|reference| gone.contains(&&reference["uid"]));
        plan.writes
            .push(Write::Replace(key.clone(), kept, Scope::Object));
        return;
    }
    if is_deleting(object) {
        return;
    }
    let own_uid = uid(object);
    let foreground =
        states.contains(&Owner::Waiting) && world.cache.dependents(own_uid).next().is_some();
    let propagation = if foreground || finalizers(object).any(|name| name == FOREGROUND) {
        Propagation::Foreground
    } else if finalizers(object).any(|name| name == ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    plan.delete(&key.resource, object, Some(propagation));
}

fn state_of(world: &World<'_>, key: &Key, reference: &Value) -> Owner {
    let owner_uid = reference["uid"].as_str().unwrap_or_default();
    let Some(found) = world.cache.by_uid(owner_uid) else {
        let version = reference["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        // A kind that the cluster does not serve cannot be looked up: its dependents stay.
        let known = (world.serves)(group, reference["kind"].as_str().unwrap_or_default());
        return if known { Owner::Absent } else { Owner::Solid };
    };
    let Some(owner) = world.cache.get(found) else {
        return Owner::Absent;
    };
    if !found.namespace.is_empty() && found.namespace != key.namespace {
        // A cluster-scoped object cannot be owned by a namespaced one; the reference cannot be resolved.
        return if key.namespace.is_empty() {
            Owner::Solid
        } else {
            Owner::Absent
        };
    }
    let named_so =
        owner["metadata"]["name"] == reference["name"] && owner["kind"] == reference["kind"];
    if !named_so {
        return Owner::Absent;
    }
    if waits_for_dependents(owner) {
        Owner::Waiting
    } else {
        Owner::Solid
    }
}

#[cfg(test)]
mod tests;
