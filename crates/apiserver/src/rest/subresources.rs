//! `status`, `scale`, `finalize`, `token`, `log`, `eviction`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::options::WriteOptions;
use super::policy::{self, Write};
use super::{object_reply, patch, read, scale, update};
use crate::auth::TokenRequest;
use crate::http::{Call, Reply};
use crate::resources::Origin;
use crate::status::{ApiError, FieldError};
use crate::store::GroupResource;
use crate::writer::{DeleteOptions, Scope, api_time, in_seconds};

pub(super) fn serve(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let target = &call.target;
    let found = endpoint
        .served()
        .subresource(&target.subresource)
        .ok_or_else(|| {
            // Custom resources could have some subresources, and say that they haven't.
            let known = matches!(&*target.subresource, "status" | "scale");
            if known && endpoint.resource.origin != Origin::Builtin {
                ApiError::not_found(&endpoint.resource.id, &target.name)
            } else {
                ApiError::no_such_path()
            }
        })?;
    if !found.verbs.contains(&target.verb) {
        return Err(ApiError::method_not_allowed());
    }
    let resource = &endpoint.resource;
    match (target.subresource.as_str(), target.verb.as_str()) {
        ("status", "get") => {
            let object = read::current(call, endpoint)?;
            Ok(object_reply(call, endpoint, 200, &object, Vec::new()))
        }
        ("status", "update") => update::update(call, endpoint, Scope::Status),
        ("status", "patch") => patch::patch(call, endpoint, Scope::Status),
        ("scale", _) => scale::serve(call, endpoint),
        ("finalize", "update") if resource.is("", "namespaces") => {
            update::update(call, endpoint, Scope::Finalize)
        }
        ("token", "create") if resource.is("", "serviceaccounts") => token(call, endpoint),
        ("log", "get") if resource.is("", "pods") => log(call, endpoint),
        ("eviction", "create") if resource.is("", "pods") => evict(call, endpoint),
        ("binding", "create") if resource.is("", "pods") => bind(call, endpoint),
        (name, _) => Err(ApiError::new(
            501,
            "NotImplemented",
            format!("simulated cluster: {}/{name} is not there", resource.id),
        )),
    }
}

