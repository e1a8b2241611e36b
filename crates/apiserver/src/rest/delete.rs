//! `DELETE` of one object and of collections.

use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::object_reply;
use super::read::namespace;
use super::select::Selector;
use super::view;
use crate::http::{Call, Reply};
use crate::status::{ApiError, FieldError};
use crate::writer::{DeleteOptions, Deleted, Propagation, names, plan_delete};

struct Wish {
    options: DeleteOptions,
    dry_run: bool,
}

fn parse(call: &Call) -> Result<Wish, ApiError> {
    let body = if call.body.iter().all(u8::is_ascii_whitespace) {
        Value::Null
    } else {
        call.object()?
    };
    let text = |pointer: &str| {
        body.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let policy = text("/propagationPolicy")
        .or_else(|| call.query.get("propagationPolicy").map(str::to_owned));
    let mut propagation = match policy.as_deref() {
        None => None,
        Some("Orphan") => Some(Propagation::Orphan),
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some(other) => {
            return Err(ApiError::invalid(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                &[FieldError::unsupported(
                    "propagationPolicy",
                    &json!(other),
                    &["Foreground", "Background", "Orphan", "nil"],
                )],
            ));
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
        },
        dry_run,
    })
}

pub(super) fn delete(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let wish = parse(call)?;
    let space = namespace(call, endpoint).unwrap_or_default();
    let deleted = remove(call, endpoint, space, &call.target.name, &wish)?;
    match deleted {
        Deleted::Waiting(object) => Ok(object_reply(call, endpoint, 200, &object, Vec::new())),
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
            Ok(Reply::json(200, &status))
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
    if wish.dry_run {
        let current = cluster
            .store
            .get(id, namespace, name)
            .ok_or_else(|| ApiError::not_found(id, name))?;
        plan_delete(id, &current, &wish.options, jiff::Timestamp::now())?;
        return Ok(Deleted::Gone(current));
    }
    cluster.writer.delete(id, namespace, name, &wish.options)
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
