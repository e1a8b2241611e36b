//! Between the stored form of an object and the version that a client speaks.
//!
//! CRDs convert by strategy `None`: only `apiVersion` differs. Events have two forms with different field names.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use fairway_schema::structural::{self, Unknown};

use super::endpoint::{Endpoint, NEW_EVENTS};
use crate::resources::Origin;

/// The object as the endpoint's clients see it.
pub(super) fn to_client<'a>(endpoint: &Endpoint, stored: &'a Value) -> Cow<'a, Value> {
    if endpoint.resource.is(NEW_EVENTS, "events") {
        return Cow::Owned(event_to_new(stored));
    }
    if stored["apiVersion"] == endpoint.api_version.as_str() {
        return Cow::Borrowed(stored);
    }
    let mut object = stored.clone();
    object["apiVersion"] = endpoint.api_version.as_str().into();
    if endpoint.resource.origin == Origin::Custom {
        structural::prune(&endpoint.served().schema, &mut object, Unknown::Remove);
    }
    Cow::Owned(object)
}

/// The object as it is stored.
pub(super) fn to_stored(endpoint: &Endpoint, mut object: Value) -> Value {
    if endpoint.resource.is(NEW_EVENTS, "events") {
        return event_to_core(object);
    }
    object["apiVersion"] = endpoint.stored.storage_api_version().into();
    object
}

/// Drops what the version that objects are stored in does not know. Who owned it still owns it.
pub(super) fn prune(endpoint: &Endpoint, object: &mut Value) {
    let stored = &endpoint.stored;
    if stored.origin == Origin::Custom
        && endpoint.version != stored.storage_version
        && let Some(version) = stored.version(&stored.storage_version)
    {
        structural::prune(&version.schema, object, Unknown::Remove);
    }
}

/// Field names of an Event: `events.k8s.io/v1` and core `v1`.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn event_to_new(stored: &Value) -> Value {
    let mut out = Map::new();
    for (key, value) in stored.as_object().into_iter().flatten() {
        let renamed = EVENT_FIELDS
            .iter()
            .find(|(_, core)| core == key)
            .map_or(key.as_str(), |(new, _)| new);
        out.insert(renamed.to_owned(), value.clone());
    }
    // Go leaves these out where they are empty, in this form only.
    out.retain(|key, value| !(key.starts_with("reporting") && value == ""));
    out.insert("apiVersion".into(), json!("events.k8s.io/v1"));
    Value::Object(out)
}

fn event_to_core(object: Value) -> Value {
    let mut out = Map::new();
    if let Value::Object(map) = object {
        for (key, value) in map {
            let renamed = EVENT_FIELDS
                .iter()
                .find(|(new, _)| *new == key)
                .map_or(key.as_str(), |(_, core)| core);
            out.insert(renamed.to_owned(), value);
        }
    }
    out.insert("apiVersion".into(), json!("v1"));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_two_forms() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "hello",
            "regarding": {"name": "web"}, "reason": "Applied"});
        let core = event_to_core(new.clone());
        assert_eq!(core["message"], "hello");
        assert_eq!(core["involvedObject"]["name"], "web");
        assert_eq!(event_to_new(&core), new);
    }
}
