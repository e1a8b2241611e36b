//! Objects in the shape that a client asked for: whole, metadata only, or rows of a table.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::Serializer;
use serde_json::{Value, json};

use super::convert;
use super::endpoint::Endpoint;
use crate::http::{Call, Reply, Shape};
use crate::resources::Origin;
use crate::status::ApiError;
use crate::table;

/// What rows of a table carry besides their cells.
fn include(call: &Call) -> &str {
    call.query.get("includeObject").unwrap_or("Metadata")
}

/// Metadata of one object is something else than metadata of a list.
pub(super) fn check_shape(call: &Call, endpoint: &Endpoint, list: bool) -> Result<(), ApiError> {
    if call.accepted.shape != Shape::Metadata || call.accepted.list == list {
        return Ok(());
    }
    let kind = if list {
        &endpoint.resource.list_kind
    } else {
        &endpoint.resource.kind
    };
    let package = match endpoint.resource.id.group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    };
    let (wanted, is) = if list {
        ("PartialObjectMetadata", "a list")
    } else {
        ("PartialObjectMetadataList", "not a list")
    };
    Err(ApiError::new(
        406,
        "NotAcceptable",
        format!("you requested {wanted}, but the requested object is {is} (*{package}.{kind})"),
    ))
}

/// A parameter of tables that means nothing.
pub(super) fn check_table(call: &Call) -> Result<(), ApiError> {
    let include = include(call);
    if call.accepted.shape != Shape::Table || matches!(include, "Metadata" | "Object" | "None") {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "Unable to convert to Table as requested: includeObject: Invalid value: {include:?}: must be 'Metadata', 'Object', 'None', or empty"
    )))
}

/// One object.
pub(super) fn one<'a>(call: &Call, endpoint: &Endpoint, object: &'a Value) -> Cow<'a, Value> {
    match call.accepted.shape {
        Shape::Object | Shape::Discovery => convert::to_client(endpoint, object),
        Shape::Metadata => Cow::Owned(metadata_only(&call.accepted.version, object)),
        Shape::Table => {
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            Cow::Owned(as_table(call, endpoint, meta, std::iter::once(object)))
        }
    }
}

/// A list.
pub(super) fn list(
    call: &Call,
    endpoint: &Endpoint,
    mut meta: Value,
    items: &[Arc<Value>],
) -> Reply {
    let items = items.iter().map(|item| &**item);
    match call.accepted.shape {
        Shape::Table => Reply::json(200, &as_table(call, endpoint, meta, items)),
        Shape::Metadata => {
            let items: Vec<Value> = items
                .map(|item| metadata_only(&call.accepted.version, item))
                .collect();
            Reply::json(
                200,
                &json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": format!("meta.k8s.io/{}", call.accepted.version),
                    "metadata": meta,
                    "items": items,
                }),
            )
        }
        Shape::Object | Shape::Discovery => {
            if endpoint.resource.origin != Origin::Builtin && meta["continue"].is_null() {
                meta["continue"] = "".into();
            }
            // Typed lists of Go say once of what kind their items are; lists of custom resources say it of each item.
            let typed = endpoint.resource.origin == Origin::Builtin;
            let shown: Vec<Shown<'_>> = items
                .map(|item| Shown {
                    object: convert::to_client(endpoint, item),
                    typed,
                })
                .collect();
            let list = List {
                kind: &endpoint.resource.list_kind,
                api_version: &endpoint.api_version,
                metadata: &meta,
                items: &shown,
            };
            if call.accepted.yaml
                && let Ok(value) = serde_json::to_value(&list)
            {
                return Reply::yaml(200, &value);
            }
            Reply::json(200, &list)
        }
    }
}

/// Written straight from the stored objects: lists are the largest answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: &'a Value,
    items: &'a [Shown<'a>],
}

struct Shown<'a> {
    object: Cow<'a, Value>,
    typed: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.object.as_object() {
            Some(map) if self.typed => serializer.collect_map(
                map.iter()
                    .filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion")),
            ),
            _ => self.object.serialize(serializer),
        }
    }
}

fn metadata_only(version: &str, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}

fn as_table<'a>(
    call: &Call,
    endpoint: &Endpoint,
    meta: Value,
    objects: impl Iterator<Item = &'a Value>,
) -> Value {
    let now = Timestamp::now();
    let printer = table::printer(&endpoint.resource, endpoint.served());
    let include = include(call);
    let rows: Vec<Value> = objects
        .map(|object| {
            let mut row = json!({"cells": printer.cells(object, now)});
            match include {
                "None" => row["object"] = Value::Null,
                "Object" => row["object"] = convert::to_client(endpoint, object).into_owned(),
                _ => {
                    row["object"] = metadata_only("v1", object);
                    // Rows are made before DaemonSets get their oldest annotation.
                    let pointer = "/object/metadata/annotations";
                    if endpoint.resource.is("apps", "daemonsets")
                        && let Some(Value::Object(map)) = row.pointer_mut(pointer)
                    {
                        map.remove("deprecated.daemonset.template.generation");
                        if map.is_empty()
                            && let Some(meta) = row["object"]["metadata"].as_object_mut()
                        {
                            meta.remove("annotations");
                        }
                    }
                }
            }
            row
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{}", call.accepted.version),
        "metadata": meta,
        "columnDefinitions": printer.definitions(),
        "rows": rows,
    })
}
