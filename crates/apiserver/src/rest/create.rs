//! `POST`.

use serde_json::Value;

use super::admit;
use super::convert;
use super::endpoint::Endpoint;
use super::object_reply;
use super::options::WriteOptions;
use super::ownership;
use super::policy::{self, Write};
use crate::admission;
use crate::authz;
use crate::crd;
use crate::defaults;
use crate::http::{Call, Reply};
use crate::resources::{Origin, Resource};
use crate::status::{ApiError, FieldError};
use crate::writer::{Scope, is_deleting, names, prepare_create};

/// Kinds that are questions: answered, never stored.
fn is_review(resource: &Resource) -> bool {
    resource.origin == Origin::Builtin
        && matches!(
            &*resource.id.group,
            "authorization.k8s.io" | "authentication.k8s.io"
        )
}

pub(super) fn create(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse(call)?;
    let mut warnings = Vec::new();
    let object = admit::decode(
        endpoint,
        admit::read(call, endpoint, options.validation, &mut warnings)?,
        &call.target.namespace,
        options.validation,
        &mut warnings,
    )?;
    if is_review(&endpoint.resource) {
        let cluster = &call.cluster;
        let object = if admit::is_owned_review(&endpoint.resource.kind) {
            ownership::of_new(endpoint, object, &options)
        } else {
            object
        };
        let answer = authz::review(
            &cluster.authorizer,
            &cluster.writer,
            &cluster.tokens,
            &call.user,
            &endpoint.resource.id,
            object,
        )?;
        return Ok(object_reply(call, endpoint, 201, &answer, warnings));
    }
    let stored = store(call, endpoint, object, &options, false)?;
    Ok(object_reply(call, endpoint, 201, &stored, warnings))
}

/// The API server accepts a CRD in a write of its own.
fn accept(
    call: &Call,
    endpoint: &Endpoint,
    stored: &std::sync::Arc<Value>,
) -> Result<(), ApiError> {
    let cluster = &call.cluster;
    let mut accepted = (**stored).clone();
    crd::establish(&mut accepted, &cluster.registry)?;
    let options = WriteOptions::of_server();
    let mut accepted =
        ownership::of_changed(endpoint, stored, accepted, &options, Scope::Status, "");
    if let Some(meta) = accepted["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
    }
    // Whoever changed it in between has done the same.
    cluster.writer.replace(&endpoint.stored, stored, accepted)?;
    Ok(())
}

/// Stores a new object, given in the client's version. An applied one has its `managedFields` already.
pub(super) fn store(
    call: &Call,
    endpoint: &Endpoint,
    object: Value,
    options: &WriteOptions,
    applied: bool,
) -> Result<Value, ApiError> {
    let cluster = &call.cluster;
    let resource = &endpoint.stored;
    if resource.origin == Origin::Custom && crd::is_terminating(&cluster.store, &resource.id) {
        let (_, name) = names(&object);
        return Err(ApiError::forbidden(
            &resource.id,
            name,
            "create not allowed while custom resource definition is terminating",
        ));
    }
    let mut object = convert::to_stored(endpoint, object);
    if !applied
        && object["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|revision| !revision.is_empty())
    {
        return Err(ApiError::new(
            500,
            "",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if resource.has_status()
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    let mut object = prepare_create(resource, object);
    let (namespace, name) = names(&object);
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    if name.is_empty() {
        return Err(ApiError::invalid(
            &resource.id.group,
            &resource.kind,
            "",
            &[FieldError::required(
                "metadata.name",
                "name or generateName is required",
            )],
        ));
    }
    cluster
        .writer
        .check_namespace(resource, &namespace, &name)?;
    if !applied {
        object = ownership::of_new(endpoint, object, options);
    }
    convert::prune(endpoint, &mut object);
    admission::admit(&cluster.store, resource, &mut object)?;
    defaults::allocate(resource, &mut object, cluster.writer.accounts);
    admit::validate(call, endpoint, &object, None, Scope::Object)?;
    authz::escalation(
        &cluster.authorizer,
        &cluster.writer,
        &call.user,
        &resource.id,
        None,
        &object,
    )?;
    policy::ask(
        call,
        endpoint,
        Write {
            operation: "CREATE",
            name: &name,
            namespace: &namespace,
            object: Some(&object),
            old: None,
            dry_run: options.dry_run,
        },
    )?;
    if resource.is(crd::GROUP, crd::RESOURCE) {
        crd::establish(&mut object.clone(), &cluster.registry)?;
        crd::begin(&mut object);
    }
    let stored = if options.dry_run {
        admission::Quotas::of(&cluster.store, resource, &object)?;
        if let Some(found) = cluster.store.get(endpoint.id(), &namespace, &name) {
            return Err(ApiError::taken(
                &endpoint.resource.id,
                &name,
                is_deleting(&found),
            ));
        }
        object
    } else {
        let quotas = admission::Quotas::of(&cluster.store, resource, &object)?;
        let stored = cluster.writer.insert(resource, object)?;
        quotas.charge(&cluster.writer);
        if resource.is(crd::GROUP, crd::RESOURCE) {
            crd::register(&cluster.registry, &stored);
            accept(call, endpoint, &stored)?;
        }
        (*stored).clone()
    };
    Ok(stored)
}
