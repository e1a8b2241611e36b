//! Label and field selectors.

use std::collections::BTreeMap;

use serde_json::Value;

use super::endpoint::Endpoint;
use super::labels::{self, LabelTerm};
use crate::http::Query;
use crate::status::ApiError;

/// What a list or watch is narrowed to.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
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
            labels: labels::parse(query.get("labelSelector").unwrap_or_default())?,
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

fn parse_fields(text: &str, endpoint: &Endpoint) -> Result<Vec<FieldTerm>, ApiError> {
    let mut terms = Vec::new();
    for term in text.split(',').filter(|term| !term.is_empty()) {
        let (key, value, equal) = if let Some((key, value)) = term.split_once("!=") {
            (key, value, false)
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (key, value, true)
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
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
