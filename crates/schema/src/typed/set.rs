//! The fields that an object names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Shape, View};
use crate::fields::{FieldSet, PathElement};
use crate::structural::Schema;

/// All leaf fields and list items of an object: what its applier owns.
pub fn field_set(schema: &Schema, value: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    walk(View::from(schema), value, &mut Vec::new(), &mut set);
    set
}

fn walk(view: View<'_>, value: &Value, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match view.shape(value) {
        Shape::Scalar => set.insert(path),
        Shape::Map if view.atomic_map() => set.insert(path),
        Shape::List if view.atomic_list() => set.insert(path),
        Shape::Map => {
            let Some(map) = value.as_object() else { return };
            for (key, value) in map {
                path.push(PathElement::field(key.as_str()));
                walk(view.field_or_deduced(key), value, path, set);
                let empty =
                    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                if empty || !view.declares(key) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::List => {
            let Some(list) = value.as_array() else { return };
            let mut elements: BTreeMap<PathElement, Vec<&Value>> = BTreeMap::new();
            for item in list {
                if let Ok(element) = view.item(item) {
                    elements.entry(element).or_default().push(item);
                }
            }
            for (element, items) in elements {
                path.push(element);
                set.insert(path);
                // Items that are there twice are owned as a whole.
                if let [item] = items[..] {
                    walk(view.items(), item, path, set);
                }
                path.pop();
            }
        }
    }
}
