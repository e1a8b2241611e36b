//! What each kind of receiver is sent, field for field as Flux sends it.

use fairway_types::notification::EventSeverity;
use serde_json::{Value, json};

use super::event::FluxEvent;

/// A kind of receiver that there is a payload for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiver {
    /// The event as it is.
    Generic,
    /// The event as it is, signed.
    GenericHmac,
    /// A message with an attachment.
    Slack,
    /// An adaptive card.
    MsTeams,
}

impl Receiver {
    /// By `spec.type` of a Provider.
    pub(super) fn of(type_: &str) -> Option<Self> {
        Some(match type_ {
            "generic" => Self::Generic,
            "generic-hmac" => Self::GenericHmac,
            "slack" => Self::Slack,
            "msteams" => Self::MsTeams,
            _ => return None,
        })
    }

    /// Whether it wants updates of commit statuses, which are not for people.
    pub(super) fn is_generic(self) -> bool {
        matches!(self, Self::Generic | Self::GenericHmac)
    }
}

/// The message for Slack, and for what speaks its language.
pub(super) fn slack(event: &FluxEvent, channel: Option<&str>, username: Option<&str>) -> Value {
    let title = event.title();
    let first = event.message.split('\n').next().unwrap_or_default();
    let fields: Vec<Value> = event
        .metadata
        .iter()
        .map(|(key, value)| json!({"title": key, "value": value, "short": false}))
        .collect();
    json!({
        "channel": channel.unwrap_or_default(),
        "username": username.unwrap_or(&event.reporting_controller),
        "icon_url": "",
        "icon_emoji": "",
        "attachments": [{
            "fallback": format!("{title}: {first}"),
            "color": if event.severity == EventSeverity::Error { "danger" } else { "good" },
            "author_name": title,
            "text": event.message,
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    })
}

/// The message for Microsoft Teams: an adaptive card, or what the old connectors at `*.webhook.office.com` take.
pub(super) fn ms_teams(event: &FluxEvent, host: &str) -> Value {
    if host.ends_with(".webhook.office.com") {
        connector(event)
    } else {
        adaptive_card(event)
    }
}

fn connector(event: &FluxEvent) -> Value {
    let facts: Vec<Value> = event
        .metadata
        .iter()
        .map(|(key, value)| json!({"name": key, "value": value}))
        .collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": if event.severity == EventSeverity::Error { "FF0000" } else { "0076D7" },
        "summary": event.title(),
        "sections": [{
            "activityTitle": event.message,
            "activitySubtitle": event.title(),
            "facts": facts,
        }],
    })
}

fn adaptive_card(event: &FluxEvent) -> Value {
    let mut message = json!({"type": "TextBlock", "text": event.message, "wrap": true});
    if event.severity == EventSeverity::Error {
        message["color"] = "attention".into();
    }
    // The summary first, the rest by name.
    let mut pairs: Vec<_> = event.metadata.iter().collect();
    pairs.sort_by_key(|(key, _)| *key != "summary");
    let facts: Vec<Value> = pairs
        .into_iter()
        .map(|(key, value)| json!({"title": key, "value": value}))
        .collect();
    let mut set = json!({"type": "FactSet"});
    if !facts.is_empty() {
        set["facts"] = facts.into();
    }
    let title = json!({"type": "TextBlock", "text": event.title(), "size": "large", "weight": "bolder", "wrap": true});
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [{"type": "Container", "items": [title, message, set]}],
                "msteams": {"width": "Full"},
            },
        }],
    })
}

/// What is wrong with the answer of Slack's API, which says 200 to everything.
pub(super) fn slack_complaint(body: &[u8]) -> Option<String> {
    let answer: Value = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) => return Some("Slack's answer cannot be read".to_owned()),
    };
    if answer["ok"] == true {
        return None;
    }
    let error = answer["error"].as_str().unwrap_or("unknown");
    Some(format!("Slack answers with an error: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::*;

    #[test]
    fn slack_says_what_is_wrong() {
        assert_eq!(slack_complaint(br#"{"ok": true}"#), None);
        assert_eq!(
            slack_complaint(br#"{"ok": false, "error": "channel_not_found"}"#).unwrap(),
            "Slack answers with an error: channel_not_found"
        );
        assert!(slack_complaint(b"<html>").is_some());
    }

    /// What Flux's own code sends; see `hack/notifications`.
    fn flux(name: &str) -> Value {
        let all: Value =
            serde_json::from_str(include_str!("../../tests/notify/flux.json")).unwrap();
        let mut payload = all[name]["payload"].clone();
        // Go walks through maps in any order.
        for path in ["/attachments/0/fields", "/sections/0/facts"] {
            if let Some(Value::Array(fields)) = payload.pointer_mut(path) {
                fields.sort_by_key(ToString::to_string);
            }
        }
        payload
    }

    fn sorted(mut payload: Value) -> Value {
        for path in ["/attachments/0/fields", "/sections/0/facts"] {
            if let Some(Value::Array(fields)) = payload.pointer_mut(path) {
                fields.sort_by_key(ToString::to_string);
            }
        }
        payload
    }

    #[test]
    fn payloads_are_those_of_flux() {
        let mut info = event(&[
            ("revision", "main@sha1:abc"),
            ("cluster", "prod"),
            ("summary", "the shop"),
            ("a", "b"),
        ]);
        info.message = "Applied revision: main@sha1:abc\n<b>2</b> objects & more".into();
        let mut error = event(&[]);
        error.severity = EventSeverity::Error;
        error.message = "health check failed: \"Deployment/web\" ü".into();
        for (name, event) in [("info", &info), ("error", &error)] {
            let generic = serde_json::to_value(event).unwrap();
            assert_eq!(generic, flux(&format!("generic {name}")));
            let slack = slack(event, Some("general"), None);
            assert_eq!(sorted(slack), flux(&format!("slack {name}")));
            let card = ms_teams(event, "acme.logic.azure.com");
            assert_eq!(card, flux(&format!("msteams {name}")));
            let connector = ms_teams(event, "acme.webhook.office.com");
            assert_eq!(
                sorted(connector),
                flux(&format!("msteams-connector {name}"))
            );
        }
    }
}
