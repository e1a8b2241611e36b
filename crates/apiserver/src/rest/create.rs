//! `POST`.

use serde_json::Value;

use super::admit;
use super::convert;
use super::endpoint::Endpoint;
use super::object_reply;
use super::options::WriteOptions;
use super::ownership;
use crate::authz;
use crate::crd;
use crate::defaults;
use crate::http::{Call, Reply};
use crate::resources::{Origin, Resource};
use crate::status::{ApiError, FieldError};
use crate::writer::{names, prepare_create};

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
        call.object()?,
        &call.target.namespace,
        options.validation,
        &mut warnings,
    )?;
    if is_review(&endpoint.resource) {
        let cluster = &call.cluster;
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
        let mut error = ApiError::method_not_allowed();
        error.message = "create not allowed while custom resource definition is terminating".into();
        return Err(error);
    }
    let mut object = convert::to_stored(endpoint, object);
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
    defaults::allocate(resource, &mut object);
    admit::validate(endpoint, &object, None)?;
    authz::escalation(
        &cluster.authorizer,
        &cluster.writer,
        &call.user,
        &resource.id,
        None,
        &object,
    )?;
    if resource.is(crd::GROUP, crd::RESOURCE) {
        crd::establish(&mut object, &cluster.registry)?;
    }
    let stored = if options.dry_run {
        if cluster
            .store
            .get(endpoint.id(), &namespace, &name)
            .is_some()
        {
            return Err(ApiError::already_exists(&endpoint.resource.id, &name));
        }
        object
    } else {
        let stored = cluster.writer.insert(resource, object)?;
        if resource.is(crd::GROUP, crd::RESOURCE) {
            crd::register(&cluster.registry, &stored);
        }
        (*stored).clone()
    };
    Ok(stored)
}
