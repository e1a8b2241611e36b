//! Which writes a policy, or a binding, is about.

use serde_json::Value;

use super::request::Attempt;
use crate::controllers::selector_matches;
use crate::store::Store;

/// The version of the resource in which the constraints match, if they do. Where there are no rules, everything does.
pub(super) fn matches(constraints: &Value, attempt: &Attempt<'_>, store: &Store) -> Option<String> {
    if !namespace_matches(&constraints["namespaceSelector"], attempt, store)
        || !object_matches(&constraints["objectSelector"], attempt)
        || matching_version(&constraints["excludeResourceRules"], constraints, attempt).is_some()
    {
        return None;
    }
    let rules = &constraints["resourceRules"];
    if rules.as_array().is_none_or(Vec::is_empty) {
        return Some(attempt.version.to_owned());
    }
    matching_version(rules, constraints, attempt)
}

fn is_empty(selector: &Value) -> bool {
    let none = |key: &str| match &selector[key] {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    none("matchLabels") && none("matchExpressions")
}

fn namespace_matches(selector: &Value, attempt: &Attempt<'_>, store: &Store) -> bool {
    if is_empty(selector) || attempt.namespace.is_empty() && !attempt.is_about_namespaces() {
        return true;
    }
    attempt
        .namespace_labels(store)
        .is_some_and(|labels| selector_matches(selector, &labels))
}

fn object_matches(selector: &Value, attempt: &Attempt<'_>) -> bool {
    if is_empty(selector) {
        return true;
    }
    [attempt.object, attempt.old].into_iter().any(|state| {
        state(attempt.version)
            .is_some_and(|object| selector_matches(selector, &object["metadata"]["labels"]))
    })
}

/// The version that one of the rules names: that of the request first, then the others that mean the same.
fn matching_version(rules: &Value, constraints: &Value, attempt: &Attempt<'_>) -> Option<String> {
    let rules = rules.as_array()?;
    let named = |version: &str| {
        rules
            .iter()
            .any(|rule| rule_matches(rule, version, attempt))
    };
    if named(attempt.version) {
        return Some(attempt.version.to_owned());
    }
    if constraints["matchPolicy"] == "Exact" {
        return None;
    }
    let versions = attempt.resource.versions.iter().map(|v| v.version.as_str());
    versions
        .filter(|version| *version != attempt.version)
        .find(|version| named(version))
        .map(str::to_owned)
}

fn rule_matches(rule: &Value, version: &str, attempt: &Attempt<'_>) -> bool {
    let id = &attempt.resource.id;
    let lists = |key: &str, wanted: &str| {
        rule[key]
            .as_array()
            .into_iter()
            .flatten()
            .any(|item| item == "*" || item == wanted)
    };
    let scope = match rule["scope"].as_str() {
        Some("Namespaced") => !attempt.is_about_namespaces() && !attempt.namespace.is_empty(),
        Some("Cluster") => attempt.is_about_namespaces() || attempt.namespace.is_empty(),
        _ => true,
    };
    let resource = rule["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|item| {
            let (resource, subresource) = item.split_once('/').unwrap_or((item, ""));
            (resource == "*" || resource == &*id.resource)
                && (subresource == "*" || subresource == attempt.subresource)
        });
    let mut names = rule["resourceNames"]
        .as_array()
        .into_iter()
        .flatten()
        .peekable();
    scope
        && resource
        && lists("operations", attempt.operation)
        && lists("apiGroups", &id.group)
        && lists("apiVersions", version)
        && (names.peek().is_none() || names.any(|name| name == attempt.name))
}
