//! Reading and writing the metadata of objects.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Namespace (empty for cluster-scoped objects) and name of an object.
pub fn names(object: &Value) -> (&str, &str) {
    let meta = &object["metadata"];
    (
        meta["namespace"].as_str().unwrap_or_default(),
        meta["name"].as_str().unwrap_or_default(),
    )
}

/// Whether somebody asked for the object to be deleted.
pub fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
}

/// A time as object metadata has it: RFC 3339, whole seconds, UTC.
pub fn api_time(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

/// The finalizers of an object.
pub(super) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Namespaces wait for their content too, by a finalizer that lives in their spec.
pub(super) fn is_held(object: &Value) -> bool {
    finalizers(object).next().is_some()
        || (object["kind"] == "Namespace"
            && object["apiVersion"] == "v1"
            && object
                .pointer("/spec/finalizers")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty()))
}

/// The metadata of an object, made if it is missing.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let meta = &mut object["metadata"];
    if !meta.is_object() {
        *meta = json!({});
    }
    meta.as_object_mut()
        .expect("metadata was just made an object")
}

/// Removes what is null or empty, as Go's encoder leaves it out.
pub(super) fn drop_nulls(meta: &mut Map<String, Value>) {
    // An empty list of managed fields is a wish: to start over.
    meta.retain(|key, value| {
        (key == "managedFields" && value.is_array())
            || !value.is_null()
                && value.as_array().is_none_or(|list| !list.is_empty())
                && value.as_object().is_none_or(|map| !map.is_empty())
    });
}

/// Takes a top-level field over from another state.
pub(super) fn keep(current: &Value, object: &mut Value, key: &str) {
    set_or_remove(object, key, current.get(key).cloned());
}

/// Sets or removes a top-level field.
pub(super) fn set_or_remove(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(key.into(), value),
            None => map.remove(key),
        };
    }
}
