//! `metadata.managedFields`: who owns what, and taking fields over from kubectl as Flux does.

use fairway_types::names::{self, FIELD_MANAGER};
use serde_json::{Map, Value, json};

/// Annotations of other engines that are removed when an object is taken over.
const OBSOLETE_ANNOTATIONS: [&str; 3] = [
    names::LAST_APPLIED,
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
];
/// Labels of other engines that are removed when an object is taken over.
const OBSOLETE_LABELS: [&str; 1] = ["fluxcd.io/sync-gc-mark"];

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn entries(object: &Value) -> &[Value] {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Whether an entry's fields are taken over: everything of managers whose name starts with `kubectl`, what existed
/// before the first apply, and what our own manager wrote without apply. Status and scale are left alone.
fn is_taken_over(entry: &Value) -> bool {
    let manager = text(entry, "manager");
    let update = text(entry, "operation") == "Update";
    text(entry, "subresource").is_empty()
        && (manager.starts_with("kubectl")
            || (update
                && (manager.starts_with("before-first-apply")
                    || manager.starts_with(FIELD_MANAGER))))
}

fn is_ours(entry: &Value) -> bool {
    text(entry, "manager") == FIELD_MANAGER
        && text(entry, "operation") == "Apply"
        && text(entry, "subresource").is_empty()
}

/// The fields (`fieldsV1`) that our applies own.
pub fn own_fields(object: &Value) -> Option<&Value> {
    entries(object)
        .iter()
        .find(|entry| is_ours(entry))
        .and_then(|entry| entry.get("fieldsV1"))
}

/// The other managers whose fields the next apply takes over, by name.
pub fn intruders(object: &Value) -> Vec<&str> {
    let mut managers: Vec<_> = entries(object)
        .iter()
        .filter(|entry| is_taken_over(entry))
        .map(|entry| text(entry, "manager"))
        .filter(|manager| *manager != FIELD_MANAGER)
        .collect();
    managers.sort_unstable();
    managers.dedup();
    managers
}

/// The manager other than ours that wrote last, for telling who changed something.
pub fn last_writer(object: &Value) -> Option<&str> {
    entries(object)
        .iter()
        .filter(|entry| !is_ours(entry) && text(entry, "subresource") != "status")
        .max_by_key(|entry| text(entry, "time"))
        .map(|entry| text(entry, "manager"))
        .filter(|manager| !manager.is_empty())
}

/// Whether another manager applies (not merely updates) the field at an RFC 6901 pointer.
pub fn applied_by_another(object: &Value, pointer: &str) -> bool {
    entries(object)
        .iter()
        .filter(|entry| text(entry, "operation") == "Apply" && !is_ours(entry))
        .filter_map(|entry| entry.get("fieldsV1"))
        .any(|fields| owns(fields, object, pointer))
}

fn owns(fields: &Value, object: &Value, pointer: &str) -> bool {
    let (mut fields, mut value) = (fields, object);
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let child = match value {
            Value::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => value.get(&step),
        };
        let Some(child) = child else { return false };
        let below = match value {
            Value::Array(_) => fields.as_object().and_then(|fields| {
                fields
                    .iter()
                    .find(|(key, _)| is_key_of(key, child))
                    .map(|(_, below)| below)
            }),
            _ => fields.get(format!("f:{step}")),
        };
        match below {
            // A leaf owns all that is below it.
            Some(below) if below.as_object().is_some_and(Map::is_empty) => return true,
            Some(below) => (fields, value) = (below, child),
            None => return false,
        }
    }
    true
}

/// Whether a step of a field set (`k:{"name":"web"}` or `v:"text"`) means this item of a list.
pub(crate) fn is_key_of(step: &str, item: &Value) -> bool {
    if let Some(keys) = step.strip_prefix("k:") {
        let Ok(Value::Object(keys)) = serde_json::from_str(keys) else {
            return false;
        };
        return keys.iter().all(|(key, value)| item.get(key) == Some(value));
    }
    match step.strip_prefix("v:") {
        Some(value) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        None => false,
    }
}

/// RFC 6902 operations that make what kubectl set ours, so that the next apply can change and remove it; none where
/// there is nothing to take over.
pub fn takeover(object: &Value) -> Option<Value> {
    let mut operations = Vec::new();
    for (place, keys) in [
        ("annotations", &OBSOLETE_ANNOTATIONS[..]),
        ("labels", &OBSOLETE_LABELS[..]),
    ] {
        for key in keys {
            if object
                .get("metadata")
                .and_then(|m| m.get(place))
                .and_then(|map| map.get(key))
                .is_some()
            {
                let key = key.replace('~', "~0").replace('/', "~1");
                operations
                    .push(json!({"op": "remove", "path": format!("/metadata/{place}/{key}")}));
            }
        }
    }
    if entries(object).iter().any(is_taken_over) {
        // The version guards against a change between the read and this write.
        if let Some(version) = object.pointer("/metadata/resourceVersion") {
            operations
                .push(json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
        }
        operations.push(
            json!({"op": "replace", "path": "/metadata/managedFields", "value": rewritten(object)}),
        );
    }
    (!operations.is_empty()).then(|| operations.into())
}

/// RFC 6902 operations that make every owner's entry one of this API version; none where all are.
///
/// A definition may get a version that defaults fields which an older one does not have: an entry of the older one then
/// makes every apply fail.
pub fn migration(object: &Value, api_version: &str) -> Option<Value> {
    let entries = entries(object);
    if entries
        .iter()
        .all(|entry| text(entry, "apiVersion") == api_version)
    {
        return None;
    }
    let mut migrated = entries.to_vec();
    for entry in &mut migrated {
        entry["apiVersion"] = api_version.into();
    }
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": object.pointer("/metadata/resourceVersion")},
        {"op": "replace", "path": "/metadata/managedFields", "value": migrated},
    ]))
}

