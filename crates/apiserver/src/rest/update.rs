//! `PUT`, and what all changes of existing objects share.

use std::sync::Arc;

use fairway_schema::merge::keep_times;
use serde_json::Value;

use super::endpoint::Endpoint;
use super::options::WriteOptions;
use super::{admit, convert, object_reply, ownership};
use crate::authz;
use crate::crd;
use crate::http::{Call, Reply};
use crate::resources::Origin;
use crate::status::{ApiError, FieldError};
use crate::writer::{Scope, names, prepare_update};

/// How often a change without a revision of its own is tried again when others were quicker.
const ATTEMPTS: usize = 32;

pub(super) fn update(call: &Call, endpoint: &Endpoint, scope: Scope) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse(call)?;
    let mut warnings = Vec::new();
    let object = admit::decode(
        endpoint,
        call.object()?,
        &call.target.namespace,
        options.validation,
        &mut warnings,
    )?;
    let name = &call.target.name;
    let (_, given) = names(&object);
    if given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let stored = change(call, endpoint, scope, &options, |_| {
        Ok(Made::Updated(object.clone()))
    })?;
    Ok(object_reply(call, endpoint, 200, &stored, warnings))
}

/// A new state in the client's version, and who is to own the fields.
pub(super) enum Made {
    /// An update: the manager owns what changed.
    Updated(Value),
    /// As [`Made::Updated`], through a subresource that writes fields of the object itself.
    Through(&'static str, Value),
    /// A server-side apply: `managedFields` are settled already.
    Applied(Value),
}

/// Changes an object: `make` gets the current state in the client's version and returns the next one. Called
/// again if somebody else was quicker and the new state doesn't name a revision.
pub(super) fn change(
    call: &Call,
    endpoint: &Endpoint,
    scope: Scope,
    options: &WriteOptions,
    mut make: impl FnMut(&Value) -> Result<Made, ApiError>,
) -> Result<Arc<Value>, ApiError> {
    let cluster = &call.cluster;
    let resource = &endpoint.stored;
    let (namespace, name) = (&call.target.namespace, &call.target.name);
    let namespace = if resource.namespaced {
        namespace.as_str()
    } else {
        ""
    };
    for _ in 0..ATTEMPTS {
        let current = cluster
            .store
            .get(endpoint.id(), namespace, name)
            .ok_or_else(|| ApiError::not_found(&endpoint.resource.id, name))?;
        let live = convert::to_client(endpoint, &current);
        let (made, over, applied) = match make(&live)? {
            Made::Updated(object) => (object, "", false),
            Made::Through(over, object) => (object, over, false),
            Made::Applied(object) => (object, "", true),
        };
        let pinned = check_revision(endpoint, &live, &made, applied)?;
        let made = convert::to_stored(endpoint, made);
        let mut object = prepare_update(resource, &current, made, scope)?;
        if !applied {
            object = ownership::of_changed(endpoint, &current, object, options, scope, over);
        }
        keep_times(&current, &mut object);
        admit::validate(endpoint, &object, Some(&current))?;
        authz::escalation(
            &cluster.authorizer,
            &cluster.writer,
            &call.user,
            &resource.id,
            Some(&current),
            &object,
        )?;
        let is_crd = resource.is(crd::GROUP, crd::RESOURCE);
        if is_crd {
            crd::establish(&mut object, &cluster.registry)?;
        }
        if options.dry_run {
            return Ok(Arc::new(object));
        }
        if let Some(stored) = cluster.writer.replace(resource, &current, object)? {
            if is_crd {
                crd::register(&cluster.registry, &stored);
            }
            return Ok(stored);
        }
        if pinned {
            break;
        }
    }
    Err(ApiError::modified(&endpoint.resource.id, name))
}

/// Compares the revision that a new state names with the current one; returns whether it names one.
fn check_revision(
    endpoint: &Endpoint,
    live: &Value,
    made: &Value,
    applied: bool,
) -> Result<bool, ApiError> {
    let (_, name) = names(live);
    let wanted = made["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if wanted.is_empty() {
        // Custom resources cannot be replaced blindly.
        if endpoint.resource.origin == Origin::Custom && !applied {
            return Err(ApiError::invalid(
                &endpoint.resource.id.group,
                &endpoint.resource.id.resource,
                name,
                &[FieldError::invalid(
                    "metadata.resourceVersion",
                    &0.into(),
                    "must be specified for an update",
                )],
            ));
        }
        return Ok(false);
    }
    if live["metadata"]["resourceVersion"] != wanted {
        return Err(ApiError::modified(&endpoint.resource.id, name));
    }
    Ok(true)
}
