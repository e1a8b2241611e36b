//! Reading schemas from OpenAPI v3 JSON.

use serde_json::{Map, Value};

use super::{
    Additional, Checks, ListType, MapType, Node, Patch, Pattern, Place, Schema, Target, Type,
};
use crate::builtin;

/// A schema that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct ParseError {
    /// Where in the schema: `properties[spec].items`.
    pub path: String,
    /// What is wrong there.
    pub what: String,
}

/// Nesting that no real schema has; deeper ones are refused instead of overflowing the stack.
const MAX_DEPTH: usize = 100;

struct Parser {
    path: Vec<String>,
}

impl Schema {
    /// Reads an OpenAPI v3 schema. `$ref` may name built-in definitions without `io.k8s.`.
    pub fn from_openapi_v3(value: &Value) -> Result<Schema, ParseError> {
        Parser { path: Vec::new() }.schema(value, false)
    }

    /// Reads `openAPIV3Schema` of a custom resource definition and adds what every object has: `apiVersion`, `kind`
    /// and `metadata`. `preserve_unknown` is for definitions without a schema.
    pub fn for_custom_resource(value: Option<&Value>) -> Result<Schema, ParseError> {
        let mut schema = match value {
            Some(value) => Schema::from_openapi_v3(value)?,
            None => Schema {
                kind: Type::Object,
                preserve_unknown: true,
                open: true,
                ..Schema::default()
            },
        };
        if schema.kind == Type::Any {
            schema.kind = Type::Object;
        }
        embed(&mut schema);
        Ok(schema)
    }

    /// Reads a definition of the generated table.
    pub(crate) fn from_definition(name: &'static str, value: &Value) -> Result<Schema, ParseError> {
        let mut schema = Schema::from_openapi_v3(value)?;
        schema.name = Some(name);
        Ok(schema)
    }
}

/// Makes a schema that of a whole object.
fn embed(schema: &mut Schema) {
    schema.embedded = true;
    for key in ["apiVersion", "kind"] {
        let string = || {
            Node::new(Schema {
                kind: Type::String,
                ..Schema::default()
            })
        };
        schema
            .properties
            .entry(key.to_owned())
            .or_insert_with(string);
    }
    // Whatever the author wrote, metadata is ObjectMeta; its validations (name patterns) stay reachable by validate.
    let own = schema
        .properties
        .remove("metadata")
        .filter(|own| !own.properties.is_empty());
    let mut meta = builtin::object_meta();
    if let Some(own) = own {
        let mut merged = (*meta).clone();
        merged.properties.extend(own.properties.clone());
        meta = Node::new(merged);
    }
    schema.properties.insert("metadata".to_owned(), meta);
}

impl Parser {
    fn error(&self, what: impl Into<String>) -> ParseError {
        let path = if self.path.is_empty() {
            "schema".to_owned()
        } else {
            self.path.join(".")
        };
        ParseError {
            path,
            what: what.into(),
        }
    }