fn rewritten(object: &Value) -> Vec<Value> {
    let mut kept = Vec::new();
    let mut ours: Option<Value> = None;
    for entry in entries(object) {
        if !is_ours(entry) && !is_taken_over(entry) {
            kept.push(entry.clone());
            continue;
        }
        match &mut ours {
            Some(ours) => {
                if is_ours(entry) {
                    // Our own entry says which version its fields are of.
                    ours["apiVersion"] = entry.get("apiVersion").cloned().unwrap_or_default();
                }
                let fields = entry.get("fieldsV1").cloned().unwrap_or_default();
                union(&mut ours["fieldsV1"], fields);
            }
            None => {
                let mut entry = entry.clone();
                entry["manager"] = FIELD_MANAGER.into();
                entry["operation"] = "Apply".into();
                ours = Some(entry);
            }
        }
    }
    kept.extend(ours);
    kept
}

/// Union of two field sets: they are trees whose leaves are empty objects.
fn union(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, fields) in other {
                union(
                    into.entry(key).or_insert_with(|| Value::Object(Map::new())),
                    fields,
                );
            }
        }
        (into, other) if into.is_null() => *into = other,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn kubectl_is_taken_over_and_others_are_not() {
        let object = json!({"metadata": {
            "resourceVersion": "7",
            "annotations": {names::LAST_APPLIED: "{}", "keep": "me"},
            "managedFields": [
                entry("kubectl-edit", "Update", json!({"f:data": {"f:a": {}}})),
                entry("kustomize-controller", "Apply", json!({"f:data": {".": {}, "f:b": {}}})),
                entry("vpa", "Apply", json!({"f:data": {"f:c": {}}})),
                {"manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": {}},
            ],
        }});
        let operations = takeover(&object).unwrap();
        assert_eq!(
            operations[0],
            json!({"op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"})
        );
        assert_eq!(operations[1]["op"], "test");
        let managed = &operations[2]["value"];
        let managers: Vec<_> = managed
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| text(entry, "manager"))
            .collect();
        assert_eq!(managers, ["vpa", "kubectl", "kustomize-controller"]);
        assert_eq!(
            managed[2]["fieldsV1"],
            json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
        );
        assert_eq!(managed[2]["operation"], "Apply");
        assert_eq!(intruders(&object), ["kubectl-edit"]);
    }

    #[test]
    fn entries_of_an_older_version_are_migrated_whoever_owns_them() {
        let mut object = json!({"metadata": {"resourceVersion": "7", "managedFields": [
            entry("kustomize-controller", "Apply", json!({"f:spec": {}})),
            {"manager": "other", "operation": "Update", "subresource": "status", "apiVersion": "example.com/v1", "fieldsV1": {}},
        ]}});
        let operations = migration(&object, "example.com/v2").unwrap();
        assert_eq!(
            operations[0]["value"], "7",
            "what changed meanwhile is not written over"
        );
        let migrated = operations[1]["value"].clone();
        assert_eq!(migrated[0]["fieldsV1"], json!({"f:spec": {}}));
        assert_eq!(migrated[1]["subresource"], "status");
        object["metadata"]["managedFields"] = migrated;
        assert_eq!(migration(&object, "example.com/v2"), None);
    }

    #[test]
    fn an_untouched_object_needs_no_takeover() {
        let object = json!({"metadata": {"managedFields": [
            entry("kustomize-controller", "Apply", json!({"f:data": {}})),
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}},
        ]}});
        assert_eq!(takeover(&object), None);
        assert!(intruders(&object).is_empty());
        assert_eq!(own_fields(&object), Some(&json!({"f:data": {}})));
    }

    #[test]
    fn our_own_updates_become_applies() {
        let object = json!({"metadata": {"managedFields": [
            entry("before-first-apply", "Update", json!({"f:data": {"f:a": {}}})),
            entry("kustomize-controller", "Update", json!({"f:data": {"f:b": {}}})),
        ]}});
        let operations = takeover(&object).unwrap();
        let managed = operations[0]["value"].as_array().unwrap();
        assert_eq!(managed.len(), 1);
        assert_eq!(
            managed[0]["fieldsV1"],
            json!({"f:data": {"f:a": {}, "f:b": {}}})
        );
    }
}