/// A TokenRequest for a ServiceAccount.
fn token(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let options = WriteOptions::parse(call)?;
    let account = read::current(call, endpoint)?;
    let mut request = if call.body.is_empty() {
        json!({})
    } else {
        call.object()?
    };
    let (_, account_name) = crate::writer::names(&account);
    let given = request["metadata"]["name"].as_str().unwrap_or_default();
    if !given.is_empty() && given != account_name {
        return Err(ApiError::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            account_name,
            &[FieldError::invalid(
                "metadata.name",
                &given.into(),
                "must match the service account name if specified",
            )],
        ));
    }
    bound_object(call, &request["spec"]["boundObjectRef"])?;
    ask(call, endpoint, &request, options.dry_run)?;
    let seconds = request["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or(3600);
    if seconds < 600 {
        return Err(ApiError::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            "",
            &[FieldError::invalid(
                "spec.expirationSeconds",
                &seconds.into(),
                "may not specify a duration less than 10 minutes",
            )],
        ));
    }
    let audiences: Vec<String> = request["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let expires = in_seconds(seconds);
    let text = |key: &str| {
        account["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let token = call.cluster.tokens.issue(
        &TokenRequest {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            expires: Some(expires),
            audiences: audiences.clone(),
            secret: None,
        },
        Timestamp::now(),
    );
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["kind"] = "TokenRequest".into();
    let meta = &account["metadata"];
    request["metadata"] = json!({
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": meta["uid"],
        "creationTimestamp": api_time(Timestamp::now()),
    });
    if request["spec"]["boundObjectRef"].is_null() {
        request["spec"]["boundObjectRef"] = Value::Null;
    }
    request["spec"]["expirationSeconds"] = seconds.into();
    if audiences.is_empty() {
        request["spec"]["audiences"] = json!(["https://kubernetes.default.svc.cluster.local"]);
    }
    request["status"] = json!({
        "token": if options.dry_run { "fake" } else { &token },
        "expirationTimestamp": api_time(expires),
    });
    Ok(Reply::json(201, &request))
}

/// A token can be bound to an object, which has to be there.
fn bound_object(call: &Call, reference: &Value) -> Result<(), ApiError> {
    let resource = match reference["kind"].as_str() {
        Some("Pod") => "pods",
        Some("Secret") => "secrets",
        Some("Node") => "nodes",
        _ => return Ok(()),
    };
    let id = GroupResource::core(resource);
    let name = reference["name"].as_str().unwrap_or_default();
    let namespace = if resource == "nodes" {
        ""
    } else {
        &call.target.namespace
    };
    match call.cluster.store.get(&id, namespace, name) {
        Some(_) => Ok(()),
        None => Err(ApiError::not_found(&id, name)),
    }
}

/// Nothing runs here, so there is nothing to log; say so instead of looking empty.
fn log(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let pod = read::current(call, endpoint)?;
    let name = &call.target.name;
    let containers: Vec<&str> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let container = match call.query.get("container") {
        Some(wanted) if containers.contains(&wanted) => wanted,
        Some(wanted) => {
            return Err(ApiError::bad_request(format!(
                "container {wanted} is not valid for pod {name}"
            )));
        }
        None if containers.len() > 1 => {
            return Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                containers.join(" ")
            )));
        }
        None => containers.first().copied().unwrap_or_default(),
    };
    Ok(Reply::text(
        200,
        format!(
            "simulated cluster: container {container:?} of pod {name:?} does not really run, so it logs nothing\n"
        ),
    ))
}

/// Asks policies about what is posted to a subresource.
fn ask(call: &Call, endpoint: &Endpoint, posted: &Value, dry_run: bool) -> Result<(), ApiError> {
    let target = &call.target;
    let write = Write {
        operation: "CREATE",
        name: &target.name,
        namespace: &target.namespace,
        object: Some(posted),
        old: None,
        dry_run,
    };
    policy::ask(call, endpoint, write)
}

fn evict(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let target = &call.target;
    let posted = if call.body.is_empty() {
        json!({})
    } else {
        call.object()?
    };
    ask(call, endpoint, &posted, false)?;
    call.cluster.writer.delete(
        endpoint.id(),
        &target.namespace,
        &target.name,
        &DeleteOptions::default(),
    )?;
    Ok(Reply::json(201, &done()))
}

/// The answer to what makes no object.
fn done() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

/// Gives a pod its Node, once.
fn bind(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let (target, binding) = (&call.target, call.object()?);
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(ApiError::invalid(
            "",
            "Binding",
            &target.name,
            &[FieldError::required("target.name", "")],
        ));
    }
    let pod = read::current(call, endpoint)?;
    ask(call, endpoint, &binding, false)?;
    if let Some(bound) = pod["spec"]["nodeName"]
        .as_str()
        .filter(|name| !name.is_empty())
    {
        return Err(ApiError::conflict(
            &GroupResource::core("pods/binding"),
            &target.name,
            &format!("pod {} is already assigned to node {bound:?}", target.name),
        ));
    }
    let now = api_time(Timestamp::now());
    let bind = |pod: &mut Value| pod["spec"]["nodeName"] = node.into();
    let writer = &call.cluster.writer;
    writer.modify(endpoint.id(), &target.namespace, &target.name, Scope::Binding, |pod| {
        bind(pod);
        let scheduled = json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        });
        if let Some(list) = pod["status"]["conditions"].as_array_mut() {
            list.retain(|condition| condition["type"] != "PodScheduled");
            list.push(scheduled);
        } else {
            pod["status"]["conditions"] = json!([scheduled]);
        }
    })?;
    Ok(Reply::json(201, &done()))
}
