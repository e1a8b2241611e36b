//! Asks the policies of a cluster about writes.

use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::{convert, scale};
use crate::admission::{self, Attempt};
use crate::http::Call;
use crate::resources::api_version;
use crate::status::ApiError;

/// A write, with objects as they are stored.
#[derive(Clone, Copy, Default)]
pub(super) struct Write<'a> {
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub(super) operation: &'static str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) object: Option<&'a Value>,
    pub(super) old: Option<&'a Value>,
    pub(super) dry_run: bool,
}

/// Fails if a policy denies the write. What policies warn of is told with the answer.
pub(super) fn ask(call: &Call, endpoint: &Endpoint, write: Write<'_>) -> Result<(), ApiError> {
    let subresource = call.target.subresource.as_str();
    let kind = match subresource {
        "" | "status" | "finalize" => (
            endpoint.resource.id.group.to_string(),
            endpoint.version.clone(),
            endpoint.resource.kind.clone(),
        ),
        other => foreign(other),
    };
    let shown = |object: Option<&Value>, version: &str| {
        let object = object?;
        Some(match subresource {
            "" | "status" | "finalize" => {
                let endpoint = Endpoint {
                    api_version: api_version(&endpoint.resource.id.group, version),
                    version: version.to_owned(),
                    ..endpoint.clone()
                };
                convert::to_client(&endpoint, object).into_owned()
            }
            "scale" => scale::of(endpoint, object)?,
            _ => object.clone(),
        })
    };
    let attempt = Attempt {
        operation: write.operation,
        user: &call.user,
        resource: &endpoint.resource,
        version: &endpoint.version,
        subresource,
        kind,
        namespace: if endpoint.resource.is("", "namespaces") && write.operation != "CREATE" {
            write.name
        } else {
            write.namespace
        },
        name: write.name,
        dry_run: write.dry_run,
        options: options(call, write),
        object: &|version| shown(write.object, version),
        old: &|version| shown(write.old, version),
    };
    let mut warnings = Vec::new();
    let decided = admission::review(&call.cluster, &attempt, &mut warnings);
    call.warn(warnings);
    decided
}

/// The kind that goes into a subresource.
fn foreign(subresource: &str) -> (String, String, String) {
    let (group, kind) = match subresource {
        "scale" => ("autoscaling", "Scale"),
        "eviction" => ("policy", "Eviction"),
        "token" => ("authentication.k8s.io", "TokenRequest"),
        _ => ("", "Binding"),
    };
    (group.to_owned(), "v1".to_owned(), kind.to_owned())
}

/// The parameters of the request as an object.
fn options(call: &Call, write: Write<'_>) -> Value {
    let kind = match (write.operation, call.target.verb.as_str()) {
        ("CREATE" | "UPDATE", "patch") => "PatchOptions",
        ("CREATE", _) => "CreateOptions",
        ("DELETE", _) => "DeleteOptions",
        _ => "UpdateOptions",
    };
    let mut options = Map::new();
    options.insert("kind".into(), kind.into());
    options.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    if write.dry_run {
        options.insert("dryRun".into(), json!(["All"]));
    }
    for key in ["fieldManager", "fieldValidation", "propagationPolicy"] {
        if let Some(value) = call.query.get(key) {
            options.insert(key.into(), value.into());
        }
    }
    if call.query.flag("force") {
        options.insert("force".into(), true.into());
    }
    Value::Object(options)
}
