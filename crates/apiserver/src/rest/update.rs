//! `PUT`, and what all changes of existing objects share.

use std::sync::Arc;

use fairway_schema::merge::keep_times;
use serde_json::Value;

use super::endpoint::Endpoint;
use super::options::WriteOptions;
use super::policy::{self, Write};
use super::{admit, convert, object_reply, ownership};
use crate::authz;
use crate::crd;
use crate::defaults;
use crate::http::{Call, Reply};
use crate::resources::Origin;
use crate::status::{ApiError, FieldError};
use crate::writer::{Scope, is_deleting, names, prepare_update};

/// How often a change without a revision of its own is tried again when others were quicker.
const ATTEMPTS: usize = 32;

pub(super) fn update(call: &Call, endpoint: &Endpoint, scope: Scope) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse(call)?;
    let mut warnings = Vec::new();
    let object = admit::decode(
        endpoint,
        admit::read(call, endpoint, options.validation, &mut warnings)?,
        &call.target.namespace,
        options.validation,
        &mut warnings,
    )?;
    let name = &call.target.name;
    let (_, given) = names(&object);
    if given.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
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
        let named = check_revision(endpoint, &live, &made, applied)?;
        // What a patch makes has the revision of what it was made from, which is nobody's wish.
        let pinned = named && (call.target.verb != "patch" || names_revision(&call.body));
        if call.target.verb == "patch" {
            check_system(endpoint, &live, &made)?;
        }
        let made = convert::to_stored(endpoint, made);
        let mut object = prepare_update(resource, &current, made, scope)?;
        if !applied {
            object = ownership::of_changed(endpoint, &current, object, options, scope, over);
        }
        if scope == Scope::Object {
            defaults::settle(resource, &current, &mut object);
            defaults::allocate(resource, &mut object, cluster.writer.accounts);
        }
        convert::prune(endpoint, &mut object);
        keep_times(&current, &mut object);
        admit::validate(call, endpoint, &object, Some(&current), scope)?;
        authz::escalation(
            &cluster.authorizer,
            &cluster.writer,
            &call.user,
            &resource.id,
            Some(&current),
            &object,
        )?;
        policy::ask(
            call,
            endpoint,
            Write {
                operation: "UPDATE",
                name,
                namespace,
                object: Some(&object),
                old: Some(&current),
                dry_run: options.dry_run,
            },
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
            let space = if resource.namespaced { namespace } else { "" };
            if is_deleting(&stored) && cluster.store.get(endpoint.id(), space, name).is_none() {
                // The last finalizer went, and the object with it: it was not written again.
                let mut gone = (*stored).clone();
                gone["metadata"]["resourceVersion"] =
                    current["metadata"]["resourceVersion"].clone();
                return Ok(Arc::new(gone));
            }
            return Ok(stored);
        }
        if pinned {
            break;
        }
    }
    Err(ApiError::modified(&endpoint.resource.id, name))
}

fn names_revision(patch: &[u8]) -> bool {
    const KEY: &[u8] = b"resourceVersion";
    patch.windows(KEY.len()).any(|part| part == KEY)
}

/// What a patch may not touch. (Of a whole new state, what the system keeps is not looked at.)
fn check_system(endpoint: &Endpoint, live: &Value, made: &Value) -> Result<(), ApiError> {
    let mut errors: Vec<FieldError> = ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"]
        .into_iter()
        .filter(|key| {
            let value = &made["metadata"][*key];
            !value.is_null() && *value != "" && *value != live["metadata"][*key]
        })
        .map(|key| {
            FieldError::invalid(
                format!("metadata.{key}"),
                &made["metadata"][key],
                "field is immutable",
            )
        })
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    if endpoint.resource.origin == Origin::Builtin {
        errors.extend(errors.clone());
    }
    let resource = &endpoint.resource;
    let (_, name) = names(live);
    Err(ApiError::invalid(
        &resource.id.group,
        &resource.kind,
        name,
        &errors,
    ))
}

/// Groups whose objects are replaced only by who knows their revision.
const NEVER_BLINDLY: [&str; 2] = ["admissionregistration.k8s.io", "coordination.k8s.io"];

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
    if wanted == "0" {
        return Ok(false);
    }
    if !wanted.is_empty() && wanted.parse::<u64>().is_err() {
        return Err(ApiError::new(
            500,
            "",
            format!("strconv.ParseUint: parsing {wanted:?}: invalid syntax"),
        ));
    }
    if wanted.is_empty() {
        // Custom resources, and some others, cannot be replaced blindly.
        let strict = endpoint.resource.origin == Origin::Custom
            || NEVER_BLINDLY.contains(&&*endpoint.resource.id.group);
        if strict && !applied {
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
