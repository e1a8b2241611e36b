//! What tells list items apart.

use serde_json::Value;

use super::View;
use crate::fields::PathElement;
use crate::structural::{ListType, Schema};

/// The path element of an item of a set or keyed list: its value, or its keys with defaults filled in. An error says
/// why the item has none. Lists that are one value have no items.
pub fn list_item(list: &Schema, item: &Value) -> Result<PathElement, String> {
    match &list.list {
        ListType::Atomic => Err("invalid indexing of non-associative list".into()),
        ListType::Set => match item {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".into())
            }
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".into())
            }
            scalar => Ok(PathElement::Value(scalar.clone())),
        },
        ListType::Map(names) => {
            let map = match item {
                Value::Object(map) => map,
                Value::Null => {
                    return Err("associative list with keys may not have a null element".into());
                }
                _ => return Err("associative list with keys may not have non-map elements".into()),
            };
            let mut keys = Vec::new();
            for name in names {
                let default = || list.items.as_ref()?.properties.get(name)?.default();
                if let Some(value) = map.get(name).or_else(default) {
                    keys.push((name.as_str(), value.clone()));
                }
            }
            if keys.is_empty() {
                let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] \
                     (and doesn't have default values for any key fields)",
                    names.join(" ")
                ));
            }
            Ok(PathElement::key(keys))
        }
    }
}

impl View<'_> {
    pub(super) fn item(self, item: &Value) -> Result<PathElement, String> {
        list_item(self.schema, item)
    }
}
