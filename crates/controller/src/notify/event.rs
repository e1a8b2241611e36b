//! An event as Flux's notification API has it (event.toolkit.fluxcd.io/v1beta1), and which of its metadata people see.

use std::collections::BTreeMap;

use fairway_types::condition::seconds;
use fairway_types::names;
use fairway_types::notification::{AlertSpec, EventSeverity};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use serde::Serialize;

use crate::events::{Happening, Severity};

/// Longest message, in characters: what Flux's API allows.
const MAX_MESSAGE: usize = 39_000;

/// An event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FluxEvent {
    pub(crate) involved_object: ObjectReference,
    pub(crate) severity: EventSeverity,
    #[serde(with = "seconds")]
    pub(crate) timestamp: Timestamp,
    pub(crate) message: String,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) reporting_controller: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reporting_instance: String,
}

impl FluxEvent {
    /// The event for what happened.
    pub(crate) fn new(
        happening: &Happening,
        component: &str,
        instance: &str,
        now: Timestamp,
    ) -> Self {
        let mut message = happening.message.clone();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
        }
        Self {
            involved_object: happening.object.clone(),
            severity: match happening.severity {
                Severity::Info => EventSeverity::Info,
                Severity::Error => EventSeverity::Error,
            },
            timestamp: now,
            message,
            reason: happening.reason.clone(),
            metadata: happening.metadata.clone(),
            reporting_controller: component.to_owned(),
            reporting_instance: instance.to_owned(),
        }
    }

    pub(crate) fn kind(&self) -> &str {
        self.involved_object.kind.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.involved_object
            .namespace
            .as_deref()
            .unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.involved_object.name.as_deref().unwrap_or_default()
    }

    /// API group of the object, with a slash.
    fn group(&self) -> String {
        let version = self.involved_object.api_version.as_deref();
        let group = version.and_then(|version| version.split_once('/'));
        format!("{}/", group.map_or("", |(group, _)| group))
    }

    /// `kustomization/apps.flux-system`, as messages name it.
    pub(crate) fn title(&self) -> String {
        format!(
            "{}/{}.{}",
            self.kind().to_lowercase(),
            self.name(),
            self.namespace()
        )
    }

    /// The metadata under the prefix of the object's group.
    pub(crate) fn of_object(&self, key: &str) -> Option<&str> {
        let value = self.metadata.get(&format!("{}{key}", self.group()))?;
        Some(value)
    }

    /// Leaves only the metadata that is for notifications: under the prefix of the event's group or of the object's, and no
    /// checksums.
    pub(crate) fn clean(&mut self) {
        let group = self.group();
        let excluded = [format!("{group}checksum"), format!("{group}digest")];
        self.metadata.retain(|key, _| {
            (key.starts_with(names::EVENT_PREFIX) || key.starts_with(&group))
                && !excluded.iter().any(|no| no.eq_ignore_ascii_case(key))
        });
    }

    /// The event as one Alert tells it: the metadata of the object's annotations, then the Alert's, then the controller's own,
    /// each without prefix; the later goes before the earlier.
    pub(crate) fn told_by(&self, alert: &AlertSpec) -> Self {
        let group = self.group();
        let token = format!("{group}token");
        let under = |prefix: &str| {
            let prefix = prefix.to_owned();
            self.metadata
                .iter()
                .filter(|(key, _)| **key != token)
                .filter_map(move |(key, value)| {
                    Some((key.strip_prefix(&prefix)?.to_owned(), value.clone()))
                })
        };
        let mut metadata: BTreeMap<String, String> = under(names::EVENT_PREFIX).collect();
        metadata.extend(alert.event_metadata.clone());
        if let Some(summary) = &alert.summary {
            metadata.insert("summary".to_owned(), summary.clone());
        }
        metadata.extend(under(&group));
        Self {
            metadata,
            ..self.clone()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn event(metadata: &[(&str, &str)]) -> FluxEvent {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        FluxEvent {
            involved_object: ObjectReference {
                api_version: Some("kustomize.toolkit.fluxcd.io/v1".into()),
                kind: Some("Kustomization".into()),
                namespace: Some("flux-system".into()),
                name: Some("apps".into()),
                uid: Some("7a3e".into()),
                resource_version: Some("42".into()),
                ..ObjectReference::default()
            },
            severity: EventSeverity::Info,
            timestamp: "2026-11-22T12:30:45Z".parse().unwrap(),
            message: "Applied".into(),
            reason: "ReconciliationSucceeded".into(),
            metadata: metadata.iter().map(owned).collect(),
            reporting_controller: "kustomize-controller".into(),
            reporting_instance: "fairway-0".into(),
        }
    }

    #[test]
    fn metadata_is_cleaned_and_combined() {
        let mut event = event(&[
            ("kustomize.toolkit.fluxcd.io/revision", "main@sha1:abc"),
            ("kustomize.toolkit.fluxcd.io/digest", "sha256:1"),
            ("kustomize.toolkit.fluxcd.io/token", "t"),
            ("event.toolkit.fluxcd.io/deploymentID", "7"),
            ("event.toolkit.fluxcd.io/revision", "annotated"),
            ("other/key", "x"),
        ]);
        event.clean();
        assert_eq!(event.metadata.len(), 4);
        assert_eq!(event.of_object("token"), Some("t"));
        let alert: AlertSpec = serde_json::from_value(serde_json::json!({
            "providerRef": {"name": "p"}, "eventSources": [], "summary": "the shop",
            "eventMetadata": {"cluster": "prod", "summary": "other", "deploymentID": "8", "revision": "alert"},
        }))
        .unwrap();
        let told = event.told_by(&alert);
        let pairs: Vec<String> = told
            .metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            pairs,
            [
                "cluster=prod",
                "deploymentID=8",
                "revision=main@sha1:abc",
                "summary=the shop"
            ]
        );
    }
}
