//! Objects in the shape that a client asked for: whole, metadata only, or rows of a table.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::{Value, json};

use super::convert;
use super::endpoint::Endpoint;
use crate::http::{Call, Reply, Shape};
use crate::table;

/// What rows of a table carry besides their cells.
fn include(call: &Call) -> &str {
    call.query.get("includeObject").unwrap_or("Metadata")
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
pub(super) fn list(call: &Call, endpoint: &Endpoint, meta: Value, items: &[Arc<Value>]) -> Reply {
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
            let shown: Vec<Cow<'_, Value>> = items
                .map(|item| convert::to_client(endpoint, item))
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
    #[serde(serialize_with = "items")]
    items: &'a [Cow<'a, Value>],
}

fn items<S: Serializer>(items: &[Cow<'_, Value>], serializer: S) -> Result<S::Ok, S::Error> {
    let mut seq = serializer.serialize_seq(Some(items.len()))?;
    for item in items {
        seq.serialize_element(item.as_ref())?;
    }
    seq.end()
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
                "None" => {}
                "Object" => row["object"] = convert::to_client(endpoint, object).into_owned(),
                _ => row["object"] = metadata_only("v1", object),
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
