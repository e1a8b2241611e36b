//! The `scale` subresource: replicas of anything, as an `autoscaling/v1` Scale.

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::options::WriteOptions;
use super::patch::{Language, edit, read as read_patch};
use super::read;
use super::update::{Made, change};
use crate::http::{Call, Reply};
use crate::resources::{Origin, ScalePaths};
use crate::status::{ApiError, FieldError};
use crate::writer::{Scope, names};

pub(super) fn serve(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let paths = endpoint
        .served()
        .scale
        .clone()
        .ok_or_else(ApiError::no_such_path)?;
    if call.target.verb == "get" {
        let object = read::current(call, endpoint)?;
        return Ok(Reply::json(200, &show(endpoint, &paths, &object)));
    }
    let options = WriteOptions::parse(call)?;
    let stored = match call.target.verb.as_str() {
        "update" => {
            let scale = call.object()?;
            change(call, endpoint, Scope::Object, &options, |live| {
                set(endpoint, &paths, live, &scale)
            })?
        }
        "patch" => {
            let language = Language::of(call)?;
            let body = if language == Language::Apply {
                crate::http::yaml(&call.body)?
            } else {
                read_patch(call, language)?
            };
            // Over a Scale, the strategic and the apply languages mean what a merge patch means.
            let language = match language {
                Language::Strategic | Language::Apply => Language::Merge,
                other => other,
            };
            change(call, endpoint, Scope::Object, &options, |live| {
                let scale = edit(language, endpoint, &show(endpoint, &paths, live), &body)?;
                set(endpoint, &paths, live, &scale)
            })?
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    Ok(Reply::json(200, &show(endpoint, &paths, &stored)))
}

/// The Scale of an object, where it has one.
pub(super) fn of(endpoint: &Endpoint, object: &Value) -> Option<Value> {
    let paths = endpoint.served().scale.as_ref()?;
    Some(show(endpoint, paths, object))
}

fn show(endpoint: &Endpoint, paths: &ScalePaths, object: &Value) -> Value {
    let meta = &object["metadata"];
    let count = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {"replicas": count(&paths.spec_replicas)},
        "status": {"replicas": count(&paths.status_replicas)},
    });
    if endpoint.resource.namespaced {
        scale["metadata"]["namespace"] = meta["namespace"].clone();
    }
    if let Some(selector) = paths
        .selector
        .as_deref()
        .and_then(|path| object.pointer(path))
    {
        scale["status"]["selector"] = match selector {
            Value::String(text) => text.as_str().into(),
            other => serialised(other).into(),
        };
    }
    scale
}

/// A LabelSelector as text.
fn serialised(selector: &Value) -> String {
    let mut terms: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    for requirement in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = requirement["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = requirement["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut values = values;
        values.sort_unstable();
        terms.push(match requirement["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

/// The object with the replicas of a Scale, whose revision and uid are preconditions.
fn set(
    endpoint: &Endpoint,
    paths: &ScalePaths,
    live: &Value,
    scale: &Value,
) -> Result<Made, ApiError> {
    let (_, name) = names(live);
    let given = &scale["metadata"];
    if given["name"].as_str().is_some_and(|other| other != name) {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            given["name"].as_str().unwrap_or_default()
        )));
    }
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        value => value.as_i64().filter(|n| *n >= 0).ok_or_else(|| {
            ApiError::invalid(
                "autoscaling",
                "Scale",
                name,
                &[FieldError::invalid(
                    "spec.replicas",
                    value,
                    "must be greater than or equal to 0",
                )],
            )
        })?,
    };
    let mut object = live.clone();
    let segments: Vec<&str> = paths.spec_replicas.split('/').skip(1).collect();
    let mut place = &mut object;
    for segment in segments {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[segment];
    }
    *place = replicas.into();
    if let Some(meta) = object["metadata"].as_object_mut() {
        match given["resourceVersion"]
            .as_str()
            .filter(|rv| !rv.is_empty())
        {
            Some(revision) => meta.insert("resourceVersion".into(), revision.into()),
            // Custom resources insist on a revision; the one that was read is as good.
            None if endpoint.resource.origin == Origin::Custom => None,
            None => meta.remove("resourceVersion"),
        };
    }
    Ok(Made::Through("scale", object))
}
