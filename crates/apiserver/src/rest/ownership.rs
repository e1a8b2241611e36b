//! Who owns which fields: `metadata.managedFields` and server-side apply, by `fairway_schema::merge`.

use fairway_schema::fields::{FieldSet, Path};
use fairway_schema::merge::{self, Request};
use fairway_schema::structural::Schema;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::options::WriteOptions;
use crate::status::ApiError;
use crate::writer::Scope;

/// The request as the merge sees it.
fn request<'r>(
    endpoint: &'r Endpoint,
    options: &'r WriteOptions,
    subresource: &'r str,
    reset: &'r FieldSet,
) -> Request<'r> {
    // Objects that are stored under another resource (Events) are tracked in their stored form.
    let (schema, api_version): (&Schema, &str) = if endpoint.stored.id == endpoint.resource.id {
        (&endpoint.served().schema, &endpoint.api_version)
    } else {
        (&endpoint.stored.versions[0].schema, "v1")
    };
    Request {
        schema,
        manager: &options.manager,
        api_version,
        subresource,
        reset: Some(reset),
        now: Timestamp::now(),
    }
}

/// Fields that a write of this scope cannot touch, and so never owns.
fn out_of_scope(endpoint: &Endpoint, scope: Scope) -> FieldSet {
    let names: &[&str] = match scope {
        Scope::Object if endpoint.stored.has_status() => &["status"],
        Scope::Object | Scope::Binding => &[],
        Scope::Status => &["metadata", "spec"],
        Scope::Finalize => &["metadata", "status"],
    };
    names.iter().map(|name| Path::fields(&[name])).collect()
}

fn subresource(scope: Scope) -> &'static str {
    match scope {
        Scope::Object => "",
        Scope::Binding => "binding",
        Scope::Status => "status",
        Scope::Finalize => "finalize",
    }
}

/// Notes the owner of a new object's fields.
pub(super) fn of_new(endpoint: &Endpoint, object: Value, options: &WriteOptions) -> Value {
    let reset = out_of_scope(endpoint, Scope::Object);
    merge::update(&request(endpoint, options, "", &reset), None, object)
}

/// Notes who owns what changed. Both states are in stored form; only `metadata.managedFields` differs afterwards.
pub(super) fn of_changed(
    endpoint: &Endpoint,
    current: &Value,
    object: Value,
    options: &WriteOptions,
    scope: Scope,
    over: &str,
) -> Value {
    let reset = out_of_scope(endpoint, scope);
    let subresource = if over.is_empty() {
        subresource(scope)
    } else {
        over
    };
    let mut object = merge::update(
        &request(endpoint, options, subresource, &reset),
        Some(current),
        object,
    );
    if over == "scale" {
        forget_times(&mut object);
    }
    object
}

/// What was changed by way of a Scale carries no time, and so stands first.
fn forget_times(object: &mut Value) {
    let Some(list) = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    for entry in list
        .iter_mut()
        .filter(|entry| entry["subresource"] == "scale")
    {
        entry.as_object_mut().map(|entry| entry.remove("time"));
    }
    list.sort_by_key(|entry| (entry["operation"] != "Apply", entry.get("time").is_some()));
}

/// Merges an applied configuration with what is there. The result carries its `managedFields`.
pub(super) fn apply(
    endpoint: &Endpoint,
    live: Option<&Value>,
    config: &Value,
    options: &WriteOptions,
    scope: Scope,
) -> Result<Value, ApiError> {
    let reset = out_of_scope(endpoint, scope);
    let request = request(endpoint, options, subresource(scope), &reset);
    merge::apply(&request, live, config, options.force).map_err(|error| match error {
        merge::Error::Conflicts(conflicts) => {
            let mut error = ApiError::new(409, "Conflict", conflicts.to_string());
            let causes: Vec<Value> = conflicts
                .0
                .iter()
                .map(|conflict| {
                    json!({
                        "reason": "FieldManagerConflict",
                        "message": conflict.message(),
                        "field": conflict.path.to_string(),
                    })
                })
                .collect();
            error.details = json!({"causes": causes});
            error
        }
        merge::Error::Version { .. } | merge::Error::ManagedFieldsInConfig => {
            ApiError::bad_request(error.to_string())
        }
        merge::Error::Config { .. }
        | merge::Error::Live { .. }
        | merge::Error::ManagedFields(_) => {
            // The API server answers these with 500 and the bare message.
            ApiError::new(500, "", error.to_string())
        }
    })
}
