//! What a controller wants done: the result of one step.

use jiff::Timestamp;
use serde_json::Value;

use super::cache::Key;
use crate::store::GroupResource;
use crate::writer::{Propagation, Scope};

/// One change of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// Create this object. That it exists already is no error: another step follows on what is there.
    Create(GroupResource, Value),
    /// Replace the object, if it is still at the `metadata.resourceVersion` that it has here.
    Replace(Key, Value, Scope),
    /// Set the status of the object with this uid.
    Status {
        key: Key,
        uid: String,
        status: Value,
    },
    /// Delete the object with this uid.
    Delete {
        key: Key,
        uid: String,
        propagation: Option<Propagation>,
    },
    /// Tell people.
    Event(Note),
}

/// An event about an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    /// `apiVersion`, `kind`, `name`, `namespace` and `uid` of the object.
    pub(crate) about: Value,
    /// `Normal` or `Warning`.
    pub(crate) kind: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The component that tells.
    pub(crate) source: &'static str,
}

/// Everything that one step wants done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Write>,
    /// When to look again, should nothing happen before.
    pub(crate) again: Option<Timestamp>,
}

impl Plan {
    pub(crate) fn create(&mut self, resource: &GroupResource, object: Value) {
        self.writes.push(Write::Create(resource.clone(), object));
    }

    pub(crate) fn replace(&mut self, resource: &GroupResource, object: Value) {
        self.writes.push(Write::Replace(
            Key::of(resource, &object),
            object,
            Scope::Object,
        ));
    }

    /// Sets the status, unless the object has it already.
    pub(crate) fn status(&mut self, resource: &GroupResource, object: &Value, status: Value) {
        if object["status"] != status {
            let uid = super::object::uid(object).to_owned();
            self.writes.push(Write::Status {
                key: Key::of(resource, object),
                uid,
                status,
            });
        }
    }

    pub(crate) fn delete(
        &mut self,
        resource: &GroupResource,
        object: &Value,
        propagation: Option<Propagation>,
    ) {
        let uid = super::object::uid(object).to_owned();
        self.writes.push(Write::Delete {
            key: Key::of(resource, object),
            uid,
            propagation,
        });
    }

    /// An event of type `Normal`.
    pub(crate) fn note(
        &mut self,
        source: &'static str,
        about: &Value,
        reason: &'static str,
        message: String,
    ) {
        self.event("Normal", source, about, reason, message);
    }

    /// An event of type `Warning`.
    pub(crate) fn warn(
        &mut self,
        source: &'static str,
        about: &Value,
        reason: &'static str,
        message: String,
    ) {
        self.event("Warning", source, about, reason, message);
    }

    fn event(
        &mut self,
        kind: &'static str,
        source: &'static str,
        about: &Value,
        reason: &'static str,
        message: String,
    ) {
        let metadata = &about["metadata"];
        let about = serde_json::json!({
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        });
        self.writes.push(Write::Event(Note {
            about,
            kind,
            reason,
            message,
            source,
        }));
    }

    /// Looks again at `time`, or earlier if that was asked for already.
    pub(crate) fn look_again(&mut self, time: Timestamp) {
        self.again = Some(self.again.map_or(time, |known| known.min(time)));
    }
}
