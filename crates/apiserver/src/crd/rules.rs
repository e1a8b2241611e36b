//! What makes a CRD valid, and the status that says so.

use fairway_schema::structural::{self, Schema, check_crd_schema};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::definitions;
use crate::resources::{Origin, Registry};
use crate::status::{ApiError, FieldError};
use crate::writer::{api_time, is_deleting};

/// Checks a CRD; `old` is what it replaces.
pub(crate) fn validate(crd: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &crd["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let name = &crd["metadata"]["name"];
    if old.is_none() && *name != format!("{plural}.{group}") {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    }
    if !group.is_empty() && !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            &spec["group"],
            "should be a domain with at least one dot",
        ));
    }
    match spec["scope"].as_str() {
        Some("Namespaced" | "Cluster") => {}
        None => errors.push(FieldError::required("spec.scope", "")),
        Some(_) => errors.push(FieldError::unsupported(
            "spec.scope",
            &spec["scope"],
            &["Cluster", "Namespaced"],
        )),
    }
    if old.is_none() && spec["preserveUnknownFields"] == true {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            &json!(true),
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    versions(spec, &mut errors);
    for key in ["plural", "singular", "kind", "listKind"] {
        let missing = spec["names"][key].as_str().unwrap_or_default().is_empty();
        if missing {
            errors.push(FieldError::required(format!("spec.names.{key}"), ""));
        }
    }
    let any = spec["versions"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if !any {
        errors.push(FieldError::invalid(
            "status.storedVersions",
            &Value::Null,
            "must have at least one stored version",
        ));
    }
    let protected = group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io");
    let approval = &crd["metadata"]["annotations"]["api-approved.kubernetes.io"];
    if protected && old.is_none() && approval.as_str().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(
            "metadata.annotations[api-approved.kubernetes.io]",
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ));
    }
    if let Some(old) = old {
        for field in ["group", "scope"] {
            if old["spec"][field] != spec[field] {
                errors.push(FieldError::invalid(
                    format!("spec.{field}"),
                    &spec[field],
                    "field is immutable",
                ));
            }
        }
        for field in ["plural", "kind"] {
            if old["spec"]["names"][field] != spec["names"][field] {
                errors.push(FieldError::invalid(
                    format!("spec.names.{field}"),
                    &spec["names"][field],
                    "field is immutable",
                ));
            }
        }
    }
    errors
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let stored = versions.iter().filter(|v| v["storage"] == true).count();
    if stored != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            &spec["versions"],
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        if version["name"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        if versions[..index]
            .iter()
            .any(|other| other["name"] == version["name"])
        {
            errors.push(FieldError::duplicate(
                format!("{path}.name"),
                &version["name"],
            ));
        }
        let schema_of = |version: &Value| version.pointer("/schema/openAPIV3Schema").cloned();
        // A schema that all versions share is told of as it was when they had to share it.
        let shared = versions
            .iter()
            .all(|other| schema_of(other) == schema_of(version));
        let path = if shared && schema_of(version).is_some() {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("{path}.schema.openAPIV3Schema")
        };
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else {
            errors.push(FieldError::required(path, ""));
            continue;
        };
        let mut found = check_crd_schema(&path, schema);
        if found.is_empty() {
            defaults(&path, schema, &mut found);
        }
        if shared && index > 0 {
            found.clear();
        }
        if found.is_empty() && !(shared && index > 0) {
            match Schema::for_custom_resource(Some(schema)) {
                Ok(parsed) => errors.extend(definitions::check(&path, schema, &parsed)),
                Err(error) => {
                    errors.push(FieldError {
                        field: path,
                        reason: "FieldValueInvalid",
                        detail: format!("Invalid value: {error}"),
                    });
                    continue;
                }
            }
        }
        errors.extend(found.into_iter().map(|error| FieldError {
            reason: error.reason.cause(),
            field: error.field,
            detail: error.message,
        }));
    }
}

/// Defaults that their own schema refuses.
fn defaults(path: &str, schema: &Value, found: &mut Vec<structural::FieldError>) {
    if let Some(default) = schema.get("default")
        && let Ok(parsed) = Schema::from_openapi_v3(schema)
    {
        for mut error in structural::validate(&parsed, default, None) {
            error.field = match error.field.as_str() {
                "<nil>" => format!("{path}.default"),
                within => format!("{path}.default.{within}"),
            };
            found.push(error);
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        defaults(&format!("{path}.properties[{name}]"), property, found);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            defaults(&format!("{path}.{key}"), &schema[key], found);
        }
    }
}

/// Stores that a new CRD is accepted: a moment after its creation, by the API server itself.
pub(crate) fn begin(crd: &mut Value) {
    let stored: Vec<&Value> = crd["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == true)
        .map(|version| &version["name"])
        .collect();
    let stored = json!(stored);
    crd["status"] = json!({
        "acceptedNames": {"plural": "", "kind": ""},
        "conditions": null,
        "storedVersions": stored,
    });
}

/// Accepts a CRD: names, conditions and stored versions in its status. Fails if a built-in kind has the name.
pub(crate) fn establish(crd: &mut Value, registry: &Registry) -> Result<(), ApiError> {
    let id = crate::store::GroupResource::new(
        crd["spec"]["group"].as_str().unwrap_or_default(),
        crd["spec"]["names"]["plural"].as_str().unwrap_or_default(),
    );
    if registry
        .get(&id)
        .is_some_and(|known| known.origin == Origin::Builtin)
    {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::invalid(
            super::GROUP,
            "CustomResourceDefinition",
            name,
            &[FieldError::forbidden(
                "spec.names",
                "the names belong to a built-in kind",
            )],
        ));
    }
    let storage: Option<String> = crd["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true)
        .and_then(|version| version["name"].as_str())
        .map(str::to_owned);
    let mut stored: Vec<Value> = crd["status"]["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if let Some(storage) = storage
        && !stored.contains(&json!(storage))
    {
        stored.push(storage.into());
    }
    let now = api_time(Timestamp::now());
    let mut conditions = vec![
        condition("NamesAccepted", "NoConflicts", "no conflicts found", &now),
        condition(
            "Established",
            "InitialNamesAccepted",
            "the initial names have been accepted",
            &now,
        ),
    ];
    if is_deleting(crd) {
        conditions.push(condition(
            "Terminating",
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
            &now,
        ));
    }
    let before = crd["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for condition in &mut conditions {
        if let Some(old) = before
            .iter()
            .find(|old| old["type"] == condition["type"] && old["status"] == condition["status"])
        {
            condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
        }
    }
    crd["status"] = json!({
        "acceptedNames": crd["spec"]["names"],
        "conditions": conditions,
        "storedVersions": stored,
    });
    Ok(())
}

fn condition(kind: &str, reason: &str, message: &str, now: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now})
}
