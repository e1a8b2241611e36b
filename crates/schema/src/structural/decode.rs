//! Strict decoding of built-in types: what the API server's JSON decoder would say.

use serde_json::Value;

use super::prune::{Unknown, prune};
use super::{Additional, Schema, Type};

/// A value that can't be decoded into the Go type behind a built-in schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("json: cannot unmarshal {found} into Go {place} of type {expected}")]
pub struct DecodeError {
    /// Path of the field without list indexes and map keys: `spec.template.spec.containers.name`.
    pub field: String,
    /// `string`, `number 1.5`, `object`, ….
    pub found: String,
    /// `struct field Container.spec.template.spec.containers.name`, or `value`.
    pub place: String,
    /// The Go type: `int32`, `[]v1.Container`, ….
    pub expected: String,
}

/// Fields that the schema doesn't know, as paths like `spec.template.spec.containers[0].typo`, sorted.
pub fn unknown_fields(schema: &Schema, value: &Value) -> Vec<String> {
    prune(schema, &mut value.clone(), Unknown::Report)
}

/// The first value of another JSON type than the schema of a built-in type has.
pub fn decode_error(schema: &Schema, value: &Value) -> Option<DecodeError> {
    find(schema, value, "", &mut Vec::new())
}

fn find<'v>(
    schema: &Schema,
    value: &'v Value,
    owner: &str,
    path: &mut Vec<&'v str>,
) -> Option<DecodeError> {
    let fits = match (schema.kind, value) {
        (_, Value::Null) | (Type::Any, _) => true,
        (Type::Object, Value::Object(_)) | (Type::Array, Value::Array(_)) => true,
        (Type::String, Value::String(_)) | (Type::Boolean, Value::Bool(_)) => true,
        (Type::Number, Value::Number(_)) => true,
        (Type::Integer, Value::Number(number)) => fits_integer(schema, number),
        _ => false,
    };
    if !fits {
        let field = path.join(".");
        let place = if owner.is_empty() {
            "value".to_owned()
        } else {
            format!("struct field {owner}.{field}")
        };
        return Some(DecodeError {
            place,
            field,
            found: describe(schema, value),
            expected: go_type(schema),
        });
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let Some(node) = schema.properties.get(name) else {
                return find(schema.field(name)?, value, owner, path);
            };
            path.push(name);
            let found = find(node, value, struct_name(schema), path);
            path.pop();
            found
        }),
        Value::Array(list) => {
            let items = schema.items.as_ref()?;
            list.iter()
                .find_map(|value| find(items, value, owner, path))
        }
        _ => None,
    }
}

fn fits_integer(schema: &Schema, number: &serde_json::Number) -> bool {
    match schema.format.as_deref() {
        Some("int32") => number
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        _ => number.as_i64().is_some(),
    }
}

fn describe(schema: &Schema, value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if schema.kind == Type::Integer => format!("number {number}"),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    }
}

fn struct_name(schema: &Schema) -> &str {
    schema
        .name
        .and_then(|name| name.rsplit('.').next())
        .unwrap_or_default()
}

fn go_type(schema: &Schema) -> String {
    if let Some(name) = schema.name {
        let mut parts = name.rsplit('.');
        let (kind, package) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        return format!("{package}.{kind}");
    }
    match (schema.kind, schema.format.as_deref()) {
        (Type::Integer, Some("int32")) => "int32".into(),
        (Type::Integer, _) => "int64".into(),
        (Type::Number, _) => "float64".into(),
        (Type::Boolean, _) => "bool".into(),
        (Type::String, Some("byte")) => "[]uint8".into(),
        (Type::String | Type::Any, _) => "string".into(),
        (Type::Array, _) => format!(
            "[]{}",
            schema
                .items
                .as_ref()
                .map_or("string".into(), |items| go_type(items))
        ),
        (Type::Object, _) => match &schema.additional {
            Additional::Schema(node) => format!("map[string]{}", go_type(node)),
            _ => "map[string]interface {}".into(),
        },
    }
}
