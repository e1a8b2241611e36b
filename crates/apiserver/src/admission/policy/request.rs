//! What a write is, as policies see it.

use serde_json::{Map, Value, json};

use super::decide::Denial;
use super::{BINDINGS, GROUP, POLICIES};
use crate::auth::User;
use crate::resources::Resource;
use crate::status::ApiError;
use crate::store::{GroupResource, Store};

/// A write that is about to happen.
pub(crate) struct Attempt<'a> {
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub(crate) operation: &'static str,
    pub(crate) user: &'a User,
    /// What the path names, and in which version.
    pub(crate) resource: &'a Resource,
    pub(crate) version: &'a str,
    pub(crate) subresource: &'a str,
    /// Group, version and kind of the objects.
    pub(crate) kind: (String, String, String),
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) dry_run: bool,
    /// The parameters of the request.
    pub(crate) options: Value,
    /// The new state in one of the resource's versions; nothing of a deletion.
    pub(crate) object: &'a dyn Fn(&str) -> Option<Value>,
    /// The old state; nothing of a creation.
    pub(crate) old: &'a dyn Fn(&str) -> Option<Value>,
}

impl Attempt<'_> {
    /// Policies have no say about policies, lest nobody could repair them.
    pub(super) fn is_exempt(&self) -> bool {
        let id = &self.resource.id;
        &*id.group == GROUP
            && matches!(
                &*id.resource,
                POLICIES
                    | BINDINGS
                    | "mutatingadmissionpolicies"
                    | "mutatingadmissionpolicybindings"
                    | "validatingwebhookconfigurations"
                    | "mutatingwebhookconfigurations"
            )
    }

    pub(super) fn is_about_namespaces(&self) -> bool {
        self.resource.is("", "namespaces")
    }

    /// The labels that a namespace selector looks at; nothing where there are none to look at.
    pub(super) fn namespace_labels(&self, store: &Store) -> Option<Value> {
        let labels = |object: &Value| object["metadata"]["labels"].clone();
        if self.is_about_namespaces() && self.subresource.is_empty() && self.operation != "DELETE" {
            return (self.object)(self.version).map(|object| labels(&object));
        }
        let namespaces = GroupResource::core("namespaces");
        store
            .get(&namespaces, "", self.namespace)
            .map(|found| labels(&found))
    }

    /// The variable `namespaceObject`.
    pub(super) fn namespace_object(&self, store: &Store) -> Value {
        if self.namespace.is_empty() || self.is_about_namespaces() {
            return Value::Null;
        }
        let namespaces = GroupResource::core("namespaces");
        let Some(found) = store.get(&namespaces, "", self.namespace) else {
            return Value::Null;
        };
        let mut shown = (*found).clone();
        if let Some(map) = shown.as_object_mut() {
            map.remove("apiVersion");
            map.remove("kind");
        }
        if let Some(meta) = shown["metadata"].as_object_mut() {
            meta.remove("managedFields");
            meta.remove("ownerReferences");
        }
        shown
    }

    /// The variable `request`, for a policy that matched a version of the resource.
    pub(super) fn request(&self, version: &str) -> Value {
        let resource = |version: &str| {
            json!({
                "group": &*self.resource.id.group, "version": version,
                "resource": &*self.resource.id.resource,
            })
        };
        let (group, asked, kind) = &self.kind;
        let kind_of = |version: &str| json!({"group": group, "version": version, "kind": kind});
        // What another version is called is known of the resource itself only.
        let matched = if self.subresource.is_empty() || *asked == self.version {
            version
        } else {
            asked
        };
        let mut request = json!({
            "uid": "",
            "kind": kind_of(matched),
            "resource": resource(version),
            "requestKind": kind_of(asked),
            "requestResource": resource(self.version),
            "operation": self.operation,
            "userInfo": self.user_info(),
            "object": null,
            "oldObject": null,
            "dryRun": self.dry_run,
            "options": self.options,
        });
        let optional = [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", self.name),
            ("namespace", self.namespace),
        ];
        for (key, value) in optional {
            if !value.is_empty() {
                request[key] = value.into();
            }
        }
        request
    }

    fn user_info(&self) -> Value {
        let user = self.user;
        let mut info = Map::new();
        info.insert("username".into(), user.name.clone().into());
        if let Some(uid) = user.uid.as_deref().filter(|uid| !uid.is_empty()) {
            info.insert("uid".into(), uid.into());
        }
        if !user.groups.is_empty() {
            info.insert("groups".into(), json!(user.groups));
        }
        if !user.extra.is_empty() {
            info.insert("extra".into(), json!(user.extra));
        }
        Value::Object(info)
    }

    /// The answer to a write that was denied.
    pub(super) fn denied(&self, denial: Denial) -> ApiError {
        let name = match self.name {
            "" => "Unknown",
            name => name,
        };
        let mut error = ApiError::forbidden(&self.resource.id, name, &denial.message);
        (error.code, error.reason) = match denial.reason.as_deref() {
            Some("Forbidden") => (403, "Forbidden"),
            Some("Unauthorized") => (401, "Unauthorized"),
            Some("RequestEntityTooLarge") => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        error.details["causes"] = json!([{"message": denial.message}]);
        error
    }
}
