//! Whether the schema of a custom resource definition is structural.

use serde_json::Value;

use super::error::{FieldError, Reason};

/// Checks `openAPIV3Schema` of a version: types are given, no contradictions, nothing that structural schemas don't
/// have. `path` is where the schema is: `spec.versions[0].schema.openAPIV3Schema`.
pub fn check_crd_schema(path: &str, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {}
        Some(other) => errors.push(FieldError::with_value(
            &format!("{path}.type"),
            Reason::Invalid,
            &other.into(),
            "must be object at the root",
        )),
        None => errors.push(FieldError::plain(
            &format!("{path}.type"),
            Reason::Required,
            "must not be empty at the root",
        )),
    }
    check(path, schema, true, &mut errors);
    unknown_types(path, schema, &mut errors);
    errors
}

fn unknown_types(path: &str, schema: &Value, errors: &mut Vec<FieldError>) {
    const KNOWN: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    if let Some(kind) = schema.get("type").and_then(Value::as_str)
        && !KNOWN.contains(&kind)
    {
        let known: Vec<String> = KNOWN.iter().map(|kind| format!("{kind:?}")).collect();
        errors.push(FieldError {
            field: format!("{path}.type"),
            reason: Reason::NotSupported,
            message: format!(
                "Unsupported value: {kind:?}: supported values: {}",
                known.join(", ")
            ),
        });
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        unknown_types(&format!("{path}.properties[{name}]"), property, errors);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            unknown_types(&format!("{path}.{key}"), inner, errors);
        }
    }
}

fn check(path: &str, schema: &Value, root: bool, errors: &mut Vec<FieldError>) {
    let Some(map) = schema.as_object() else {
        errors.push(FieldError::with_value(
            path,
            Reason::Invalid,
            schema,
            "must be an object",
        ));
        return;
    };
    let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
    let word = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut forbid = |key: &str, why: &str| {
        errors.push(FieldError::plain(
            &format!("{path}.{key}"),
            Reason::Forbidden,
            why,
        ));
    };
    for key in [
        "$ref",
        "definitions",
        "dependencies",
        "id",
        "patternProperties",
        "additionalItems",
    ] {
        if map.contains_key(key) {
            forbid(key, &format!("{key} is not supported"));
        }
    }
    if flag("uniqueItems") {
        forbid(
            "uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    let properties = map.get("properties").and_then(Value::as_object);
    if properties.is_some() && map.contains_key("additionalProperties") {
        forbid(
            "additionalProperties",
            "additionalProperties and properties are mutual exclusive",
        );
    }
    let any_type =
        flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    if word("type").is_empty() && !any_type && !root {
        let why = "must not be empty for specified object fields";
        errors.push(FieldError::plain(
            &format!("{path}.type"),
            Reason::Required,
            why,
        ));
    }
    if word("type") == "array" && !map.contains_key("items") {
        errors.push(FieldError::plain(
            &format!("{path}.items"),
            Reason::Required,
            "must be specified",
        ));
    }
    check_list(path, map, errors);
    if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
        && let Err(error) = regex::Regex::new(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::with_value(
            &format!("{path}.pattern"),
            Reason::Invalid,
            &pattern.into(),
            &why,
        ));
    }
    for (name, property) in properties.into_iter().flatten() {
        check(
            &format!("{path}.properties[{name}]"),
            property,
            false,
            errors,
        );
    }
    if let Some(items) = map.get("items") {
        check(&format!("{path}.items"), items, false, errors);
    }
    if let Some(additional) = map
        .get("additionalProperties")
        .filter(|additional| additional.is_object())
    {
        check(
            &format!("{path}.additionalProperties"),
            additional,
            false,
            errors,
        );
    }
}

fn check_list(path: &str, map: &serde_json::Map<String, Value>, errors: &mut Vec<FieldError>) {
    let kind = map.get("x-kubernetes-list-type").and_then(Value::as_str);
    let keys = map
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array);
    let field = format!("{path}.x-kubernetes-list-type");
    match kind {
        None | Some("atomic" | "set" | "map") => {}
        Some(other) => {
            let why = r#"supported values: "atomic", "set", "map""#;
            errors.push(FieldError::with_value(
                &field,
                Reason::NotSupported,
                &other.into(),
                why,
            ));
        }
    }
    if kind.is_some() && map.get("type").and_then(Value::as_str) != Some("array") {
        let found = map.get("type").cloned().unwrap_or_else(|| "".into());
        let why = "must be array if x-kubernetes-list-type is specified";
        errors.push(FieldError::with_value(
            &format!("{path}.type"),
            Reason::Invalid,
            &found,
            why,
        ));
    }
    let keys_field = format!("{path}.x-kubernetes-list-map-keys");
    match (kind, keys) {
        (Some("map"), None) => {
            let why = "must not be empty if x-kubernetes-list-type is map";
            errors.push(FieldError::plain(&keys_field, Reason::Required, why));
        }
        (kind, Some(_)) if kind != Some("map") => {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.push(FieldError::with_value(
                &field,
                Reason::Invalid,
                &kind.unwrap_or_default().into(),
                why,
            ));
        }
        (_, keys) => {
            let known = |key: &Value| {
                let key = key.as_str().unwrap_or_default();
                map.get("items")
                    .is_some_and(|items| items["properties"].get(key).is_some())
            };
            if let Some(keys) = keys
                && !keys.iter().all(known)
            {
                let why = "entries must all be names of item properties";
                let keys = Value::from(keys.clone());
                errors.push(FieldError::with_value(
                    &keys_field,
                    Reason::Invalid,
                    &keys,
                    why,
                ));
            }
        }
    }
}
