//! The verbs of the API on one resource.
//!
//! ```text
//!   body ─▶ decode (strict?) ─▶ merge with what is there ─▶ default ─▶ ownership ─▶ rules ─▶ validate ─▶ store
//! ```

mod admit;
mod convert;
mod create;
mod delete;
mod duplicates;
mod endpoint;
mod labels;
mod options;
mod ownership;
mod patch;
mod policy;
mod read;
mod scale;
mod select;
mod subresources;
mod update;
mod view;
mod watch;

use serde_json::Value;

use crate::http::{Call, Reply};
use crate::status::ApiError;
pub(crate) use endpoint::{Endpoint, NEW_EVENTS};

/// Serves a request for a resource.
pub(crate) fn serve(call: &Call) -> Result<Reply, ApiError> {
    let endpoint = Endpoint::find(call)?;
    let target = &call.target;
    if call.method == http::Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let mut reply = if target.subresource.is_empty() {
        if !endpoint.resource.allows(&target.verb) {
            return Err(ApiError::method_not_allowed());
        }
        match target.verb.as_str() {
            "get" => read::get(call, &endpoint)?,
            "list" => read::list(call, &endpoint)?,
            "watch" => watch::watch(call, &endpoint)?,
            "create" => create::create(call, &endpoint)?,
            "update" => update::update(call, &endpoint, crate::writer::Scope::Object)?,
            "patch" => patch::patch(call, &endpoint, crate::writer::Scope::Object)?,
            "delete" => delete::delete(call, &endpoint)?,
            "deletecollection" => delete::collection(call, &endpoint)?,
            _ => return Err(ApiError::method_not_allowed()),
        }
    } else {
        subresources::serve(call, &endpoint)?
    };
    if let Some(text) = &endpoint.served().deprecation {
        reply.warnings.insert(0, text.clone());
    }
    Ok(reply)
}

/// An answer with one object, in the shape that was asked for.
fn object_reply(
    call: &Call,
    endpoint: &Endpoint,
    code: u16,
    object: &Value,
    warnings: Vec<String>,
) -> Reply {
    let shown = view::one(call, endpoint, object);
    let reply = if call.accepted.yaml {
        Reply::yaml(code, &shown)
    } else {
        Reply::json(code, shown.as_ref())
    };
    reply.with_warnings(warnings)
}
