//! `PATCH` in all four languages.

use json_patch::{AddOperation, PatchOperation};
use serde_json::{Map, Value, json};

use super::endpoint::Endpoint;
use super::options::{FieldValidation, WriteOptions};
use super::update::{Made, change};
use super::{admit, create, object_reply, ownership};
use crate::http::{Call, Reply, go_error, yaml};
use crate::resources::Origin;
use crate::status::{ApiError, FieldError};
use crate::writer::{Scope, names};

/// A language of patches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Language {
    Json,
    Merge,
    Strategic,
    Apply,
}

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Language {
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        match call.content_type() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => {
                let mut error =
                    ApiError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
                error.details = json!({});
                Err(error)
            }
        }
    }
}

fn unsupported(accepted: &str) -> ApiError {
    ApiError::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        ),
    )
}

pub(super) fn patch(call: &Call, endpoint: &Endpoint, scope: Scope) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse(call)?;
    let language = Language::of(call)?;
    if language == Language::Apply {
        return apply(call, endpoint, scope, &options);
    }
    if language == Language::Strategic && endpoint.resource.origin != Origin::Builtin {
        return Err(unsupported(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    let body = read(call, language)?;
    let mut warnings = Vec::new();
    let stored = change(call, endpoint, scope, &options, |live| {
        warnings.clear();
        if language == Language::Json {
            check_operations(&body, &options, &mut warnings)
                .map_err(|why| refused(language, &body, live, &why))?;
        }
        let mut object = edit(language, endpoint, live, &body)?;
        let patched = object.clone();
        check_identity(call, endpoint, live, &object)
            .map_err(|error| rewritten(language, &body, &patched, error))?;
        admit::fit(endpoint, &mut object, options.validation, &mut warnings)
            .map_err(|error| rewritten(language, &body, &patched, error))?;
        Ok(Made::Updated(object))
    })?;
    Ok(object_reply(call, endpoint, 200, &stored, warnings))
}

/// The patch document: JSON, of the shape that the language has.
pub(super) fn read(call: &Call, language: Language) -> Result<Value, ApiError> {
    let wrong = |why: String| {
        ApiError::bad_request(match language {
            Language::Strategic => why,
            _ => format!("error decoding patch: {why}"),
        })
    };
    let body: Value =
        serde_json::from_slice(&call.body).map_err(|error| wrong(go_error(&call.body, &error)))?;
    let found = match &body {
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => return Ok(body),
    };
    let into = match language {
        Language::Json if !body.is_array() => "[]handlers.jsonPatchOp",
        Language::Merge | Language::Strategic if !body.is_object() => "map[string]interface {}",
        _ => return Ok(body),
    };
    Err(wrong(format!(
        "json: cannot unmarshal {found} into Go value of type {into}"
    )))
}

/// Members of JSON patch operations that mean nothing.
fn check_operations(
    body: &Value,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let mut unknown = Vec::new();
    for (index, operation) in body.as_array().into_iter().flatten().enumerate() {
        for key in operation.as_object().into_iter().flat_map(Map::keys) {
            if !matches!(key.as_str(), "op" | "path" | "from" | "value") {
                unknown.push(format!("unknown field \"[{index}].{key}\""));
            }
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    match options.validation {
        FieldValidation::Strict => {
            return Err(format!(
                "strict decoding error: json patch {}",
                unknown.join(", json patch ")
            ));
        }
        FieldValidation::Warn => {
            warnings.extend(unknown.into_iter().map(|text| format!("json patch {text}")));
        }
        FieldValidation::Ignore => {}
    }
    Ok(())
}

/// A patch that makes something that is no object of the kind: the answer shows what it made, or, of strategic
/// patches, the patch.
fn refused(language: Language, body: &Value, made: &Value, why: &str) -> ApiError {
    let shown = match language {
        Language::Strategic => go_value(body),
        _ => made.to_string(),
    };
    ApiError::invalid(
        "",
        "",
        "",
        &[FieldError::invalid("patch", &shown.into(), why)],
    )
}

/// Turns a complaint about an object into one about the patch that made it.
fn rewritten(language: Language, body: &Value, made: &Value, error: ApiError) -> ApiError {
    let why = error
        .message
        .split_once(" cannot be handled as a ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map(|(_, why)| why.to_owned());
    match why {
        Some(why) if error.code == 400 => {
            let why = match language {
                Language::Strategic => converter_words(&why).unwrap_or(why),
                _ => why,
            };
            refused(language, body, made, &why)
        }
        _ => error,
    }
}

/// Strategic patches are made into Go values by another decoder, with words of its own.
fn converter_words(why: &str) -> Option<String> {
    let rest = why.strip_prefix("json: cannot unmarshal ")?;
    let (found, into) = rest.split_once(" into ")?;
    let (_, wanted) = into.rsplit_once(" of type ")?;
    let found = match found.split(' ').next()? {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        other => other,
    };
    Some(if wanted.starts_with("[]") {
        format!("cannot restore slice from {found}")
    } else if wanted.starts_with("map[") {
        format!("cannot restore map from {found}")
    } else if wanted.contains('.') {
        format!("cannot restore struct from: {found}")
    } else {
        format!("unrecognized type: {wanted}")
    })
}

/// A value as Go prints it with `%v`.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_value(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// Applies a patch document to an object.
pub(super) fn edit(
    language: Language,
    endpoint: &Endpoint,
    live: &Value,
    body: &Value,
) -> Result<Value, ApiError> {
    let mut object = live.clone();
    match language {
        Language::Json => {
            let patch: json_patch::Patch =
                serde_json::from_value(body.clone()).map_err(|_| rejected())?;
            for operation in patch.0 {
                let operation = lenient(&object, operation);
                json_patch::patch(&mut object, &[operation]).map_err(|_| rejected())?;
            }
        }
        Language::Merge => {
            json_patch::merge(&mut object, body);
        }
        Language::Strategic => {
            object = fairway_schema::strategic::apply(&endpoint.served().schema, live, body)
                .map_err(|error| ApiError::new(500, "", error.to_string()))?;
        }
        Language::Apply => return Err(unsupported(ACCEPTED)),
    }
    Ok(object)
}

/// What the API server says of a JSON patch that does not fit; it doesn't say why.
fn rejected() -> ApiError {
    let mut error = ApiError::new(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    );
    error.details = json!({});
    error
}

/// Kubernetes' JSON patches replace a missing member of an object where RFC 6902 has none to replace.
fn lenient(object: &Value, operation: PatchOperation) -> PatchOperation {
    let PatchOperation::Replace(replace) = &operation else {
        return operation;
    };
    let path = replace.path.as_str();
    let parent = path
        .rsplit_once('/')
        .and_then(|(parent, _)| object.pointer(parent));
    if object.pointer(path).is_none() && parent.is_some_and(Value::is_object) {
        return PatchOperation::Add(AddOperation {
            path: replace.path.clone(),
            value: replace.value.clone(),
        });
    }
    operation
}

/// A patch may not turn an object into another one.
fn check_identity(
    call: &Call,
    endpoint: &Endpoint,
    live: &Value,
    object: &Value,
) -> Result<(), ApiError> {
    let ((_, name), (_, given)) = (names(live), names(object));
    if name != given {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    admit::check_kind(endpoint, object)?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if endpoint.resource.namespaced && namespace != call.target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Server-side apply.
fn apply(
    call: &Call,
    endpoint: &Endpoint,
    scope: Scope,
    options: &WriteOptions,
) -> Result<Reply, ApiError> {
    if !options.manager_given {
        return Err(ApiError::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            &[FieldError::required(
                "fieldManager",
                "is required for apply patch",
            )],
        ));
    }
    let name = call.target.name.clone();
    let mut config = yaml(&call.body)?;
    if !config.is_object() && !config.is_null() {
        let found = match &config {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            _ => "number",
        };
        return Err(ApiError::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    }
    let meta = crate::writer::metadata(&mut config);
    if meta
        .get("managedFields")
        .is_some_and(|m| m.as_array().is_some_and(|l| !l.is_empty()))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    meta.remove("managedFields");
    meta.entry("name").or_insert_with(|| name.as_str().into());
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version != endpoint.api_version || kind != endpoint.resource.kind {
        let shown = if api_version.contains('/') {
            api_version
        } else {
            format!("/{api_version}")
        };
        return Err(ApiError::bad_request(format!(
            "invalid object type: {shown}, Kind={kind}"
        )));
    }
    let config = admit::decode_applied(endpoint, config, &call.target.namespace)?;
    let (_, given) = names(&config);
    if given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    if let Some(at) = admit::broken_base64(endpoint, &config) {
        let (space, _) = names(&config);
        let kind = format!(
            "{}, Kind={}",
            endpoint.resource.id.group.to_string() + "/" + &endpoint.version,
            endpoint.resource.kind
        );
        return Err(ApiError::new(
            500,
            "",
            format!(
                "failed to convert new object ({space}/{name}; {kind}) to proper version: unable to convert unstructured object to {kind}: error decoding from json: illegal base64 data at input byte {at}"
            ),
        ));
    }
    let uid = config["metadata"]["uid"].as_str().map(str::to_owned);
    for _ in 0..2 {
        let found = change(call, endpoint, scope, options, |live| {
            let mut object = ownership::apply(endpoint, Some(live), &config, options, scope)?;
            admit::complete(endpoint, &mut object);
            Ok(Made::Applied(object))
        });
        match found {
            Ok(stored) => return Ok(object_reply(call, endpoint, 200, &stored, Vec::new())),
            Err(error) if error.code == 404 && scope == Scope::Object => {}
            Err(error) => return Err(error),
        }
        if let Some(uid) = &uid {
            return Err(ApiError::conflict(
                &endpoint.resource.id,
                &name,
                &format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                ),
            ));
        }
        let mut object = ownership::apply(endpoint, None, &config, options, scope)?;
        admit::place(endpoint, &mut object, &call.target.namespace);
        admit::complete(endpoint, &mut object);
        match create::store(call, endpoint, object, options, true) {
            Ok(stored) => return Ok(object_reply(call, endpoint, 201, &stored, Vec::new())),
            // Created by somebody else in between: merge with that.
            Err(error) if error.reason == "AlreadyExists" => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::modified(&endpoint.resource.id, &name))
}
