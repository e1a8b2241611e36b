//! From what a client sent to an object that fits its kind.

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::{DecodeError, Engine};
use fairway_schema::kinds::{self, split_api_version};
use fairway_schema::structural::{self, Unknown};
use serde_json::Value;

use super::duplicates;
use super::endpoint::Endpoint;
use super::options::FieldValidation;
use crate::http::Call;
use crate::resources::Origin;
use crate::status::{ApiError, FieldError};
use crate::validate;
use crate::writer::{Scope, names};

/// Where Kubernetes' registry of types stands, as its messages tell it.
pub(super) const SCHEME: &str = "\"pkg/runtime/scheme.go:111\"";

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

/// Checks that an object that a patch made is still of its kind.
pub(super) fn check_kind(endpoint: &Endpoint, object: &Value) -> Result<(), ApiError> {
    check_type(endpoint, &mut object.clone())
}

fn check_type(endpoint: &Endpoint, object: &mut Value) -> Result<(), ApiError> {
    let kind = &endpoint.resource.kind;
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!("no {kind} but {object}")));
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
    let text = |key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, given) = (text("apiVersion"), text("kind"));
    if given.is_empty() {
        let body = Value::Object(map.clone()).to_string();
        return Err(unrecognized(
            endpoint,
            &format!("Object 'Kind' is missing in '{body}'"),
            body.as_bytes(),
        ));
    }
    let cannot = |why: String| {
        ApiError::bad_request(format!(
            "{given} in version {:?} cannot be handled as a {kind}: {why}",
            endpoint.version
        ))
    };
    if endpoint.resource.origin == Origin::Builtin {
        let (group, version) = split_api_version(&api_version);
        if kinds::by_kind(group, version, &given).is_none() {
            return Err(cannot(format!(
                "no kind {given:?} is registered for version {api_version:?} in scheme {SCHEME}"
            )));
        }
        if given != *kind {
            return Err(cannot(format!(
                "converting ({version}.{given}) to ({}.{kind}): unknown conversion",
                internal_package(&endpoint.resource.id.group)
            )));
        }
    }
    if api_version != endpoint.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            endpoint.api_version
        )));
    }
    if given != *kind {
        let (_, name) = names(object);
        let (group, _) = split_api_version(&api_version);
        return Err(ApiError::invalid(
            group,
            &given,
            name,
            &[FieldError::invalid(
                "kind",
                &given.as_str().into(),
                &format!("must be {kind}"),
            )],
        ));
    }
    check_metadata(endpoint, object)
}

/// The Go package of a group's internal types, as it shows in messages.
fn internal_package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    }
}

/// Metadata is of one Go type whatever the kind.
fn check_metadata(endpoint: &Endpoint, object: &Value) -> Result<(), ApiError> {
    let kind = &endpoint.resource.kind;
    let builtin = endpoint.resource.origin == Origin::Builtin;
    let cannot = |why: String| {
        ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {why}",
            endpoint.version
        ))
    };
    let meta = &object["metadata"];
    if !meta.is_object() && !meta.is_null() {
        return Err(cannot(format!(
            "json: cannot unmarshal {} into Go struct field {kind}.metadata of type v1.ObjectMeta",
            go_kind(meta)
        )));
    }
    let path = if builtin { "metadata." } else { "" };
    for key in ["labels", "annotations"] {
        let wrong = meta[key]
            .as_object()
            .into_iter()
            .flatten()
            .find(|(_, value)| !value.is_string() && !value.is_null());
        if let Some((_, value)) = wrong {
            return Err(cannot(format!(
                "json: cannot unmarshal {} into Go struct field ObjectMeta.{path}{key} of type string",
                go_kind(value)
            )));
        }
    }
    if let Some(text) = meta["creationTimestamp"].as_str()
        && text.parse::<jiff::Timestamp>().is_err()
    {
        return Err(cannot(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        )));
    }
    Ok(())
}

/// What Go's decoder calls a value.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A body of which not even the kind can be told.
fn unrecognized(endpoint: &Endpoint, why: &str, body: &[u8]) -> ApiError {
    const SHOWN: usize = 30;
    let start = &body[..body.len().min(SHOWN)];
    let mut summary = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => hex(start),
    };
    if body.len() > SHOWN {
        summary += " ...";
    }
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({summary})",
        endpoint.resource.kind
    ))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The object in the body of a create or update; fields that stand there twice are reported as asked for.
