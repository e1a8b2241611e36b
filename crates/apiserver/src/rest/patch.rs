//! `PATCH` in all four languages.

use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::options::WriteOptions;
use super::update::{Made, change};
use super::{admit, create, object_reply, ownership};
use crate::http::{Call, Reply, json as parse_json, yaml};
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
            _ => Err(unsupported(ACCEPTED)),
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
    let body = parse_json(&call.body)?;
    let mut warnings = Vec::new();
    let stored = change(call, endpoint, scope, &options, |live| {
        let mut object = edit(language, endpoint, live, &body)?;
        warnings.clear();
        admit::fit(endpoint, &mut object, options.validation, &mut warnings)?;
        check_identity(live, &object)?;
        Ok(Made::Updated(object))
    })?;
    Ok(object_reply(call, endpoint, 200, &stored, warnings))
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
            if !body.is_object() {
                return Err(ApiError::bad_request(
                    "error decoding patch: a merge patch is an object",
                ));
            }
            json_patch::merge(&mut object, body);
        }
        Language::Strategic => {
            object = fairway_schema::strategic::apply(&endpoint.served().schema, live, body)
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
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
fn check_identity(live: &Value, object: &Value) -> Result<(), ApiError> {
    let ((_, name), (_, given)) = (names(live), names(object));
    if name != given {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    for key in ["apiVersion", "kind"] {
        if live[key] != object[key] {
            return Err(ApiError::bad_request(format!(
                "a patch cannot change {key} from {} to {}",
                live[key], object[key]
            )));
        }
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
    let meta = crate::writer::metadata(&mut config);
    if meta
        .get("managedFields")
        .is_some_and(|m| m.as_array().is_some_and(|l| !l.is_empty()))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    meta.remove("managedFields");
    meta.entry("name").or_insert_with(|| name.as_str().into());
    if config["apiVersion"].is_null() || config["kind"].is_null() {
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
        return Err(ApiError::bad_request(format!(
            "invalid object type: {}, Kind={}",
            if config["apiVersion"].is_null() {
                "/".to_owned()
            } else {
                text("apiVersion")
            },
            text("kind")
        )));
    }
    let config = admit::decode_applied(endpoint, config, &call.target.namespace)?;
    let (_, given) = names(&config);
    if given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
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
