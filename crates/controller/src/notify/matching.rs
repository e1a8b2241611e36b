//! Which Alerts an event is for. Pure: labels of objects are asked for by who calls.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use fairway_types::Alert;
use fairway_types::notification::{AlertSpec, EventSeverity, EventSource};
use kube::ResourceExt as _;
use regex::Regex;

use super::event::FluxEvent;

/// Whether an event is for an Alert.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match<'a> {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// It is if the object's labels are like one of these.
    IfLabels(Vec<&'a BTreeMap<String, String>>),
}

/// Whether an event is for an Alert, by the object, the severity and the message.
pub(super) fn matches<'a>(alert: &'a Alert, event: &FluxEvent, patterns: &Patterns) -> Match<'a> {
    let spec = &alert.spec;
    if spec.suspend || !severity(spec, event) || !message(spec, event, patterns) {
        return Match::No;
    }
    let namespace = alert.namespace().unwrap_or_default();
    let mut labels = Vec::new();
    for source in &spec.event_sources {
        if !is_of(source, &namespace, event) {
            continue;
        }
        if source.match_labels.is_empty() {
            return Match::Yes;
        }
        labels.push(&source.match_labels);
    }
    if labels.is_empty() {
        Match::No
    } else {
        Match::IfLabels(labels)
    }
}

fn severity(spec: &AlertSpec, event: &FluxEvent) -> bool {
    spec.event_severity == EventSeverity::Info || spec.event_severity == event.severity
}

fn is_of(source: &EventSource, namespace: &str, event: &FluxEvent) -> bool {
    source.namespace.as_deref().unwrap_or(namespace) == event.namespace()
        && source.kind == event.kind()
        && (source.name == "*" || source.name == event.name())
}

fn message(spec: &AlertSpec, event: &FluxEvent, patterns: &Patterns) -> bool {
    let any = |list: &[String]| {
        list.iter()
            .any(|one| patterns.is_match(one, &event.message))
    };
    (spec.inclusion_list.is_empty() || any(&spec.inclusion_list)) && !any(&spec.exclusion_list)
}

/// Whether labels are like one of these.
pub(super) fn like(
    labels: &BTreeMap<String, String>,
    wanted: &[&BTreeMap<String, String>],
) -> bool {
    wanted.iter().any(|wanted| {
        wanted
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// Most expressions that are kept.
const MAX_PATTERNS: usize = 1024;

/// Regular expressions, compiled once. One that can't be compiled matches nothing, as with Flux.
#[derive(Debug, Default)]
pub(super) struct Patterns(Mutex<HashMap<String, Option<Regex>>>);

impl Patterns {
    fn is_match(&self, pattern: &str, text: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_PATTERNS {
            known.clear();
        }
        let regex = known.entry(pattern.to_owned()).or_insert_with(|| {
            Regex::new(pattern)
                .map_err(|error| {
                    tracing::warn!(pattern, %error, "an expression of an Alert cannot be used");
                })
                .ok()
        });
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::event::tests::event;
    use super::*;

    fn found(spec: Value, event: &FluxEvent) -> &'static str {
        let mut whole = json!({"providerRef": {"name": "p"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let mut alert = Alert::new("a", serde_json::from_value(whole).unwrap());
        alert.metadata.namespace = Some("flux-system".into());
        match matches(&alert, event, &Patterns::default()) {
            Match::No => "no",
            Match::Yes => "yes",
            Match::IfLabels(_) => "labels",
        }
    }

    #[test]
    fn rules_are_those_of_flux() {
        let mut info = event(&[]);
        info.message = "Applied revision: main\nDeployment/web configured".into();
        let mut error = info.clone();
        error.severity = EventSeverity::Error;
        for (spec, of_info, of_error) in [
            (json!({}), "yes", "yes"),
            (json!({"suspend": true}), "no", "no"),
            (json!({"eventSeverity": "error"}), "no", "yes"),
            (
                json!({"eventSources": [{"kind": "GitRepository", "name": "*"}]}),
                "no",
                "no",
            ),
            (
                json!({"eventSources": [{"kind": "Kustomization", "name": "apps"}]}),
                "yes",
                "yes",
            ),
            (
                json!({"eventSources": [{"kind": "Kustomization", "name": "other"}]}),
                "no",
                "no",
            ),
            (
                json!({"eventSources": [{"kind": "Kustomization", "name": "*", "namespace": "other"}]}),
                "no",
                "no",
            ),
            (
                json!({"eventSources": [{"kind": "Kustomization", "name": "*", "matchLabels": {"a": "b"}}]}),
                "labels",
                "labels",
            ),
            (
                json!({"eventSources": [{"kind": "Kustomization", "name": "*", "matchLabels": {"a": "b"}}, {"kind": "Kustomization", "name": "apps"}]}),
                "yes",
                "yes",
            ),
            (json!({"inclusionList": ["^Applied", "x"]}), "yes", "yes"),
            (json!({"inclusionList": ["^Deployment"]}), "no", "no"),
            (json!({"inclusionList": ["(?m)^Deployment"]}), "yes", "yes"),
            (json!({"exclusionList": [".*configured"]}), "no", "no"),
            (json!({"exclusionList": ["["]}), "yes", "yes"),
            (json!({"inclusionList": ["["]}), "no", "no"),
        ] {
            assert_eq!(found(spec.clone(), &info), of_info, "{spec}");
            assert_eq!(found(spec.clone(), &error), of_error, "{spec}");
        }
    }

    #[test]
    fn all_labels_of_one_source_must_be_there() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let (a, b) = (map(&[("team", "web"), ("tier", "1")]), map(&[("x", "y")]));
        assert!(like(
            &map(&[("team", "web"), ("tier", "1"), ("more", "")]),
            &[&a]
        ));
        assert!(!like(&map(&[("team", "web")]), &[&a]));
        assert!(like(&map(&[("x", "y")]), &[&a, &b]));
    }
}