pub(super) fn read(
    call: &Call,
    endpoint: &Endpoint,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let object = call.object().map_err(|error| {
        if error.code == 400 {
            unrecognized(endpoint, &error.message, &call.body)
        } else {
            error
        }
    })?;
    if !object.is_object() {
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            go_kind(&object)
        );
        return Err(unrecognized(endpoint, &why, &call.body));
    }
    let twice = duplicates::in_json(&call.body);
    if !twice.is_empty() {
        let listed: Vec<String> = twice
            .iter()
            .map(|path| format!("duplicate field {path:?}"))
            .collect();
        match validation {
            FieldValidation::Strict => {
                let kind = &endpoint.resource.kind;
                return Err(ApiError::bad_request(format!(
                    "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
                    endpoint.version,
                    listed.join(", ")
                )));
            }
            FieldValidation::Warn => warnings.extend(listed),
            FieldValidation::Ignore => {}
        }
    }
    Ok(object)
}

/// Reviews that are tracked like objects that are kept.
pub(super) fn is_owned_review(kind: &str) -> bool {
    matches!(
        kind,
        "SubjectAccessReview"
            | "SelfSubjectAccessReview"
            | "LocalSubjectAccessReview"
            | "TokenReview"
    )
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
    if builtin {
        if wrong_quantity(object) {
            return Err(cannot(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned(),
            ));
        }
        if let Some(found) = wrong_port(endpoint, object) {
            return Err(cannot(format!(
                "json: cannot unmarshal {found} into Go struct field ServicePort.spec.ports.targetPort of type int32"
            )));
        }
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

/// Whether containers ask for something that is no quantity.
fn wrong_quantity(value: &Value) -> bool {
    let quantity = |value: &Value| {
        let text = value.as_str().unwrap_or("0");
        let start = text.trim_start_matches(['+', '-']);
        start.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && text
                .chars()
                .all(|c| "0123456789.+-eEinumkKMGTP".contains(c))
    };
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            if key == "resources" {
                ["limits", "requests"].iter().any(|kind| {
                    let amounts = value[*kind].as_object().into_iter().flatten();
                    amounts.into_iter().any(|(_, amount)| !quantity(amount))
                })
            } else {
                wrong_quantity(value)
            }
        }),
        Value::Array(items) => items.iter().any(wrong_quantity),
        _ => false,
    }
}

/// What stands where the target of a Service's port should be a number or a name.
fn wrong_port(endpoint: &Endpoint, object: &Value) -> Option<&'static str> {
    if !endpoint.resource.is("", "services") {
        return None;
    }
    let ports = object["spec"]["ports"].as_array()?;
    let target = ports
        .iter()
        .map(|port| &port["targetPort"])
        .find(|target| target.is_array() || target.is_object() || target.is_boolean())?;
    Some(go_kind(target))
}

/// Where the first value that has to be base64 stops being it.
pub(super) fn broken_base64(endpoint: &Endpoint, object: &Value) -> Option<usize> {
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

/// Mistakes that leave rules in CEL nothing to look at.
const HINDERING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];
const HINDERED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// Validates an object that is about to be stored; `old` is what it replaces.
pub(super) fn validate(
    call: &Call,
    endpoint: &Endpoint,
    object: &Value,
    old: Option<&Value>,
    scope: Scope,
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
            // A status on its way through its own subresource is looked at by itself.
            detail: if scope == Scope::Status {
                error.message.replace(": status.", ": ")
            } else {
                error.message.clone()
            },
        }));
        if let Some(rules) = &endpoint.served().rules
            && !rules.is_empty()
        {
            if errors.iter().any(|error| HINDERING.contains(&error.reason)) {
                errors.push(FieldError::invalid("<nil>", &Value::Null, HINDERED));
            } else {
                let mut warnings = Vec::new();
                errors.extend(rules.check(object, old, &mut warnings));
                call.warn(warnings);
            }
        }
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
