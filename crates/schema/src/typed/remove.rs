//! Taking fields out of objects, and objects out of fields.

use serde_json::{Map, Value};

use super::{Shape, View};
use crate::fields::{FieldSet, PathElement};
use crate::structural::Schema;

/// The object without the fields of a set. A container that is emptied this way becomes `null`, unless it is in the
/// set itself.
pub fn remove(schema: &Schema, value: &Value, fields: &FieldSet) -> Value {
    walk(View::from(schema), value, fields, Keep::Rest)
}

/// Only the fields of a set, with the keys of list items.
pub fn extract(schema: &Schema, value: &Value, fields: &FieldSet) -> Value {
    walk(View::from(schema), value, fields, Keep::Fields)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Fields,
    Rest,
}

fn walk(view: View<'_>, value: &Value, fields: &FieldSet, keep: Keep) -> Value {
    // What can't be taken apart is kept whole or not at all.
    let whole = || {
        if keep == Keep::Fields {
            value.clone()
        } else {
            Value::Null
        }
    };
    match (view.shape(value), value) {
        (Shape::Scalar, scalar) => scalar.clone(),
        (Shape::Map, Value::Object(map)) if !map.is_empty() && !view.atomic_map() => {
            map_fields(view, map, fields, keep)
        }
        (Shape::List, Value::Array(list)) if !list.is_empty() && !view.atomic_list() => {
            items(view, list, fields, keep)
        }
        (Shape::Map, Value::Object(_)) | (Shape::List, Value::Array(_)) => whole(),
        _ => Value::Null,
    }
}

fn map_fields(view: View<'_>, map: &Map<String, Value>, fields: &FieldSet, keep: Keep) -> Value {
    let mut left = Map::new();
    for (key, value) in map {
        let element = PathElement::field(key.as_str());
        let below = fields.below(&element);
        let inner = view.field_or_deduced(key);
        let value = match (
            fields.has(std::slice::from_ref(&element)),
            below.is_empty(),
            keep,
        ) {
            (true, _, Keep::Rest) => continue,
            (_, false, _) => walk(inner, value, below, keep),
            (true, true, Keep::Fields) | (false, true, Keep::Rest) => value.clone(),
            (false, true, Keep::Fields) => continue,
        };
        left.insert(key.clone(), value);
    }
    if left.is_empty() {
        Value::Null
    } else {
        Value::Object(left)
    }
}

fn items(view: View<'_>, list: &[Value], fields: &FieldSet, keep: Keep) -> Value {
    let mut left = Vec::new();
    for item in list {
        let Ok(element) = view.item(item) else {
            if keep == Keep::Rest {
                left.push(item.clone());
            }
            continue;
        };
        let below = fields.below(&element);
        match (
            fields.has(std::slice::from_ref(&element)),
            below.is_empty(),
            keep,
        ) {
            (true, _, Keep::Rest) | (false, true, Keep::Fields) => {}
            (false, true, Keep::Rest) | (true, true, Keep::Fields) => left.push(item.clone()),
            (_, false, _) => left.push(walk(view.items(), item, below, keep)),
        }
    }
    if left.is_empty() {
        Value::Null
    } else {
        Value::Array(left)
    }
}
