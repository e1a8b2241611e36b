//! HTTPS: from a request to a verb on a resource, and back.
//!
//! ```text
//!   faults ──▶ who? (401) ──▶ what? ──▶ count ──▶ may they? (403) ──▶ discovery │ health │ rest
//! ```

mod accept;
mod body;
mod control;
mod identity;
mod listener;
mod protobuf;
mod query;
mod reply;
mod target;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;

pub(crate) use accept::{Accepted, Shape, is_openapi_v2};
pub(crate) use body::{go_error, yaml};
pub(crate) use control::Control;
pub(crate) use listener::serve;
pub(crate) use query::Query;
pub(crate) use reply::{Body, Reply};
pub(crate) use target::Target;

use crate::auth::{Attributes, Authorizer, Decision, User};
use crate::cluster::Cluster;
use crate::status::ApiError;
use crate::store::GroupResource;
use crate::{discovery, rest};

/// A request that is ready to be served: parsed, authenticated, authorized.
pub(crate) struct Call {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) user: User,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) accepted: Accepted,
    pub(crate) body: bytes::Bytes,
    /// What to tell the client beside the answer.
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Call {
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Tells the client something beside the answer, whatever that is.
    pub(crate) fn warn(&self, warnings: Vec<String>) {
        self.warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(warnings);
    }

    /// Media type of the body without parameters.
    pub(crate) fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE)
            .and_then(|text| text.split(';').next())
            .map_or("", str::trim)
    }
}

pub(crate) async fn handle(cluster: Arc<Cluster>, request: Request<Incoming>) -> Response<Body> {
    let head = request.method() == Method::HEAD;
    let mut yaml = false;
    let reply = match answer(cluster, request, &mut yaml).await {
        Ok(reply) => reply,
        Err(error) => error.into(),
    };
    let reply = if yaml { reply.in_yaml() } else { reply };
    reply.into_response(head)
}

async fn answer(
    cluster: Arc<Cluster>,
    request: Request<Incoming>,
    in_yaml: &mut bool,
) -> Result<Reply, ApiError> {
    let (parts, incoming) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let target = Target::parse(&parts.method, parts.uri.path(), &query);
    cluster.count(&target.verb, &counted_as(&target));
    let user = identity::authenticate(&cluster, &parts.headers)?;
    // The simulator's own controls work whatever is wrong with the cluster.
    if let Some(rest) = target.path.strip_prefix("/simulator/") {
        let body = body::read(incoming).await?;
        return control::serve(&cluster, &user, &parts.method, rest, &body);
    }
    inject(&cluster).await?;
    let user = identity::impersonate(&cluster, user, &parts.headers)?;
    authorize(&cluster, &user, &target, &query)?;
    let accept = parts
        .headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let accepted = match accept::negotiate(accept) {
        Some(accepted) => accepted,
        // Answers in plain text are for everybody.
        None if target.resource.is_empty() && !target.path.starts_with("/api") => {
            Accepted::object(false)
        }
        None => {
            let streams = target.verb == "list" || target.verb == "watch";
            return Err(accept::not_acceptable(accept.unwrap_or_default(), streams));
        }
    };
    *in_yaml = accepted.yaml;
    if accepted.yaml && target.verb == "watch" {
        return Err(ApiError::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json;stream=watch",
        ));
    }
    let body = body::read(incoming).await?;
    let call = Call {
        cluster,
        user,
        method: parts.method,
        target,
        query,
        headers: parts.headers,
        accepted,
        body,
        warnings: Mutex::default(),
    };
    if call.target.resource.is_empty() {
        return discovery::serve(&call);
    }
    let served = rest::serve(&call);
    let mut warnings = call
        .warnings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    // A refusal comes with its warnings too.
    let mut reply = match served {
        Err(error) if !warnings.is_empty() => error.into(),
        served => served?,
    };
    warnings.append(&mut reply.warnings);
    reply.warnings = warnings;
    Ok(reply)
}

fn counted_as(target: &Target) -> String {
    if target.resource.is_empty() {
        target.path.clone()
    } else if target.subresource.is_empty() {
        target.resource.clone()
    } else {
        format!("{}/{}", target.resource, target.subresource)
    }
}

async fn inject(cluster: &Cluster) -> Result<(), ApiError> {
    let faults = cluster.faults.get();
    if faults.latency_millis > 0 {
        tokio::time::sleep(Duration::from_millis(faults.latency_millis)).await;
    }
    cluster.faults.while_black_hole().await;
    let number = cluster.sequence.fetch_add(1, Ordering::Relaxed);
    if faults.status >= 400 && number.is_multiple_of(faults.one_in.max(1)) {
        return Err(injected(faults.status, faults.retry_after_seconds));
    }
    Ok(())
}

fn injected(status: u16, retry_after: u64) -> ApiError {
    let (reason, message) = match status {
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden by an injected fault"),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted",
        ),
        _ => ("InternalError", "Internal error occurred: injected fault"),
    };
    let mut error = ApiError::new(status, reason, message);
    if retry_after > 0 {
        error.details = serde_json::json!({"retryAfterSeconds": retry_after});
    }
    error
}

fn authorize(
    cluster: &Cluster,
    user: &User,
    target: &Target,
    query: &Query,
) -> Result<(), ApiError> {
    // Who asks for the objects of one name asks for that object.
    let of_name = query
        .get("fieldSelector")
        .filter(|_| matches!(&*target.verb, "list" | "watch" | "deletecollection"))
        .into_iter()
        .flat_map(|text| text.split(','))
        .find_map(|term| term.strip_prefix("metadata.name="))
        .map(|name| name.trim_start_matches('='));
    let attributes = Attributes {
        verb: target.verb.clone(),
        group: target.group.clone(),
        version: target.version.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        namespace: target.namespace.clone(),
        name: of_name.map_or_else(|| target.name.clone(), str::to_owned),
        path: target.resource.is_empty().then(|| target.path.clone()),
    };
    match cluster.authorizer.authorize(user, &attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) => Err(denied(user, &attributes, &why)),
    }
}

/// The 403 of a request that no rule allows, in Kubernetes' words.
pub(crate) fn denied(user: &User, attributes: &Attributes, why: &str) -> ApiError {
    let mut text = match &attributes.path {
        Some(path) => format!(
            "User {:?} cannot {} path {path:?}",
            user.name, attributes.verb
        ),
        None => {
            let mut resource = attributes.resource.clone();
            if !attributes.subresource.is_empty() {
                resource = format!("{resource}/{}", attributes.subresource);
            }
            let place = if attributes.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", attributes.namespace)
            };
            format!(
                "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
                user.name, attributes.verb, attributes.group
            )
        }
    };
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    if attributes.path.is_some() {
        let mut error = ApiError::new(403, "Forbidden", format!("forbidden: {text}"));
        error.details = serde_json::json!({});
        return error;
    }
    let resource = GroupResource::new(&attributes.group, &attributes.resource);
    ApiError::forbidden(&resource, &attributes.name, &text)
}
