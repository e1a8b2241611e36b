//! Moving from client-side to server-side `kubectl apply`.
//!
//! What kubectl applied on the client's side is in an annotation. Fields that still have that value are no conflict
//! for kubectl, and the annotation is kept up to date so that one may move back.

use serde_json::{Map, Value};

use super::conflict::Conflicts;
use crate::fields::FieldSet;
use crate::structural::Schema;
use crate::typed::{self, Duplicates};

/// The field manager of `kubectl apply --server-side`.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotation(object: &Value) -> Option<&str> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations
        .get(ANNOTATION)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// The conflicts that the annotation doesn't allow; none if kubectl may force its way.
pub(super) fn refused(schema: &Schema, live: &Value, conflicts: Conflicts) -> Conflicts {
    let Some(allowed) = unchanged(schema, live) else {
        return conflicts;
    };
    Conflicts(
        conflicts
            .0
            .into_iter()
            .filter(|conflict| !allowed.has(&conflict.path.0))
            .collect(),
    )
}

/// Fields that kubectl applied and that nobody changed since.
fn unchanged(schema: &Schema, live: &Value) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion") != live.get("apiVersion")
        || typed::validate(schema, &last, Duplicates::Refuse).is_err()
    {
        return None;
    }
    let changes = typed::compare(schema, &last, live);
    let applied = typed::field_set(schema, &last);
    Some(
        applied
            .difference(&changes.modified)
            .difference(&changes.added)
            .difference(&changes.removed),
    )
}

/// Writes what is applied into the annotation, where there is one.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    let metadata = config.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(annotations) = metadata
        .and_then(|meta| meta.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.insert(ANNOTATION.into(), format!("{}\n", sorted(&config)).into());
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
