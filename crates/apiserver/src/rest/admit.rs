//! From what a client sent to an object that fits its kind.

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::{DecodeError, Engine};
use fairway_schema::structural::{self, Unknown};
use serde_json::Value;

use super::endpoint::Endpoint;
use super::options::FieldValidation;
use crate::resources::Origin;
use crate::status::{ApiError, FieldError};
use crate::validate;
use crate::writer::names;

/// Checks that an object is of the endpoint's kind and namespace, reports what the schema doesn't know, and
/// fills in the schema's defaults.
pub(super) fn decode(
    endpoint: &Endpoint,
    mut object: Value,
    namespace: &str,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    check_type(endpoint, &mut object)?;
    check_namespace(endpoint, &mut object, namespace)?;
    place(endpoint, &mut object, namespace);
    fit(endpoint, &mut object, validation, warnings)?;
    Ok(object)
}

/// As [`decode`] for a server-side apply, whose fields are owned by who sends them: nothing is added, and what the
/// schema doesn't know is refused by the merge.
pub(super) fn decode_applied(
    endpoint: &Endpoint,
    mut object: Value,
    namespace: &str,
) -> Result<Value, ApiError> {
    check_type(endpoint, &mut object)?;
    check_namespace(endpoint, &mut object, namespace)?;
    Ok(object)
}

/// Fills in the schema's defaults.
pub(super) fn complete(endpoint: &Endpoint, object: &mut Value) {
    if endpoint.resource.origin != Origin::Schemaless {
        let schema = &endpoint.served().schema;
        structural::drop_nulls(schema, object);
        structural::default(schema, object);
    }
}

fn check_type(endpoint: &Endpoint, object: &mut Value) -> Result<(), ApiError> {
    let kind = &endpoint.resource.kind;
    let shown: String = object.to_string().chars().take(200).collect();
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct: {shown}"
        )));
    };
    // Built-in types are decoded into the type of the path; custom ones must say what they are.
    if endpoint.resource.origin == Origin::Builtin {
        for (key, value) in [("apiVersion", &endpoint.api_version), ("kind", kind)] {
            let entry = map.entry(key).or_insert(Value::Null);
            if entry.is_null() || entry == "" {
                *entry = value.as_str().into();
            }
        }
    }
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("kind").is_empty() {
        return Err(ApiError::bad_request(format!(
            "Object 'Kind' is missing in '{shown}'"
        )));
    }
    if text("apiVersion") != endpoint.api_version && endpoint.resource.origin == Origin::Builtin {
        return Err(ApiError::bad_request(format!(
            "{found} in version {version:?} cannot be handled as a {kind}: no kind {found:?} is registered for version {version:?}",
            found = text("kind"),
            version = text("apiVersion"),
        )));
    }
    if text("apiVersion") != endpoint.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            text("apiVersion"),
            endpoint.api_version
        )));
    }
    if text("kind") != kind {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {kind}: no kind {:?} is registered for version {:?}",
            text("kind"),
            endpoint.version,
            text("kind"),
            endpoint.api_version
        )));
    }
    Ok(())
}

fn check_namespace(
    endpoint: &Endpoint,
    object: &mut Value,
    namespace: &str,
) -> Result<(), ApiError> {
    let meta = crate::writer::metadata(object);
    if !endpoint.resource.namespaced {
        meta.remove("namespace");
        return Ok(());
    }
    let given = meta
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !given.is_empty() && given != namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Puts an object into the namespace of the path.
pub(super) fn place(endpoint: &Endpoint, object: &mut Value, namespace: &str) {
    if endpoint.resource.namespaced {
        crate::writer::metadata(object).insert("namespace".into(), namespace.into());
    }
}

/// Fits an object to its schema: wrong types fail, unknown fields are dropped (and reported as asked for),
/// defaults are filled in.
pub(super) fn fit(
    endpoint: &Endpoint,
    object: &mut Value,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    check_fields(endpoint, object, validation, warnings)?;
    complete(endpoint, object);
    Ok(())
}

fn check_fields(
    endpoint: &Endpoint,
    object: &mut Value,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let schema = &endpoint.served().schema;
    let cannot = |why: String| {
        ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {why}",
            endpoint.version,
            kind = endpoint.resource.kind
        ))
    };
    let builtin = endpoint.resource.origin == Origin::Builtin;
    if builtin && let Some(error) = structural::decode_error(schema, object) {
        return Err(cannot(error.to_string()));
    }
    if builtin && let Some(at) = broken_base64(endpoint, object) {
        return Err(cannot(format!("illegal base64 data at input byte {at}")));
    }
    if endpoint.resource.origin != Origin::Schemaless {
        let unknown = structural::prune(schema, object, Unknown::Remove);
        if !unknown.is_empty() {
            let listed: Vec<String> = unknown
                .iter()
                .map(|path| format!("unknown field {path:?}"))
                .collect();
            match validation {
                FieldValidation::Strict => {
                    return Err(cannot(format!(
                        "strict decoding error: {}",
                        listed.join(", ")
                    )));
                }
                FieldValidation::Warn => warnings.extend(listed),
                FieldValidation::Ignore => {}
            }
        }
    }
    Ok(())
}

/// Where the first value that has to be base64 stops being it.
fn broken_base64(endpoint: &Endpoint, object: &Value) -> Option<usize> {
    let field = match endpoint.resource.kind.as_str() {
        "Secret" => "data",
        "ConfigMap" => "binaryData",
        _ => return None,
    };
    object[field]
        .as_object()?
        .values()
        .filter_map(Value::as_str)
        .find_map(|text| match BASE64.decode(text) {
            Ok(_) => None,
            Err(
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. },
            ) => Some(at),
            Err(_) => Some(text.len()),
        })
}

/// Validates an object that is about to be stored; `old` is what it replaces.
pub(super) fn validate(
    endpoint: &Endpoint,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let resource = &endpoint.stored;
    let mut errors = validate::object(resource, object, old);
    if resource.origin == Origin::Custom {
        let schema = &endpoint.served().schema;
        let found = structural::validate(schema, object, old);
        let lists = structural::validate_lists(schema, object);
        errors.extend(found.into_iter().chain(lists).map(|error| FieldError {
            field: error.field.clone(),
            reason: error.reason.cause(),
            detail: error.message.clone(),
        }));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let (_, name) = names(object);
    Err(ApiError::invalid(
        &endpoint.resource.id.group,
        &endpoint.resource.kind,
        name,
        &errors,
    ))
}
