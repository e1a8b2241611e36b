//! JSON patches (RFC 6902), with the array indices below zero that kustomize's library allows.

use fairway_yaml::Dialect;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::kustomization::decode::document;

/// A list of operations. What is wrong with one of them comes out when it is applied, as in kustomize.
#[derive(Debug, Clone)]
pub(crate) struct JsonPatch(Vec<Map<String, Value>>);

impl JsonPatch {
    /// Reads a text: a JSON or YAML list of operations.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        // What starts like JSON has to be JSON.
        let value = if text.starts_with('[') {
            serde_json::from_str(text).map_err(|error| {
                Error::new(ErrorKind::Syntax, format!("not valid JSON: {error}"))
                    .hint("a patch that starts with [ is read as JSON; begin the items with - to write YAML")
            })?
        } else {
            let Some(root) = document("", text)? else {
                return Err(Error::invalid("the patch is empty"));
            };
            root.to_json_as(Dialect::Kubectl)
                .map_err(|error| Error::syntax(&error))?
        };
        let operations = match value {
            Value::Array(operations) => operations,
            other => {
                let found = match other {
                    Value::Object(_) => "object",
                    Value::String(_) => "string",
                    Value::Number(_) => "number",
                    Value::Bool(_) => "bool",
                    _ => "null",
                };
                return Err(Error::invalid(format!(
                    "cannot unmarshal {found} into Go value of type jsonpatch.Patch: a JSON patch is a list of operations"
                )));
            }
        };
        let operation = |value| match value {
            Value::Object(operation) => Ok(operation),
            _ => Err(Error::invalid(
                "an operation of a JSON patch is a map with op and path",
            )),
        };
        operations
            .into_iter()
            .map(operation)
            .collect::<Result<_>>()
            .map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the operations one after the other.
    pub(crate) fn apply(&self, document: &mut Value) -> Result<()> {
        let budget = document_size(document).saturating_mul(64).max(1 << 20);
        for operation in &self.0 {
            let text = |field: &str| operation.get(field).and_then(Value::as_str);
            let op = text("op").ok_or_else(|| Error::invalid("an operation has no op"))?;
            let path = text("path")
                .ok_or_else(|| Error::invalid(format!("a {op} operation has no path")))?;
            let doing = |error: Error| error.while_doing(format_args!("{op} operation on {path}"));
            let from = || text("from").ok_or_else(|| Error::invalid("from is missing"));
            apply(document, op, path, from, operation.get("value")).map_err(doing)?;
            // Each copy may double a document.
            if op == "copy" && document_size(document) > budget {
                return Err(Error::new(
                    ErrorKind::Limit,
                    "copy operations make the document too large",
                ));
            }
        }
        Ok(())
    }
}

fn document_size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(document_size).sum::<usize>(),
        Value::Object(map) => {
            1 + map
                .iter()
                .map(|(key, value)| key.len() + document_size(value))
                .sum::<usize>()
        }
        Value::String(text) => 1 + text.len(),
        _ => 1,
    }
}

fn apply<'o>(
    document: &mut Value,
    op: &str,
    path: &str,
    from: impl Fn() -> Result<&'o str>,
    value: Option<&Value>,
) -> Result<()> {
    let path = pointer(path)?;
    let new = || value.cloned().unwrap_or(Value::Null);
    match op {
        "add" => add(document, &path, new()),
        "remove" => remove(document, &path).map(drop),
        // In a map, the library also replaces what is not there.
        "replace" if !path.is_empty() && holder(document, &path)?.is_object() => {
            add(document, &path, new())
        }
        "replace" => {
            *find_mut(document, &path).ok_or_else(absent)? = new();
            Ok(())
        }
        "move" => {
            let moved = remove(document, &pointer(from()?)?)?;
            add(document, &path, moved)
        }
        "copy" => {
            let from = pointer(from()?)?;
            let copied = match find(document, &from) {
                Some(found) => found.clone(),
                None if holder(document, &from)?.is_object() => Value::Null,
                None => return Err(absent()),
            };
            add(document, &path, copied)
        }
        "test" => {
            let found = match find(document, &path) {
                Some(found) => found,
                None if holder(document, &path)?.is_object() => &Value::Null,
                None => return Err(absent()),
            };
            if same(found, value.unwrap_or(&Value::Null)) {
                Ok(())
            } else {
                Err(Error::conflict("testing value failed"))
            }
        }
        other => Err(Error::invalid(format!("unexpected operation {other:?}"))
            .hint("op is one of add, remove, replace, move, copy, test")),
    }
}

