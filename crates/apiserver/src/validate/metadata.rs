//! Names, labels, annotations, owners, finalizers.

use serde_json::Value;

use crate::resources::{Origin, Resource};
use crate::status::FieldError;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// All annotations of an object together.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

pub(super) fn check(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let meta = &object["metadata"];
    if old.is_none() {
        name(resource, meta, &mut errors);
    }
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        qualified("metadata.labels", key, &mut errors);
        if let Some(text) = value.as_str() {
            if text.len() > 63 {
                errors.push(FieldError::invalid(
                    "metadata.labels",
                    value,
                    "must be no more than 63 characters",
                ));
            }
            if !text.is_empty() && !is_name_part(text) {
                errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
            }
        }
    }
    let mut size = 0;
    for (key, value) in meta["annotations"].as_object().into_iter().flatten() {
        qualified("metadata.annotations", &key.to_lowercase(), &mut errors);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError {
            field: "metadata.annotations".into(),
            reason: "FieldValueTooLong",
            detail: format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"),
        });
    }
    owners(meta, &mut errors);
    for (index, finalizer) in meta["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let text = finalizer.as_str().unwrap_or_default();
        let standard = matches!(text, "orphan" | "foregroundDeletion" | "kubernetes");
        if !standard
            && !text.contains('/')
            && resource.origin == Origin::Builtin
            && !text.contains('.')
        {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    errors
}

fn name(resource: &Resource, meta: &Value, errors: &mut Vec<FieldError>) {
    let field = "metadata.name";
    let value = &meta["name"];
    let text = value.as_str().unwrap_or_default();
    let group = &*resource.id.group;
    let builtin = resource.origin == Origin::Builtin;
    // Path segments: anything that fits into a URL.
    let loose = builtin
        && (group == "rbac.authorization.k8s.io"
            || matches!(
                &*resource.id.resource,
                "controllerrevisions" | "clustertrustbundles"
            ));
    if loose {
        if matches!(text, "." | "..") {
            errors.push(FieldError::invalid(
                field,
                value,
                &format!("may not be '{text}'"),
            ));
        }
        for sign in ['/', '%'] {
            if text.contains(sign) {
                errors.push(FieldError::invalid(
                    field,
                    value,
                    &format!("may not contain '{sign}'"),
                ));
            }
        }
        return;
    }
    let (limit, valid, rule): (usize, fn(&str) -> bool, &str) =
        match (group, &*resource.id.resource) {
            ("", "namespaces") if builtin && text.contains('.') => {
                (63, |_| false, "must not contain dots")
            }
            ("", "namespaces" | "services") if builtin => (63, is_label, LABEL),
            _ => (253, is_subdomain, SUBDOMAIN),
        };
    if text.len() > limit {
        errors.push(FieldError::invalid(
            field,
            value,
            &format!("must be no more than {limit} characters"),
        ));
    }
    if !valid(text) {
        errors.push(FieldError::invalid(field, value, rule));
    }
    // The job's name is a label of its pods.
    if builtin && group == "batch" && &*resource.id.resource == "cronjobs" && text.len() > 52 {
        errors.push(FieldError::invalid(
            field,
            value,
            "must be no more than 52 characters",
        ));
    }
}

fn owners(meta: &Value, errors: &mut Vec<FieldError>) {
    let mut controllers: Vec<String> = Vec::new();
    for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
        for (key, what) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[key].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::invalid(
                    format!("metadata.ownerReferences.{key}"),
                    &"".into(),
                    what,
                ));
            }
        }
        if owner["controller"] == true {
            let text = |key: &str| owner[key].as_str().unwrap_or_default();
            controllers.push(format!("{}/{}", text("kind"), text("name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            &meta["ownerReferences"],
            &format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
            ),
        ));
    }
}

/// What is wrong with the name of a host.
pub(super) fn subdomain_error(text: &str) -> Option<&'static str> {
    (!is_subdomain(text)).then_some(SUBDOMAIN)
}

/// What is wrong with a label's value in a selector.
pub(crate) fn label_value_error(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 characters".into());
    }
    (!text.is_empty() && !is_name_part(text)).then(|| LABEL_VALUE.into())
}

/// What is wrong with a label's key in a selector.
pub(crate) fn label_key_error(key: &str) -> Option<String> {
    if key.matches('/').count() > 1 {
        return Some(
            QUALIFIED.replacen("name part", "a valid label key", 1)
                + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        );
    }
    let mut errors = Vec::new();
    qualified("", key, &mut errors);
    let details: Vec<String> = errors
        .into_iter()
        .map(|error| {
            let text = error.detail;
            text.split_once(": ")
                .and_then(|(_, rest)| rest.split_once(": "))
                .map_or(text.clone(), |(_, why)| why.to_owned())
        })
        .collect();
    (!details.is_empty()).then(|| details.join("; "))
}

/// A label or annotation key: an optional domain, a slash, a name.
fn qualified(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let value = Value::from(key);
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            errors.push(FieldError::invalid(
                field,
                &value,
                "prefix part must be non-empty",
            ));
        } else if !is_subdomain(prefix) {
            errors.push(FieldError::invalid(
                field,
                &value,
                &format!("prefix part {SUBDOMAIN}"),
            ));
        }
    }
    if name.is_empty() {
        errors.push(FieldError::invalid(
            field,
            &value,
            "name part must be non-empty",
        ));
    } else if name.len() > 63 {
        errors.push(FieldError::invalid(
            field,
            &value,
            "name part must be no more than 63 characters",
        ));
    } else if !is_name_part(name) {
        errors.push(FieldError::invalid(field, &value, QUALIFIED));
    }
}

fn is_name_part(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_label(text: &str) -> bool {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.chars().all(|c| lower(c) || c == '-') && text.starts_with(lower) && text.ends_with(lower)
}

fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        for good in ["a", "a-b.c9", "0"] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a_b"] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }
}
