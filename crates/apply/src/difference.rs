//! Whether a dry-run apply would change an object, by Flux's rule: labels, annotations, or anything outside metadata
//! and status.

use fairway_types::kustomization::{IgnoreRule, TargetSelector};
use regex::Regex;
use serde_json::Value;

use crate::managed;

/// Whether the object that a dry-run answered differs from the live one.
pub fn differs(live: &Value, dry_run: &Value, ignored: &[&str]) -> bool {
    let part = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .filter(|value| !is_empty(value))
            .cloned()
    };
    for pointer in ["/metadata/labels", "/metadata/annotations"] {
        let (mut a, mut b) = (part(live, pointer), part(dry_run, pointer));
        for path in ignored.iter().filter_map(|path| path.strip_prefix(pointer)) {
            for map in [&mut a, &mut b].into_iter().flatten() {
                remove(map, path);
            }
        }
        if a.filter(|value| !is_empty(value)) != b.filter(|value| !is_empty(value)) {
            return true;
        }
    }
    if ignored.is_empty() {
        return content(live).ne(content(dry_run));
    }
    let strip = |object: &Value| {
        let mut object = object.clone();
        for path in ignored {
            remove(&mut object, path);
        }
        object
    };
    let (live, dry_run) = (strip(live), strip(dry_run));
    content(&live).ne(content(&dry_run))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn content(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(key, value)| !matches!(key.as_str(), "metadata" | "status") && !value.is_null())
}

/// The paths of the ignore rules that are for this object.
pub fn ignored_paths<'a>(rules: &'a [IgnoreRule], object: &Value) -> Vec<&'a str> {
    rules
        .iter()
        .filter(|rule| {
            rule.target
                .as_ref()
                .is_none_or(|target| selects(target, object))
        })
        .flat_map(|rule| rule.paths.iter().map(String::as_str))
        .collect()
}

fn selects(target: &TargetSelector, object: &Value) -> bool {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, version) = fairway_types::inventory::split_api_version(text("/apiVersion"));
    let fits = |pattern: &Option<String>, value: &str| {
        pattern
            .as_ref()
            .is_none_or(|pattern| matches(pattern, value))
    };
    let chosen = |selector: &Option<String>, pointer: &str| {
        selector.as_ref().is_none_or(|selector| {
            let labels = object
                .pointer(pointer)
                .and_then(|labels| serde_json::from_value(labels.clone()).ok())
                .unwrap_or_default();
            fairway_types::selector::LabelSelector::parse(selector)
                .is_ok_and(|selector| selector.matches(&labels))
        })
    };
    fits(&target.group, group)
        && fits(&target.version, version)
        && fits(&target.kind, text("/kind"))
        && fits(&target.namespace, text("/metadata/namespace"))
        && fits(&target.name, text("/metadata/name"))
        && chosen(&target.label_selector, "/metadata/labels")
        && chosen(&target.annotation_selector, "/metadata/annotations")
}

/// Flux's targets are regular expressions that must match the whole text. One that cannot be read matches nothing.
fn matches(pattern: &str, value: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(value))
}

/// Removes the value at an RFC 6901 pointer.
pub(crate) fn remove(value: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, last) = pointer.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent)? {
        Value::Object(map) => map.remove(&last),
        Value::Array(list) => {
            let index = last
                .parse::<usize>()
                .ok()
                .filter(|index| *index < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
    }
}

/// Takes ignored fields out of what is applied: a field that another apply manager owns is left out; one that is ours
/// alone keeps the value that it has in the cluster, since leaving it out would remove it.
pub fn respect_ignored(object: &mut Value, live: &Value, ignored: &[&str]) {
    for path in ignored {
        let current = live.pointer(path);
        if object.pointer(path) == current {
            continue;
        }
        match current {
            Some(current) if !managed::applied_by_another(live, path) => {
                set(object, path, current.clone());
            }
            _ => {
                remove(object, path);
            }
        }
    }
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return;
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.insert(last, value);
        }
        Some(Value::Array(list)) => {
            if let Some(slot) = last
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get_mut(index))
            {
                *slot = value;
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_managed_counts() {
        let live = json!({"metadata": {"resourceVersion": "1", "labels": {"a": "1"}, "annotations": {}},
                          "spec": {"x": 1}, "status": {"ready": true}});
        let same =
            json!({"metadata": {"resourceVersion": "2", "labels": {"a": "1"}}, "spec": {"x": 1}});
        assert!(!differs(&live, &same, &[]));
        for (pointer, value) in [("/metadata/labels/a", json!("2")), ("/spec/x", json!(2))] {
            let mut other = same.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(differs(&live, &other, &[]), "{pointer}");
            assert!(!differs(&live, &other, &[pointer]), "{pointer} is ignored");
        }
    }

    #[test]
    fn ignore_rules_select_objects() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-1", "namespace": "a", "labels": {"t": "x"}}});
        let rule = |target: Value| IgnoreRule {
            paths: vec!["/spec/replicas".into()],
            target: serde_json::from_value(target).unwrap(),
        };
        for (target, fits) in [
            (json!(null), true),
            (json!({"kind": "Deployment"}), true),
            (json!({"kind": "StatefulSet"}), false),
            (json!({"group": "apps", "name": "web-.*"}), true),
            (json!({"name": "web"}), false),
            (json!({"labelSelector": "t=x"}), true),
            (json!({"labelSelector": "t!=x"}), false),
        ] {
            assert_eq!(
                !ignored_paths(&[rule(target.clone())], &object).is_empty(),
                fits,
                "{target}"
            );
        }
    }

    #[test]
    fn an_ignored_field_keeps_its_value_or_goes_to_its_owner() {
        let desired = json!({"spec": {"replicas": 1, "x": 1}});
        let ours = json!({"spec": {"replicas": 5, "x": 1}, "metadata": {"managedFields": [
            {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}});
        let mut object = desired.clone();
        respect_ignored(&mut object, &ours, &["/spec/replicas"]);
        assert_eq!(object["spec"]["replicas"], 5);

        let theirs = json!({"spec": {"replicas": 5, "x": 1}, "metadata": {"managedFields": [
            {"manager": "hpa", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}});
        let mut object = desired;
        respect_ignored(&mut object, &theirs, &["/spec/replicas"]);
        assert!(object["spec"].get("replicas").is_none());
    }
}
