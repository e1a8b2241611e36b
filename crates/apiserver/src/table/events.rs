//! Events.

use jiff::Timestamp;
use serde_json::Value;

use super::age::age_of;
use super::{Layout, name, or, text};

pub(super) fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    matches!((group, resource), ("" | "events.k8s.io", "events")).then_some(&EVENTS)
}

static EVENTS: Layout = Layout {
    headings: &[
        ("Last Seen", "string", false),
        ("Type", "string", false),
        ("Reason", "string", false),
        ("Object", "string", false),
        ("Subobject", "string", true),
        ("Source", "string", true),
        ("Message", "string", false),
        ("First Seen", "string", true),
        ("Count", "string", true),
        ("Name", "string", true),
    ],
    cells: event,
};

/// Takes the stored form of an Event, that of core `v1`.
fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let time = |pointers: &[&str]| -> Value {
        pointers
            .iter()
            .map(|pointer| text(event, pointer))
            .find(|text| !text.is_empty())
            .map_or_else(|| "<unknown>".to_owned(), |text| age_of(text, now))
            .into()
    };
    let object = format!(
        "{}/{}",
        text(event, "/involvedObject/kind").to_lowercase(),
        text(event, "/involvedObject/name")
    );
    let source = [
        or(
            text(event, "/source/component"),
            text(event, "/reportingComponent"),
        ),
        or(
            text(event, "/source/host"),
            text(event, "/reportingInstance"),
        ),
    ]
    .iter()
    .filter(|part| !part.is_empty())
    .copied()
    .collect::<Vec<_>>()
    .join(", ");
    let count = event["series"]["count"]
        .as_i64()
        .or_else(|| event["count"].as_i64())
        .filter(|count| *count > 0)
        .unwrap_or(1);
    vec![
        time(&[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ]),
        text(event, "/type").into(),
        text(event, "/reason").into(),
        object.into(),
        text(event, "/involvedObject/fieldPath").into(),
        source.into(),
        text(event, "/message").trim().into(),
        time(&[
            "/firstTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ]),
        count.into(),
        name(event),
    ]
}