/// The map or list that holds a path.
fn holder<'v>(document: &'v Value, path: &[String]) -> Result<&'v Value> {
    let parents = path.split_last().map_or(path, |(_, parents)| parents);
    find(document, parents)
        .filter(|value| value.is_object() || value.is_array())
        .ok_or_else(absent)
}

/// Numbers are the same where their values are: 1 and 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(key, value)| y.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

fn absent() -> Error {
    Error::conflict("the path does not exist")
}

/// The parts of a pointer. What stands before the first slash does not count.
fn pointer(path: &str) -> Result<Vec<String>> {
    let Some((_, rest)) = path.split_once('/') else {
        if path.is_empty() {
            return Ok(Vec::new());
        }
        return Err(Error::invalid(format!(
            "the path {path:?} must start with /"
        )));
    };
    Ok(rest
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect())
}

/// The place of an existing item; below zero counts from the end.
fn index(part: &str, len: usize) -> Option<usize> {
    let number: i64 = part.parse().ok()?;
    let number = if number < 0 {
        number + len as i64
    } else {
        number
    };
    usize::try_from(number).ok().filter(|at| *at < len)
}

fn find<'v>(document: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(document, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(items) => items.get(index(part, items.len())?),
        _ => None,
    })
}

fn find_mut<'v>(document: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(document, |value, part| match value {
        Value::Object(map) => map.get_mut(part),
        Value::Array(items) => {
            let at = index(part, items.len())?;
            items.get_mut(at)
        }
        _ => None,
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<()> {
    let Some((last, parents)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find_mut(document, parents) {
        Some(Value::Object(map)) => {
            map.insert(last.clone(), value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            if last == "-" {
                items.push(value);
                return Ok(());
            }
            match index(last, items.len() + 1) {
                Some(at) => {
                    items.insert(at, value);
                    Ok(())
                }
                None => Err(Error::conflict(format!(
                    "there is no place {last} in a list of {}",
                    items.len()
                ))),
            }
        }
        Some(_) => Err(Error::conflict(
            "what holds the path is neither a map nor a list",
        )),
        None => Err(Error::conflict("what holds the path does not exist")
            .hint("add the map or list itself first")),
    }
}

fn remove(document: &mut Value, path: &[String]) -> Result<Value> {
    let Some((last, parents)) = path.split_last() else {
        return Err(absent());
    };
    match find_mut(document, parents) {
        Some(Value::Object(map)) => map.remove(last).ok_or_else(absent),
        Some(Value::Array(items)) => match index(last, items.len()) {
            Some(at) => Ok(items.remove(at)),
            None => Err(absent()),
        },
        _ => Err(absent()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut document: Value, patch: &str) -> Result<Value> {
        JsonPatch::parse(patch)?.apply(&mut document)?;
        Ok(document)
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        let doc = json!({"a": {"b/c": [1, 2]}, "d": "x"});
        let patch = r"
- {op: test, path: /d, value: x}
- {op: add, path: /a/b~1c/-, value: 4}
- {op: add, path: /a/b~1c/2, value: 3}
- {op: replace, path: /a/b~1c/-4, value: 0}
- {op: copy, from: /d, path: /e}
- {op: move, from: /d, path: /a/f}
";
        assert_eq!(
            patched(doc, patch).unwrap(),
            json!({"a": {"b/c": [0, 2, 3, 4], "f": "x"}, "e": "x"})
        );
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for patch in [
            r#"[{"op":"remove","path":"/x"}]"#,
            r#"[{"op":"replace","path":"/x/y","value":1}]"#,
            r#"[{"op":"fly","path":"/x"}]"#,
            r#"[{"op":"add"}]"#,
            r#"[{"op":"add","path":"/x/y","value":1}]"#,
            r#"[{"op":"add","path":"/l/5","value":1}]"#,
            r#"[{"op":"test","path":"/l","value":1}]"#,
        ] {
            assert!(patched(json!({"l": [1]}), patch).is_err(), "{patch}");
        }
        assert!(JsonPatch::parse("op: add").is_err());
    }

    #[test]
    fn copies_cannot_grow_without_bounds() {
        let copies = "- {op: copy, from: /a, path: /a/-}\n".repeat(64);
        assert_eq!(
            patched(json!({"a": [["x"]]}), &copies).unwrap_err().kind(),
            crate::error::ErrorKind::Limit
        );
    }
}
