//! Reading and building Kubernetes objects that are plain JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::writer::api_time;

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// `metadata.namespace`, empty for cluster-scoped objects.
pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// `metadata.labels`, null where there are none.
pub(crate) fn labels(object: &Value) -> &Value {
    &object["metadata"]["labels"]
}

/// An annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

/// `metadata.generation`.
pub(crate) fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default()
}

/// The finalizers in the metadata.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    items(&object["metadata"]["finalizers"]).filter_map(Value::as_str)
}

/// Whether the object waits for its end.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The elements of an array; none for anything else.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A number in the spec or status, with what it is where nothing is said.
pub(crate) fn number(value: &Value, or: i64) -> i64 {
    value.as_i64().unwrap_or(or)
}

/// A time in an object.
pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A time as objects have it.
pub(crate) fn stamp(now: Timestamp) -> Value {
    Value::String(api_time(now))
}

/// The owner that manages the object.
pub(crate) fn controller_of(object: &Value) -> Option<&Value> {
    items(&object["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true)
}

/// Whether the object is managed by this owner.
pub(crate) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|reference| reference["uid"] == owner["metadata"]["uid"])
}

/// The owner reference that a controller puts on what it makes for `owner`.
pub(crate) fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The map at a key, made where it is missing or something else.
pub(crate) fn map_at<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let entry = &mut object[key];
    if !entry.is_object() {
        *entry = json!({});
    }
    entry
        .as_object_mut()
        .expect("the entry was just made an object")
}

/// Sets an annotation.
pub(crate) fn set_annotation(object: &mut Value, key: &str, value: impl Into<Value>) {
    let metadata = &mut object["metadata"];
    map_at(metadata, "annotations").insert(key.to_owned(), value.into());
}

/// A condition by its type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"]).find(|condition| condition["type"] == kind)
}

/// Whether a condition is `True`.
pub(crate) fn condition_holds(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Drops members that are null, zero or empty: what Go's `omitempty` leaves out.
pub(crate) fn without_empty(mut status: Value) -> Value {
    if let Some(map) = status.as_object_mut() {
        map.retain(|_, value| match value {
            Value::Null => false,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Bool(_) | Value::Object(_) => true,
        });
    }
    status
}

/// Resolves an `IntOrString` of a total: percentages are rounded up or down.
pub(crate) fn share_of(value: &Value, total: i64, round_up: bool) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let percent: i64 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let scaled = percent.checked_mul(total)?;
    Some(if round_up {
        scaled.div_euclid(100) + i64::from(scaled % 100 != 0)
    } else {
        scaled.div_euclid(100)
    })
}

/// A short name for a value that equal values share, in the alphabet of generated names.
pub(crate) fn short_hash(value: &Value) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u32 = 0x811c_9dc5;
    for byte in significant(value).to_string().bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

/// The value without nulls, which `creationTimestamp: null` brings into templates.
fn significant(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), significant(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(significant).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_as_asked() {
        assert_eq!(share_of(&json!("25%"), 10, true), Some(3));
        assert_eq!(share_of(&json!("25%"), 10, false), Some(2));
        assert_eq!(share_of(&json!(4), 10, false), Some(4));
        assert_eq!(share_of(&json!("x"), 10, false), None);
        assert_eq!(share_of(&Value::Null, 10, false), None);
    }

    #[test]
    fn equal_templates_have_one_hash() {
        let template = json!({"metadata": {"labels": {"a": "b"}, "creationTimestamp": null}});
        assert_eq!(
            short_hash(&template),
            short_hash(&json!({"metadata": {"labels": {"a": "b"}}}))
        );
        assert_ne!(
            short_hash(&template),
            short_hash(&json!({"metadata": {"labels": {"a": "c"}}}))
        );
    }
}
