//! `DELETE` of one object and of collections.

use serde_json::{Value, json};

use super::admit::SCHEME;
use super::endpoint::Endpoint;
use super::object_reply;
use super::policy::{self, Write};
use super::read::{namespace, number};
use super::select::Selector;
use super::view;
use crate::http::{Call, Reply};
use crate::resources::{Origin, Resource};
use crate::status::{ApiError, FieldError};
use crate::writer::{DeleteOptions, Deleted, Propagation, names, plan_delete};

struct Wish {
    options: DeleteOptions,
    grace: Option<i64>,
    dry_run: bool,
}

fn invalid(error: &FieldError) -> ApiError {
    ApiError::invalid(
        "meta.k8s.io",
        "DeleteOptions",
        "",
        std::slice::from_ref(error),
    )
}

/// Options of another kind, and dry runs that there are none of.
fn check(call: &Call, body: &Value) -> Result<(), ApiError> {
    if let Some(kind) = body["kind"].as_str()
        && kind != "DeleteOptions"
    {
        return Err(ApiError::bad_request(format!(
            "no kind {kind:?} is registered for version {} in scheme {SCHEME}",
            body["apiVersion"]
        )));
    }
    let asked: Vec<&str> = match body["dryRun"].as_array() {
        Some(list) => list.iter().filter_map(Value::as_str).collect(),
        None => call.query.all("dryRun").collect(),
    };
    if asked.iter().any(|word| !matches!(*word, "All" | "")) {
        return Err(invalid(&FieldError::unsupported(
            "dryRun",
            &json!(asked),
            &["All"],
        )));
    }
    Ok(())
}

/// Kinds whose deletion is answered with the object.
fn shows_object(resource: &Resource) -> bool {
    resource.origin == Origin::Builtin
        && matches!(
            (&*resource.id.group, &*resource.id.resource),
            (
                "",
                "pods"
                    | "services"
                    | "serviceaccounts"
                    | "persistentvolumes"
                    | "persistentvolumeclaims"
                    | "podtemplates"
                    | "resourcequotas"
            ) | (
                "storage.k8s.io",
                "storageclasses" | "csidrivers" | "csinodes" | "volumeattachments"
            )
        )
}

/// Jobs leave their pods behind unless told otherwise: so it was decided long ago.
fn orphans_by_default(resource: &Resource) -> bool {
    resource.is("batch", "jobs") || resource.is("", "replicationcontrollers")
}

fn parse(call: &Call) -> Result<Wish, ApiError> {
    let body = if call.body.iter().all(u8::is_ascii_whitespace) {
        Value::Null
    } else {
        call.object()?
    };
    check(call, &body)?;
    let text = |pointer: &str| {
        body.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let policy = text("/propagationPolicy")
        .or_else(|| call.query.get("propagationPolicy").map(str::to_owned));
    let both = policy.is_some() && body["orphanDependents"].is_boolean();
    if both {
        return Err(invalid(&FieldError::invalid(
            "propagationPolicy",
            &json!(policy),
            "orphanDependents and deletionPropagation cannot be both set",
        )));
    }
    let mut propagation = match policy.as_deref() {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            return Err(invalid(&FieldError::unsupported(
                "propagationPolicy",
                &json!(other),
                &["Foreground", "Background", "Orphan", "nil"],
            )));
        }
    };
    // The older way to say it.
    if let Some(orphan) = body["orphanDependents"].as_bool() {
        propagation = Some(if orphan {
            Propagation::Orphan
        } else {
            Propagation::Background
        });
    }
    let dry_run = call.query.get("dryRun") == Some("All")
        || body["dryRun"]
            .as_array()
            .is_some_and(|list| list.contains(&json!("All")));
    Ok(Wish {
        options: DeleteOptions {
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation,
            grace: None,
        },
        grace: body["gracePeriodSeconds"]
            .as_i64()
            .or(number(call, "gracePeriodSeconds")?),
        dry_run,
    })
}

pub(super) fn delete(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let mut wish = parse(call)?;
    let mut warnings = Vec::new();
    if wish.options.propagation.is_none() && orphans_by_default(&endpoint.resource) {
        wish.options.propagation = Some(Propagation::Orphan);
        if endpoint.resource.is("batch", "jobs") {
            warnings.push(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
                    .to_owned(),
            );
        }
    }
    let space = namespace(call, endpoint).unwrap_or_default();
    let deleted = remove(call, endpoint, space, &call.target.name, &wish)?;
    match deleted {
        Deleted::Waiting(object) => Ok(object_reply(call, endpoint, 200, &object, warnings)),
        Deleted::Gone(object) if shows_object(&endpoint.resource) => {
            Ok(object_reply(call, endpoint, 200, &object, warnings))
        }
        Deleted::Gone(object) => {
            let mut details = json!({
                "name": call.target.name,
                "kind": &*endpoint.resource.id.resource,
                "uid": object["metadata"]["uid"],
            });
            if !endpoint.resource.id.group.is_empty() {
                details["group"] = (*endpoint.resource.id.group).into();
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            Ok(Reply::json(200, &status).with_warnings(warnings))
        }
    }
}

fn remove(
    call: &Call,
    endpoint: &Endpoint,
    namespace: &str,
    name: &str,
    wish: &Wish,
) -> Result<Deleted, ApiError> {
    let cluster = &call.cluster;
    let id = endpoint.id();
    if endpoint.resource.is("", "namespaces")
        && matches!(name, "default" | "kube-system" | "kube-public")
    {
        return Err(ApiError::forbidden(
            id,
            name,
            "this namespace may not be deleted",
        ));
    }
    let mut options = wish.options.clone();
    if endpoint.resource.is("", "pods") {
        options.grace = Some(wish.grace);
    }
    // What is not there is missed below.
    if let Some(current) = cluster.store.get(id, namespace, name) {
        policy::ask(
            call,
            endpoint,
            Write {
                operation: "DELETE",
                // Who deletes a collection names nothing.
                name: &call.target.name,
                namespace,
                object: None,
                old: Some(&current),
                dry_run: wish.dry_run,
            },
        )?;
    }
    if wish.dry_run {
        let current = cluster
            .store
            .get(id, namespace, name)
            .ok_or_else(|| ApiError::not_found(id, name))?;
        plan_delete(id, &current, &options, jiff::Timestamp::now())?;
        return Ok(Deleted::Gone(current));
    }
    cluster.writer.delete(id, namespace, name, &options)
}

pub(super) fn collection(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let wish = parse(call)?;
    let selector = Selector::parse(&call.query, endpoint)?;
    let listing = call
        .cluster
        .store
        .list(endpoint.id(), namespace(call, endpoint));
    let mut items = Vec::new();
    for object in listing.items {
        if !selector.matches(&object) {
            continue;
        }
        let (space, name) = names(&object);
        match remove(call, endpoint, space, name, &wish) {
            Ok(_) => items.push(object),
            // Somebody else deleted it in between: what was asked for.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let meta = json!({"resourceVersion": call.cluster.store.revision().to_string()});
    Ok(view::list(call, endpoint, meta, &items))
}
