//! What creating and updating do to an object.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::meta::{drop_nulls, finalizers, is_held, keep, set_or_remove};
use super::{Scope, api_time, is_deleting, metadata, names, new_uid, random_suffix};
use crate::defaults;
use crate::resources::{Origin, Resource};
use crate::status::{ApiError, FieldError};
use crate::store::Change;

/// Makes an object ready for its creation: name, uid, times, generation, defaults.
pub(crate) fn prepare_create(resource: &Resource, mut object: Value) -> Value {
    let meta = metadata(&mut object);
    if meta
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
        && let Some(prefix) = meta
            .get("generateName")
            .and_then(Value::as_str)
            .filter(|p| !p.is_empty())
    {
        // The API server cuts the prefix so that five random characters fit into 63.
        let cut = prefix.len().min(58);
        let cut = prefix.floor_char_boundary(cut);
        let name = format!("{}{}", &prefix[..cut], random_suffix());
        meta.insert("name".into(), name.into());
    }
    for system in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        meta.remove(system);
    }
    if !resource.namespaced {
        meta.remove("namespace");
    }
    meta.insert("uid".into(), new_uid().into());
    meta.insert(
        "creationTimestamp".into(),
        api_time(Timestamp::now()).into(),
    );
    if resource.generation {
        meta.insert("generation".into(), 1.into());
    } else {
        meta.remove("generation");
    }
    drop_nulls(meta);
    defaults::fill(resource, &mut object);
    object
}

/// Applies the rules of an update: system metadata is kept, the other side of a subresource too, and the
/// generation counts a change of the wished state.
pub(crate) fn prepare_update(
    resource: &Resource,
    current: &Value,
    mut object: Value,
    scope: Scope,
) -> Result<Value, ApiError> {
    let (_, name) = names(current);
    match scope {
        Scope::Object => {
            if resource.has_status() {
                keep(current, &mut object, "status");
            }
        }
        Scope::Status => {
            let status = object.get("status").cloned();
            let sent = object.get("metadata").cloned();
            object = current.clone();
            set_or_remove(&mut object, "status", status);
            if resource.origin == Origin::Builtin {
                // Controllers of built-in kinds write annotations and finalizers along with the status.
                set_or_remove(&mut object, "metadata", sent);
                if &*resource.id.group == "apps" {
                    let labels = current["metadata"].get("labels").cloned();
                    match labels {
                        Some(labels) => metadata(&mut object).insert("labels".into(), labels),
                        None => metadata(&mut object).remove("labels"),
                    };
                }
                defaults::condition_times(resource, &mut object);
            } else if let Some(managed) = sent.as_ref().and_then(|meta| meta.get("managedFields")) {
                metadata(&mut object).insert("managedFields".into(), managed.clone());
            }
        }
        Scope::Binding => {}
        Scope::Finalize => {
            let finalizers = object.pointer("/spec/finalizers").cloned();
            let sent = object.get("metadata").cloned();
            object = current.clone();
            set_or_remove(&mut object, "metadata", sent);
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                match finalizers.filter(|list| list.as_array().is_some_and(|l| !l.is_empty())) {
                    Some(list) => spec.insert("finalizers".into(), list),
                    None => spec.remove("finalizers"),
                };
            }
            defaults::fill(resource, &mut object);
        }
    }
    let old_meta = &current["metadata"];
    let meta = metadata(&mut object);
    if let Some(uid) = meta.get("uid").and_then(Value::as_str)
        && !uid.is_empty()
        && old_meta["uid"] != uid
    {
        let (space, _) = names(current);
        let key = [&*resource.id.resource, space, name]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old_meta["uid"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict(&resource.id, name, &why));
    }
    for system in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ] {
        match old_meta.get(system) {
            Some(value) => meta.insert(system.into(), value.clone()),
            None => meta.remove(system),
        };
    }
    meta.remove("selfLink");
    drop_nulls(meta);
    if is_deleting(current) {
        let added: Vec<&str> = finalizers(&object)
            .filter(|f| !finalizers(current).any(|old| old == *f))
            .collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let error = FieldError::forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    list.join(", ")
                ),
            );
            // Checked twice, and told twice.
            return Err(ApiError::invalid(
                &resource.id.group,
                &resource.kind,
                name,
                &[error.clone(), error],
            ));
        }
    }
    if scope == Scope::Object {
        defaults::carry_over(resource, current, &mut object);
        defaults::fill(resource, &mut object);
    }
    if resource.generation && scope == Scope::Object && wish_changed(resource, current, &object) {
        let next = current["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata(&mut object).insert("generation".into(), next.into());
    }
    Ok(object)
}

/// What an update comes to: nothing, a new state, or (the last finalizer went) the end.
pub(super) fn outcome(current: &Value, object: Value) -> Change {
    if is_deleting(&object) && !is_held(&object) {
        return Change::Remove(object);
    }
    if same(current, &object) {
        return Change::Keep;
    }
    Change::Put(object)
}

/// Equal but for the times in `managedFields`, which alone are no reason to write.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else {
        return left == right;
    };
    left.len() == right.len()
        && left.iter().all(|(key, value)| {
            right.get(key).is_some_and(|other| {
                if key == "metadata" {
                    same_metadata(value, other)
                } else {
                    value == other
                }
            })
        })
}

fn same_metadata(left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else {
        return left == right;
    };
    left.len() == right.len()
        && left.iter().all(|(key, value)| {
            right.get(key).is_some_and(|other| {
                if key == "managedFields" {
                    timeless(value) == timeless(other)
                } else {
                    value == other
                }
            })
        })
}

fn timeless(managed: &Value) -> Vec<Map<String, Value>> {
    managed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(|entry| {
            entry
                .iter()
                .filter(|(key, _)| *key != "time")
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
        .collect()
}

/// Whether anything changed that a controller has to act on: everything but metadata and status. Deployments
/// count their annotations too.
fn wish_changed(resource: &Resource, current: &Value, object: &Value) -> bool {
    let wish = |value: &Value| -> Map<String, Value> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| match key.as_str() {
                "metadata" | "apiVersion" | "kind" => false,
                "status" => !resource.has_status(),
                _ => true,
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if wish(current) != wish(object) {
        return true;
    }
    resource.is("apps", "deployments") && annotations(current) != annotations(object)
}

/// Annotations but for the one that the deployment controller keeps, which is no wish.
fn annotations(object: &Value) -> Vec<(&String, &Value)> {
    object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "deployment.kubernetes.io/revision")
        .collect()
}
