//! Whether sets and keyed lists hold each item once.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::error::{FieldError, Reason};
use super::{ListType, OBJECT_META, Schema};

/// Validates that list-type sets and maps hold each item once.
pub fn validate_lists(schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    lists(schema, value, "", &mut errors);
    errors
}

fn lists(schema: &Schema, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(node) = schema
                    .field(name)
                    .filter(|node| node.name != Some(OBJECT_META))
                else {
                    continue;
                };
                let step = match (schema.properties.contains_key(name), path.is_empty()) {
                    (true, true) => name.clone(),
                    (true, false) => format!("{path}.{name}"),
                    (false, _) => format!("{path}[{name}]"),
                };
                lists(node, value, &step, errors);
            }
        }
        Value::Array(list) => {
            match &schema.list {
                ListType::Atomic => {}
                ListType::Set => duplicates(list.clone(), path, errors),
                ListType::Map(keys) => match list
                    .iter()
                    .position(|item| !item.is_object() && !item.is_null())
                {
                    Some(index) => {
                        let detail = "must be an object for an array of list-type map";
                        let path = format!("{path}[{index}]");
                        errors.push(FieldError::with_value(
                            &path,
                            Reason::Invalid,
                            &list[index],
                            detail,
                        ));
                    }
                    None => duplicates(
                        list.iter().map(|item| key_of(item, keys)).collect(),
                        path,
                        errors,
                    ),
                },
            }
            if let Some(items) = &schema.items {
                for (index, item) in list.iter().enumerate() {
                    lists(items, item, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let mut key = json!({});
    for name in keys {
        if let Some(value) = item.get(name) {
            key[name] = value.clone();
        }
    }
    key
}

/// Reports the second occurrence of each value that is there more than once.
fn duplicates(values: Vec<Value>, path: &str, errors: &mut Vec<FieldError>) {
    let (mut seen, mut reported) = (HashSet::new(), HashSet::new());
    for (index, value) in values.into_iter().enumerate() {
        let text = value.to_string();
        if !seen.insert(text.clone()) && reported.insert(text) {
            errors.push(FieldError::with_value(
                &format!("{path}[{index}]"),
                Reason::Duplicate,
                &value,
                "",
            ));
        }
    }
}
