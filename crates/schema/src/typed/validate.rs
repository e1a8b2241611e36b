//! Whether an object fits a schema well enough to be merged.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{Scalar, Shape, View};
use crate::fields::PathElement;
use crate::fields::compare::go_plain;
use crate::structural::{Schema, quote};

/// Whether a set or keyed list may hold an item twice. What is applied may not; what is stored may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Duplicates are errors.
    Refuse,
    /// Duplicates are fine.
    Allow,
}

/// One place where an object doesn't fit. Displays as `.spec.replicas: expected numeric (int or float), got string`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Path as conflicts show it: `.spec.containers[name="web"].image`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)
    }
}

/// All places where an object doesn't fit; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl fmt::Display for Errors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [error] = &self.0[..] {
            return write!(formatter, "{error}");
        }
        formatter.write_str("errors:")?;
        self.0
            .iter()
            .try_for_each(|error| write!(formatter, "\n  {error}"))
    }
}

impl std::error::Error for Errors {}

/// Checks types, declared fields and list keys, as server-side apply does before it merges.
pub fn validate(schema: &Schema, value: &Value, duplicates: Duplicates) -> Result<(), Errors> {
    let mut walk = Walk {
        duplicates,
        path: Vec::new(),
        errors: Vec::new(),
    };
    walk.value(View::from(schema), value);
    if walk.errors.is_empty() {
        Ok(())
    } else {
        Err(Errors(walk.errors))
    }
}

struct Walk {
    duplicates: Duplicates,
    path: Vec<PathElement>,
    errors: Vec<Error>,
}

impl Walk {
    fn fail(&mut self, message: String) {
        let mut path = String::new();
        self.path
            .iter()
            .for_each(|element| write!(path, "{element}").expect("writing to a string"));
        self.errors.push(Error { path, message });
    }

    fn value(&mut self, view: View<'_>, value: &Value) {
        match (view.shape(value), value) {
            (_, Value::Null) => {}
            (Shape::Map, Value::Object(map)) => {
                for (key, value) in map {
                    self.path.push(PathElement::field(key.as_str()));
                    let Some(view) = view.field(key) else {
                        self.fail("field not declared in schema".into());
                        self.path.pop();
                        return;
                    };
                    self.value(view, value);
                    self.path.pop();
                }
            }
            (Shape::List, Value::Array(list)) => self.list(view, list),
            (Shape::Map, other) => self.fail(format!("expected map, got &{{{}}}", go_plain(other))),
            (Shape::List, other) => {
                self.fail(format!("expected list, got &{{{}}}", go_plain(other)));
            }
            (Shape::Scalar, scalar) => self.scalar(view.scalar(), scalar),
        }
    }

    fn list(&mut self, view: View<'_>, list: &[Value]) {
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            let element = if view.atomic_list() {
                PathElement::Index(index as i64)
            } else {
                match view.item(item) {
                    Ok(element) => element,
                    Err(why) => return self.fail(format!("element {index}: {why}")),
                }
            };
            if !seen.insert(element.clone()) && self.duplicates == Duplicates::Refuse {
                self.fail(format!("duplicate entries for key {element}"));
            }
            self.path.push(element);
            self.value(view.items(), item);
            self.path.pop();
        }
    }

    fn scalar(&mut self, scalar: Scalar, value: &Value) {
        let fits = match scalar {
            Scalar::Numeric => value.is_number(),
            Scalar::String => value.is_string(),
            Scalar::Boolean => value.is_boolean(),
            Scalar::Untyped => !value.is_array() && !value.is_object(),
        };
        if fits {
            return;
        }
        self.fail(match scalar {
            Scalar::Numeric => format!("expected numeric (int or float), got {}", go_type(value)),
            Scalar::String => format!(
                "expected string, got &value.valueUnstructured{{Value:{}}}",
                go_literal(value)
            ),
            Scalar::Boolean => format!("expected boolean, got &{{{}}}", go_plain(value)),
            Scalar::Untyped => format!("expected any scalar, got &{{{}}}", go_plain(value)),
        });
    }
}

/// The type of a value as Go's `%T` names it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%#v` writes it.
fn go_literal(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::String(text) => quote(text),
        Value::Bool(_) | Value::Number(_) => go_plain(value),
        Value::Array(list) => {
            format!(
                "[]interface {{}}{{{}}}",
                list.iter().map(go_literal).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Object(map) => {
            let mut entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}:{}", quote(key), go_literal(value)))
                .collect();
            entries.sort();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}
