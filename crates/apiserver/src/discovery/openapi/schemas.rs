//! Schemas back in OpenAPI's words. Descriptions are not kept, so `kubectl explain` shows fields and types only.

use fairway_schema::structural::{Additional, ListType, MapType, Node, Schema, Type};
use serde_json::{Map, Value, json};

/// Where named schemas are in a document.
const HOME: &str = "#/components/schemas/";

/// The schemas of one document.
#[derive(Default)]
pub(super) struct Schemas {
    found: Map<String, Value>,
}

impl Schemas {
    /// Adds a kind and everything that it refers to.
    pub(super) fn add_kind(
        &mut self,
        kind: &str,
        version: &str,
        group: &str,
        gvk: &Value,
        schema: &Schema,
    ) {
        let name = schema.name.map_or_else(
            || {
                let mut reversed: Vec<&str> = group.split('.').rev().collect();
                reversed.extend([version, kind]);
                reversed.join(".")
            },
            full_name,
        );
        let mut shown = self.shown(schema);
        shown["x-kubernetes-group-version-kind"] = json!([gvk]);
        self.found.insert(name, shown);
    }

    /// Replaces what is shown of a custom kind by what its author wrote; what all objects have stays.
    pub(super) fn describe(&mut self, kind: &str, version: &str, group: &str, mut written: Value) {
        let mut reversed: Vec<&str> = group.split('.').rev().collect();
        reversed.extend([version, kind]);
        let Some(shown) = self.found.get_mut(&reversed.join(".")) else {
            return;
        };
        if !written["properties"].is_object() {
            written["properties"] = json!({});
        }
        for key in ["apiVersion", "kind", "metadata"] {
            if let Some(common) = shown["properties"].get(key) {
                written["properties"][key] = common.clone();
            }
        }
        let gvk = "x-kubernetes-group-version-kind";
        written[gvk] = shown[gvk].clone();
        *shown = written;
    }

    pub(super) fn into_json(self) -> Value {
        Value::Object(self.found)
    }

    fn shown(&mut self, schema: &Schema) -> Value {
        let mut out = Map::new();
        let word = schema.kind.word();
        if schema.int_or_string {
            out.insert("format".into(), "int-or-string".into());
            out.insert(
                "oneOf".into(),
                json!([{"type": "integer"}, {"type": "string"}]),
            );
        } else if !word.is_empty() {
            out.insert("type".into(), word.into());
        }
        if let Some(format) = &schema.format {
            out.insert("format".into(), format.as_str().into());
        }
        if schema.nullable {
            out.insert("nullable".into(), true.into());
        }
        if schema.preserve_unknown {
            out.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        }
        if !schema.required.is_empty() {
            out.insert("required".into(), json!(schema.required));
        }
        if !schema.properties.is_empty() {
            let properties: Map<String, Value> = schema
                .properties
                .iter()
                .map(|(key, node)| (key.clone(), self.place(node)))
                .collect();
            out.insert("properties".into(), properties.into());
        }
        match &schema.additional {
            Additional::Schema(node) => {
                out.insert("additionalProperties".into(), self.place(node));
            }
            Additional::Allowed => {
                out.insert("additionalProperties".into(), true.into());
            }
            Additional::Absent | Additional::Denied => {}
        }
        if let Some(items) = &schema.items {
            out.insert("items".into(), self.place(items));
        }
        match &schema.list {
            _ if schema.kind != Type::Array => {}
            ListType::Atomic => {
                out.insert("x-kubernetes-list-type".into(), "atomic".into());
            }
            ListType::Set => {
                out.insert("x-kubernetes-list-type".into(), "set".into());
            }
            ListType::Map(keys) => {
                out.insert("x-kubernetes-list-type".into(), "map".into());
                out.insert("x-kubernetes-list-map-keys".into(), json!(keys));
            }
        }
        if let Some(checks) = &schema.checks
            && !checks.enumeration.is_empty()
        {
            out.insert("enum".into(), checks.enumeration.clone().into());
        }
        Value::Object(out)
    }

    /// What holds a value: the value's schema (or a reference to it) and what the place adds.
    fn place(&mut self, node: &Node) -> Value {
        let mut out = match node.name {
            Some(name) => {
                let full = full_name(name);
                if !self.found.contains_key(&full) {
                    // Entered before its fields, as types may refer to themselves.
                    self.found.insert(full.clone(), Value::Null);
                    let shown = self.shown(node);
                    self.found.insert(full.clone(), shown);
                }
                // A reference cannot have neighbours.
                json!({"allOf": [{"$ref": format!("{HOME}{full}")}]})
            }
            None => self.shown(node),
        };
        if let Some(default) = node.default() {
            out["default"] = default.clone();
        }
        if node.map_type() == MapType::Atomic {
            out["x-kubernetes-map-type"] = "atomic".into();
        }
        let patch = node.patch();
        let strategy: Vec<&str> = [(patch.merge, "merge"), (patch.retain_keys, "retainKeys")]
            .into_iter()
            .filter_map(|(set, word)| set.then_some(word))
            .collect();
        if !strategy.is_empty() {
            out["x-kubernetes-patch-strategy"] = strategy.join(",").into();
        }
        if let Some(key) = &patch.merge_key {
            out["x-kubernetes-patch-merge-key"] = key.as_str().into();
        }
        out
    }
}

fn full_name(name: &str) -> String {
    format!("io.k8s.{name}")
}
