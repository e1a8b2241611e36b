//! Removing fields that a schema doesn't know, as the API server does before it stores a custom resource.

use serde_json::Value;

use super::{Additional, Schema};

/// What to do with unknown fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Remove them.
    Remove,
    /// Leave them, only report.
    Report,
}

/// Finds fields that the schema doesn't know and gives their paths (`spec.list[0].typo`), sorted.
///
/// An object without known fields is free-form in built-in types, and keeps nothing in custom resources.
pub fn prune(schema: &Schema, value: &mut Value, unknown: Unknown) -> Vec<String> {
    let mut walk = Walk {
        unknown,
        path: String::new(),
        found: Vec::new(),
    };
    walk.value(schema, value, schema.name.is_some());
    walk.found.sort();
    walk.found
}

struct Walk {
    unknown: Unknown,
    path: String,
    found: Vec<String>,
}

impl Walk {
    fn within(&mut self, step: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        visit(self);
        self.path.truncate(length);
    }

    fn value(&mut self, schema: &Schema, value: &mut Value, builtin: bool) {
        let builtin = builtin || schema.name.is_some();
        match value {
            Value::Object(map) => {
                if free_form(schema, builtin) {
                    return;
                }
                let mut dropped = Vec::new();
                for (name, value) in map.iter_mut() {
                    if let Some(node) = schema.field(name) {
                        self.within(name, |walk| walk.value(node, value, builtin));
                    } else if matches!(schema.additional, Additional::Absent | Additional::Denied)
                        && !schema.preserve_unknown
                    {
                        self.within(name, |walk| walk.found.push(walk.path.clone()));
                        dropped.push(name.clone());
                    }
                }
                if self.unknown == Unknown::Remove {
                    map.retain(|name, _| !dropped.contains(name));
                }
            }
            Value::Array(list) => {
                let nothing = Schema {
                    preserve_unknown: schema.preserve_unknown,
                    ..Schema::default()
                };
                for (index, value) in list.iter_mut().enumerate() {
                    let items = schema.items.as_ref().map_or(&nothing, |node| node);
                    self.within(&format!("[{index}]"), |walk| {
                        walk.value(items, value, builtin);
                    });
                }
            }
            _ => {}
        }
    }
}

/// Built-in types that take any object: `RawExtension`, `FieldsV1`, `JSON`.
fn free_form(schema: &Schema, builtin: bool) -> bool {
    builtin && schema.properties.is_empty() && matches!(schema.additional, Additional::Absent)
}
