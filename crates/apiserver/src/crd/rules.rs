//! What makes a CRD valid, and the status that says so.

use fairway_schema::structural::{Schema, check_crd_schema};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resources::{Origin, Registry};
use crate::status::{ApiError, FieldError};
use crate::writer::{api_time, is_deleting};

/// Checks a CRD; `old` is what it replaces.
pub(crate) fn validate(crd: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &crd["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural, kind) = (
        text(&spec["group"]),
        text(&spec["names"]["plural"]),
        text(&spec["names"]["kind"]),
    );
    for (field, value) in [
        ("spec.group", &group),
        ("spec.names.plural", &plural),
        ("spec.names.kind", &kind),
    ] {
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    if !group.is_empty() && !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            &spec["group"],
            "should be a domain with at least one dot",
        ));
    }
    let name = &crd["metadata"]["name"];
    if *name != format!("{plural}.{group}") {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
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
    versions(spec, &mut errors);
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
    if versions.is_empty() {
        errors.push(FieldError::required("spec.versions", ""));
        return;
    }
    let stored = versions.iter().filter(|v| v["storage"] == true).count();
    if stored != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            &json!(
                versions
                    .iter()
                    .map(|v| v["name"].clone())
                    .collect::<Vec<_>>()
            ),
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
        let path = format!("{path}.schema.openAPIV3Schema");
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else {
            errors.push(FieldError::required(path, ""));
            continue;
        };
        let found = check_crd_schema(&path, schema);
        if found.is_empty()
            && let Err(error) = Schema::for_custom_resource(Some(schema))
        {
            errors.push(FieldError {
                field: path,
                reason: "FieldValueInvalid",
                detail: format!("Invalid value: {error}"),
            });
            continue;
        }
        errors.extend(found.into_iter().map(|error| FieldError {
            reason: error.reason.cause(),
            field: error.field,
            detail: error.message,
        }));
    }
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
