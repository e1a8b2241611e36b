//! Label and field selectors.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use super::endpoint::Endpoint;
use crate::http::Query;
use crate::status::ApiError;

/// What a list or watch is narrowed to.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelTerm {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    /// Keys from the root of the object.
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    pub(super) fn parse(query: &Query, endpoint: &Endpoint) -> Result<Self, ApiError> {
        Ok(Self {
            labels: parse_labels(query.get("labelSelector").unwrap_or_default())?,
            fields: parse_fields(query.get("fieldSelector").unwrap_or_default(), endpoint)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn and_name(&mut self, name: &str) {
        self.fields.push(FieldTerm {
            path: vec!["metadata".into(), "name".into()],
            value: name.into(),
            equal: true,
        });
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|term| term.matches(object))
            && self.fields.iter().all(|term| term.matches(object))
    }
}

impl LabelTerm {
    fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object
                .get("metadata")
                .and_then(|meta| meta.get("labels"))
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        let number = |key: &str| label(key).and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(key, values) => label(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => label(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|n| n > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|n| n < *bound),
        }
    }
}

impl FieldTerm {
    fn matches(&self, object: &Value) -> bool {
        let found = self
            .path
            .iter()
            .try_fold(object, |value, key| value.get(key));
        let same = match found {
            None | Some(Value::Null) => {
                self.value.is_empty() || self.value == "false" && self.is_flag()
            }
            Some(Value::String(text)) => *text == self.value,
            Some(other) => other.to_string().as_str() == self.value.as_str(),
        };
        same == self.equal
    }

    fn is_flag(&self) -> bool {
        self.path.last().is_some_and(|key| key == "unschedulable")
    }
}

fn bad(text: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!("unable to parse requirement: {why}: {text:?}"))
}

fn parse_labels(text: &str) -> Result<Vec<LabelTerm>, ApiError> {
    split_terms(text)
        .into_iter()
        .map(|term| parse_label(term.trim()))
        .collect()
}

/// Splits at commas that are not inside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

fn parse_label(term: &str) -> Result<LabelTerm, ApiError> {
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    if let Some(key) = term.strip_prefix('!') {
        return Ok(LabelTerm::Absent(check_key(key.trim(), term)?));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(LabelTerm::NotIn(check_key(key.trim(), term)?, one(value)));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(LabelTerm::In(check_key(key.trim(), term)?, one(value)));
    }
    for (sign, greater) in [('>', true), ('<', false)] {
        if let Some((key, value)) = term.split_once(sign) {
            let bound = value.trim().parse().map_err(|_| {
                bad(
                    term,
                    "for 'Gt', 'Lt' operators, the value must be an integer",
                )
            })?;
            let key = check_key(key.trim(), term)?;
            return Ok(if greater {
                LabelTerm::Greater(key, bound)
            } else {
                LabelTerm::Less(key, bound)
            });
        }
    }
    if let Some((head, list)) = term.split_once('(') {
        let list = list
            .strip_suffix(')')
            .ok_or_else(|| bad(term, "found unexpected end of list"))?;
        let values = list.split(',').map(|v| v.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        let key = check_key(words.next().unwrap_or_default(), term)?;
        return match (words.next(), words.next()) {
            (Some("in"), None) => Ok(LabelTerm::In(key, values)),
            (Some("notin"), None) => Ok(LabelTerm::NotIn(key, values)),
            _ => Err(bad(term, "expected: in, notin, =, ==, !=, gt, lt")),
        };
    }
    Ok(LabelTerm::Exists(check_key(term, term)?))
}

fn check_key(key: &str, term: &str) -> Result<String, ApiError> {
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "()!=<>,".contains(c)) {
        return Err(bad(term, "found an invalid label key"));
    }
    Ok(key.to_owned())
}

fn parse_fields(text: &str, endpoint: &Endpoint) -> Result<Vec<FieldTerm>, ApiError> {
    let mut terms = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (key, value, equal) = if let Some((key, value)) = term.split_once("!=") {
            (key, value, false)
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (key, value, true)
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: {text:?}; can't understand {term:?}"
            )));
        };
        terms.push(FieldTerm {
            path: field_path(key.trim(), endpoint)?,
            value: value.trim().replace("\\,", ",").replace("\\=", "="),
            equal,
        });
    }
    Ok(terms)
}

fn field_path(key: &str, endpoint: &Endpoint) -> Result<Vec<String>, ApiError> {
    let split = |path: &str| path.split('.').map(str::to_owned).collect();
    if key == "metadata.name" || (key == "metadata.namespace" && endpoint.resource.namespaced) {
        return Ok(split(key));
    }
    let resource = &endpoint.resource;
    let known = selectable();
    let special = known.get(&(&*resource.id.group, &*resource.id.resource));
    let supported = special.is_some_and(|keys| keys.contains(&key))
        || endpoint
            .served()
            .selectable
            .iter()
            .any(|path| path.trim_start_matches('.') == key);
    if !supported && special.is_none() {
        let only = if resource.namespaced {
            "\"metadata.name\", \"metadata.namespace\""
        } else {
            "\"metadata.name\""
        };
        return Err(ApiError::bad_request(format!(
            "{key:?} is not a known field selector: only {only}"
        )));
    }
    if !supported {
        return Err(ApiError::bad_request(format!(
            "field label not supported: {key}"
        )));
    }
    // Field selectors name an Event's parts as core `v1` does, whatever form is asked for.
    if resource.is(super::endpoint::NEW_EVENTS, "events") {
        return Ok(split(&key.replacen("regarding.", "involvedObject.", 1)));
    }
    Ok(match (resource.kind.as_str(), key) {
        ("Event", "source") => split("source.component"),
        _ => split(key),
    })
}

/// Fields that selectors may name besides name and namespace, as the built-in kinds have them.
fn selectable() -> BTreeMap<(&'static str, &'static str), &'static [&'static str]> {
    const EVENTS: &[&str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];
    const NEW_EVENTS: &[&str] = &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "type",
    ];
    const PODS: &[&str] = &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ];
    BTreeMap::from([
        (("", "events"), EVENTS),
        (("events.k8s.io", "events"), NEW_EVENTS),
        (("", "pods"), PODS),
        (("", "namespaces"), &["status.phase"] as &[_]),
        (("", "nodes"), &["spec.unschedulable"]),
        (("", "secrets"), &["type"]),
        (("", "services"), &["spec.clusterIP", "spec.type"]),
        (("", "replicationcontrollers"), &["status.replicas"]),
        (("apps", "replicasets"), &["status.replicas"]),
        (("batch", "jobs"), &["status.successful"]),
        (
            ("certificates.k8s.io", "certificatesigningrequests"),
            &["spec.signerName"],
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(text: &str, labels: Value) -> bool {
        parse_labels(text)
            .unwrap()
            .iter()
            .all(|term| term.matches(&json!({"metadata": {"labels": labels}})))
    }

    #[test]
    fn labels_are_selected_as_kubectl_writes_them() {
        let labels = json!({"env": "dev", "tier": "web", "n": "7"});
        for text in [
            "env=dev",
            "env==dev,tier",
            "env in (dev, staging),tier!=db",
            "region notin (eu),!gone",
            "n>6,n<8",
        ] {
            assert!(selects(text, labels.clone()), "{text}");
        }
        for text in ["env=prod", "!tier", "env notin (dev)", "region", "n>7"] {
            assert!(!selects(text, labels.clone()), "{text}");
        }
    }

    #[test]
    fn broken_selectors_are_refused() {
        assert!(parse_labels("env in (a").is_err());
        assert!(parse_labels("a b").is_err());
    }
}
