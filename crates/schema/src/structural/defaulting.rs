//! Filling in defaults, as the API server does for custom resources.

use serde_json::Value;

use super::{Additional, Node, Schema};

/// Puts defaults where fields are absent, or `null` though not nullable. Depth first from the outside, so a default
/// object is itself completed.
///
/// In built-in types only defaults other than zero values count; most of their defaulting is code, not schema.
pub fn default(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, node) in &schema.properties {
                let Some(default) = node.default() else {
                    continue;
                };
                if schema.name.is_some() && is_zero(default) {
                    continue;
                }
                if map
                    .get(name)
                    .is_none_or(|value| value.is_null() && !node.nullable)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(node) = schema.properties.get(name) {
                    self::default(node, value);
                } else if let Additional::Schema(node) = &schema.additional {
                    fill_null(node, value);
                    self::default(node, value);
                }
            }
        }
        Value::Array(list) => {
            let Some(node) = &schema.items else { return };
            for value in list {
                fill_null(node, value);
                default(node, value);
            }
        }
        _ => {}
    }
}

fn fill_null(node: &Node, value: &mut Value) {
    if let (Value::Null, false, Some(default)) = (&*value, node.nullable, node.default()) {
        *value = default.clone();
    }
}

/// Removes fields that are `null` though their schema is not nullable and has no default. List items stay.
pub fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                let node = schema.field(name);
                !(value.is_null()
                    && node.is_some_and(|node| !node.nullable && node.default().is_none()))
            });
            for (name, value) in map {
                drop_nulls(
                    schema.field(name).map_or(Schema::unknown(), |node| node),
                    value,
                );
            }
        }
        Value::Array(list) => {
            let items = schema.items.as_ref().map_or(Schema::unknown(), |node| node);
            for value in list {
                drop_nulls(items, value);
            }
        }
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(value) => !value,
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
