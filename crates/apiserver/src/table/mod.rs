//! Tables, as `kubectl get` prints them: columns and cells for every kind.

mod age;
mod batch;
mod cluster;
mod core;
mod events;
mod jsonpath;
mod rbac;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use age::age_of;
use jsonpath::JsonPath;

use crate::resources::{Column, Origin, Resource, ServedVersion};

/// Heading, type, and whether it is shown with `-o wide` only.
type Heading = (&'static str, &'static str, bool);

/// Columns of a built-in kind and how to fill them.
struct Layout {
    headings: &'static [Heading],
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

/// Prints the objects of one kind.
pub(crate) enum Printer {
    Builtin(BuiltinPrinter),
    Custom(Vec<(Column, JsonPath)>),
}

/// Hides the layouts from the rest of the crate.
pub(crate) struct BuiltinPrinter(&'static Layout);

/// The printer of a resource.
pub(crate) fn printer(resource: &Resource, served: &ServedVersion) -> Printer {
    if resource.origin == Origin::Builtin {
        let found = layout(&resource.id.group, &resource.id.resource);
        return Printer::Builtin(BuiltinPrinter(found.unwrap_or(&PLAIN)));
    }
    if served.columns.is_empty() {
        return Printer::Builtin(BuiltinPrinter(&NAME_AND_AGE));
    }
    Printer::Custom(
        served
            .columns
            .iter()
            .map(|column| (column.clone(), JsonPath::parse(&column.json_path)))
            .collect(),
    )
}

fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    core::layout(group, resource)
        .or_else(|| workloads::layout(group, resource))
        .or_else(|| batch::layout(group, resource))
        .or_else(|| events::layout(group, resource))
        .or_else(|| rbac::layout(group, resource))
        .or_else(|| cluster::layout(group, resource))
}

/// Kinds that kubectl knows nothing special of.
static PLAIN: Layout = Layout {
    headings: &[("Name", "string", false), ("Created At", "date", false)],
    cells: |object, _| {
        vec![
            name(object),
            object["metadata"]["creationTimestamp"].clone(),
        ]
    },
};

static NAME_AND_AGE: Layout = Layout {
    headings: &[("Name", "string", false), ("Age", "date", false)],
    cells: |object, now| vec![name(object), age(object, now)],
};

impl Printer {
    /// `columnDefinitions` of the table.
    pub(crate) fn definitions(&self) -> Value {
        match self {
            Self::Builtin(BuiltinPrinter(layout)) => layout
                .headings
                .iter()
                .map(|(name, kind, wide)| definition(name, kind, "", "", i64::from(*wide)))
                .collect(),
            Self::Custom(columns) => std::iter::once(definition("Name", "string", "", "", 0))
                .chain(columns.iter().map(|(column, _)| {
                    definition(
                        &column.name,
                        &column.kind,
                        &column.format,
                        &column.description,
                        column.priority,
                    )
                }))
                .collect(),
        }
    }

    /// The cells of one object's row.
    pub(crate) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self {
            Self::Builtin(BuiltinPrinter(layout)) => (layout.cells)(object, now),
            Self::Custom(columns) => std::iter::once(name(object))
                .chain(
                    columns
                        .iter()
                        .map(|(column, path)| custom_cell(column, path, object, now)),
                )
                .collect(),
        }
    }
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    let format = if name == "Name" { "name" } else { format };
    json!({
        "name": name, "type": kind, "format": format, "description": description, "priority": priority,
    })
}

fn custom_cell(column: &Column, path: &JsonPath, object: &Value, now: Timestamp) -> Value {
    let found = path.find(object);
    let Some(first) = found.first() else {
        return Value::Null;
    };
    match column.kind.as_str() {
        "integer" => first.as_i64().map_or(Value::Null, Into::into),
        "number" => first.as_f64().map_or(Value::Null, Into::into),
        "boolean" => first.as_bool().map_or(Value::Null, Into::into),
        "date" => match first.as_str() {
            Some(text) => age_of(text, now).into(),
            None => "<unknown>".into(),
        },
        // Of several matches the first one is shown.
        _ => match first {
            Value::String(text) => text.as_str().into(),
            Value::Null => "".into(),
            other => other.to_string().into(),
        },
    }
}

fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

fn age(object: &Value, now: Timestamp) -> Value {
    match object["metadata"]["creationTimestamp"].as_str() {
        Some(text) => age_of(text, now).into(),
        None => "<unknown>".into(),
    }
}

fn number(object: &Value, pointer: &str) -> Value {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or(0)
        .into()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn or<'a>(text: &'a str, fallback: &'a str) -> &'a str {
    if text.is_empty() { fallback } else { text }
}

fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Names and images of the containers of a pod spec.
fn containers(spec: &Value) -> [Value; 2] {
    let list = |key: &str| -> Value {
        items(spec, "/containers")
            .iter()
            .map(|container| container[key].as_str().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(",")
            .into()
    };
    [list("name"), list("image")]
}

/// A LabelSelector in words; `<none>` if there is none.
fn selector(selector: &Value) -> Value {
    let mut terms: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for requirement in items(selector, "/matchExpressions") {
        let key = text(requirement, "/key");
        let values = items(requirement, "/values")
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(",");
        terms.push(match text(requirement, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or(&terms.join(","), "<none>").into()
}

/// A map as `key=value,…`; `<none>` if it is empty.
fn pairs(map: &Value) -> Value {
    let terms: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or(&terms.join(","), "<none>").into()
}

/// Orders API versions as Kubernetes prefers them: `v2` > `v1` > `v1beta2` > `v1alpha1` > anything else.
pub(crate) fn version_priority(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major: u64 = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some((3, major, 0)),
            stage => {
                let (rank, minor) = stage
                    .strip_prefix("beta")
                    .map(|minor| (2, minor))
                    .or_else(|| stage.strip_prefix("alpha").map(|minor| (1, minor)))?;
                Some((rank, major, minor.parse().ok()?))
            }
        }
    });
    let (rank, major, minor) = parsed.unwrap_or((0, 0, 0));
    (rank, major, minor, std::cmp::Reverse(version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_versions_come_first() {
        let mut versions = ["v1alpha1", "v1", "foo", "v1beta2", "v2", "v1beta10"];
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        assert_eq!(
            versions,
            ["v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo"]
        );
    }
}
