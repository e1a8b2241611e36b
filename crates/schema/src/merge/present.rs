//! Fields of built-in types that are always there.
//!
//! Built-in objects pass through Go structs, where nested structs exist even when empty and required lists and maps
//! are at least `null`. So nobody comes to own `spec` by being the first to write into it, unlike in custom resources.

use serde_json::{Value, json};

use crate::structural::{Schema, Type};

/// Required, but left out where they are empty.
const OMITTED: [(&str, &str); 1] = [(
    "api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
    "validationActions",
)];

/// The object with such fields added.
pub(super) fn complete(schema: &Schema, object: &Value) -> Value {
    let mut object = object.clone();
    fill(schema, &mut object);
    object
}

fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            if schema.name.is_some() {
                for (name, node) in &schema.properties {
                    let nested = node.default() == Some(&json!({})) && !node.properties.is_empty();
                    let required = matches!(node.kind, Type::Array | Type::Object)
                        && schema.required.contains(name)
                        && !OMITTED.contains(&(schema.name.unwrap_or_default(), name));
                    if nested && map.get(name).is_none_or(Value::is_null) {
                        map.insert(name.clone(), json!({}));
                    } else if required && !map.contains_key(name) {
                        map.insert(name.clone(), Value::Null);
                    }
                }
            }
            for (name, value) in map {
                if let Some(node) = schema.field(name) {
                    fill(node, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for value in list {
                    fill(items, value);
                }
            }
        }
        _ => {}
    }
}
