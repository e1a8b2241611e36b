//! The resource and version behind a path.

use std::sync::Arc;

use crate::http::Call;
use crate::resources::{Origin, ServedVersion, SharedResource, api_version, schemaless};
use crate::status::ApiError;
use crate::store::GroupResource;

/// The group of the newer form of Events, which are the same objects as those of the core group.
pub(crate) const NEW_EVENTS: &str = "events.k8s.io";

/// A resource as one version of its group serves it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// What the path names.
    pub(crate) resource: SharedResource,
    /// What the objects are stored as: differs for Events only.
    pub(crate) stored: SharedResource,
    pub(crate) version: String,
    /// `apiVersion` of the objects that go in and out.
    pub(crate) api_version: String,
}

impl Endpoint {
    pub(crate) fn find(call: &Call) -> Result<Self, ApiError> {
        let target = &call.target;
        let registry = &call.cluster.registry;
        let id = GroupResource::new(&target.group, &target.resource);
        let mut found = registry.get(&id);
        if found
            .as_ref()
            .is_none_or(|resource| resource.version(&target.version).is_none())
            && call.cluster.schemaless_unknown
            && matches!(target.verb.as_str(), "create" | "patch" | "update")
        {
            found = learn(call, found)?;
        }
        let resource = found.ok_or_else(|| {
            let known = registry.served().values().any(|other| {
                *other.id.group == *target.group
                    && other.origin == Origin::Builtin
                    && other.version(&target.version).is_some()
            });
            if known {
                ApiError::no_such_path()
            } else {
                ApiError::page_not_found()
            }
        })?;
        if resource.version(&target.version).is_none() {
            return Err(if resource.origin == Origin::Builtin {
                ApiError::no_such_path()
            } else {
                ApiError::page_not_found()
            });
        }
        // A namespace in the path of a cluster-scoped resource, or none where one object is meant.
        let in_path = !target.namespace.is_empty();
        let is_namespace = resource.is("", "namespaces");
        if in_path && !resource.namespaced && !is_namespace {
            return Err(ApiError::no_such_path());
        }
        let about_one = !target.name.is_empty() || target.verb == "create";
        if resource.namespaced && !in_path && about_one {
            return Err(if target.name.is_empty() {
                ApiError::method_not_allowed()
            } else {
                ApiError::no_such_path()
            });
        }
        // POST is for collections, PUT and PATCH are for objects.
        let named = !target.name.is_empty();
        let misplaced = match target.verb.as_str() {
            "create" => named && target.subresource.is_empty(),
            "update" | "patch" => !named,
            _ => false,
        };
        if misplaced {
            return Err(ApiError::method_not_allowed());
        }
        if target.verb == "deletecollection" && resource.namespaced && !in_path {
            return Err(ApiError::method_not_allowed());
        }
        let stored = if resource.is(NEW_EVENTS, "events") {
            registry
                .get(&GroupResource::core("events"))
                .ok_or_else(ApiError::no_such_path)?
        } else {
            resource.clone()
        };
        Ok(Self {
            api_version: api_version(&target.group, &target.version),
            version: target.version.clone(),
            resource,
            stored,
        })
    }

    pub(crate) fn served(&self) -> &ServedVersion {
        self.resource
            .version(&self.version)
            .expect("an endpoint is made for a served version")
    }

    /// Where the objects are filed.
    pub(crate) fn id(&self) -> &GroupResource {
        &self.stored.id
    }
}

/// Registers a kind that nobody defined, from the first object of it that is written.
fn learn(call: &Call, known: Option<SharedResource>) -> Result<Option<SharedResource>, ApiError> {
    let target = &call.target;
    // Only a named version and a group with a dot look like a custom resource; the rest is a typing mistake.
    if known.is_some() || !target.group.contains('.') || !target.subresource.is_empty() {
        return Ok(known);
    }
    let object = crate::http::yaml(&call.body)?;
    let Some(kind) = object["kind"].as_str() else {
        return Ok(None);
    };
    if object["apiVersion"] != api_version(&target.group, &target.version) {
        return Ok(None);
    }
    let resource = Arc::new(schemaless(
        &target.group,
        &target.version,
        kind,
        &target.resource,
        !target.namespace.is_empty(),
    ));
    call.cluster.registry.add(resource.clone());
    Ok(Some(resource))
}