    fn within<T>(
        &mut self,
        step: String,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.error("the schema is nested too deeply"));
        }
        self.path.push(step);
        let result = read(self)?;
        self.path.pop();
        Ok(result)
    }

    fn map<'v>(&self, value: &'v Value) -> Result<&'v Map<String, Value>, ParseError> {
        value
            .as_object()
            .ok_or_else(|| self.error("must be an object"))
    }

    fn schema(&mut self, value: &Value, open: bool) -> Result<Schema, ParseError> {
        let map = self.map(value)?;
        let mut schema = Schema {
            kind: self.kind(map)?,
            format: string(map, "format"),
            nullable: flag(map, "nullable"),
            preserve_unknown: flag(map, "x-kubernetes-preserve-unknown-fields"),
            ..Schema::default()
        };
        schema.open = open || schema.preserve_unknown;
        schema.int_or_string = flag(map, "x-kubernetes-int-or-string")
            || schema.format.as_deref() == Some("int-or-string");
        if let Some(properties) = map.get("properties") {
            for (name, property) in self.map(properties)? {
                let node = self.within(format!("properties[{name}]"), |parser| {
                    parser.node(property, schema.open)
                })?;
                schema.properties.insert(name.clone(), node);
            }
        }
        schema.additional = match map.get("additionalProperties") {
            None => Additional::Absent,
            Some(Value::Bool(true)) => Additional::Allowed,
            Some(Value::Bool(false)) => Additional::Denied,
            Some(value) => {
                Additional::Schema(self.within("additionalProperties".into(), |parser| {
                    parser.node(value, schema.open)
                })?)
            }
        };
        if let Some(items) = map.get("items") {
            schema.items =
                Some(self.within("items".into(), |parser| parser.node(items, schema.open))?);
        }
        schema.required = strings(map, "required");
        schema.list = self.list_type(map)?;
        schema.map = self.map_type(map)?.unwrap_or_default();
        schema.checks = self.checks(map)?;
        if flag(map, "x-kubernetes-embedded-resource") {
            embed(&mut schema);
        }
        Ok(schema)
    }

    fn node(&mut self, value: &Value, open: bool) -> Result<Node, ParseError> {
        let map = self.map(value)?;
        let place = Place {
            default: map
                .get("default")
                .filter(|default| !default.is_null())
                .cloned(),
            map: self.map_type(map)?,
            patch: patch(map),
        };
        let target = match map.get("$ref").and_then(Value::as_str) {
            None => Target::Own(self.schema(value, open)?.into()),
            Some(name) => match builtin::index(name) {
                Some(index) => Target::Named(index),
                None => return Err(self.error(format!("no definition {name}"))),
            },
        };
        Ok(Node {
            target,
            place: (place != Place::default()).then(|| Box::new(place)),
        })
    }

    fn kind(&self, map: &Map<String, Value>) -> Result<Type, ParseError> {
        Ok(match map.get("type") {
            None => Type::Any,
            Some(Value::String(word)) => match word.as_str() {
                "" => Type::Any,
                "object" => Type::Object,
                "array" => Type::Array,
                "string" => Type::String,
                "integer" => Type::Integer,
                "number" => Type::Number,
                "boolean" => Type::Boolean,
                other => return Err(self.error(format!("unknown type {other:?}"))),
            },
            Some(_) => return Err(self.error("type must be a string")),
        })
    }

    fn list_type(&self, map: &Map<String, Value>) -> Result<ListType, ParseError> {
        match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("atomic") => Ok(ListType::Atomic),
            Some("set") => Ok(ListType::Set),
            Some("map") => match strings(map, "x-kubernetes-list-map-keys") {
                keys if keys.is_empty() => {
                    Err(self.error("list type map needs x-kubernetes-list-map-keys"))
                }
                keys => Ok(ListType::Map(keys)),
            },
            Some(other) => Err(self.error(format!("unknown list type {other:?}"))),
            // Some built-in types have only the older annotation.
            None => match patch(map) {
                Patch {
                    merge: true,
                    merge_key: Some(key),
                    ..
                } => Ok(ListType::Map(vec![key])),
                Patch { merge: true, .. } => Ok(ListType::Set),
                _ => Ok(ListType::Atomic),
            },
        }
    }

    fn map_type(&self, map: &Map<String, Value>) -> Result<Option<MapType>, ParseError> {
        match map.get("x-kubernetes-map-type").and_then(Value::as_str) {
            None => Ok(None),
            Some("granular") => Ok(Some(MapType::Granular)),
            Some("atomic") => Ok(Some(MapType::Atomic)),
            Some(other) => Err(self.error(format!("unknown map type {other:?}"))),
        }
    }

    fn checks(&mut self, map: &Map<String, Value>) -> Result<Option<Box<Checks>>, ParseError> {
        let number = |key: &str| map.get(key).and_then(Value::as_f64);
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        let list = |key: &str| {
            map.get(key)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let checks = Checks {
            enumeration: list("enum"),
            pattern: string(map, "pattern")
                .filter(|pattern| !pattern.is_empty())
                .map(Pattern::new),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag(map, "exclusiveMinimum"),
            exclusive_maximum: flag(map, "exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: flag(map, "uniqueItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: self.alternatives(map, "allOf")?,
            any_of: self.alternatives(map, "anyOf")?,
            one_of: self.alternatives(map, "oneOf")?,
            not: match map.get("not") {
                None => None,
                Some(not) => Some(Box::new(
                    self.within("not".into(), |parser| parser.schema(not, false))?,
                )),
            },
            rules: list("x-kubernetes-validations"),
        };
        Ok((checks != Checks::default()).then(|| Box::new(checks)))
    }

    fn alternatives(
        &mut self,
        map: &Map<String, Value>,
        key: &str,
    ) -> Result<Vec<Schema>, ParseError> {
        let list = map.get(key).and_then(Value::as_array).into_iter().flatten();
        list.enumerate()
            .map(|(index, value)| {
                self.within(format!("{key}[{index}]"), |parser| {
                    parser.schema(value, false)
                })
            })
            .collect()
    }
}

fn string(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn strings(map: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = map.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

fn patch(map: &Map<String, Value>) -> Patch {
    let strategy = map
        .get("x-kubernetes-patch-strategy")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Patch {
        merge: strategy.split(',').any(|word| word == "merge"),
        retain_keys: strategy.split(',').any(|word| word == "retainKeys"),
        merge_key: string(map, "x-kubernetes-patch-merge-key"),
    }
}
