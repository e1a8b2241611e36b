//! What a cluster serves, told in the ways that clients ask: groups and resources, aggregated discovery, OpenAPI,
//! version and health.

mod aggregated;
mod groups;
mod openapi;

use serde_json::{Value, json};

use crate::http::{Call, Reply, Shape};
use crate::status::ApiError;

/// Serves everything that is no resource.
pub(crate) fn serve(call: &Call) -> Result<Reply, ApiError> {
    if !matches!(call.target.verb.as_str(), "get" | "head") {
        return Err(ApiError::method_not_allowed());
    }
    let registry = &call.cluster.registry;
    let parts: Vec<&str> = call
        .target
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let aggregated = call.accepted.shape == Shape::Discovery;
    match parts.as_slice() {
        [] => Ok(Reply::json(
            200,
            &json!({"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}),
        )),
        ["healthz" | "livez" | "readyz", ..] => Ok(Reply::text(200, "ok")),
        ["version"] => Ok(Reply::json(200, &version(&call.cluster.version))),
        ["api"] if aggregated => Ok(aggregated::reply(registry, true)),
        ["apis"] if aggregated => Ok(aggregated::reply(registry, false)),
        ["api"] => Ok(Reply::json(200, &groups::core_versions())),
        ["apis"] => Ok(Reply::json(200, &groups::group_list(registry))),
        ["apis", group] => groups::group(registry, group)
            .map(|group| Reply::json(200, &group))
            .ok_or_else(ApiError::page_not_found),
        ["api", version] => resources(call, "", version),
        ["apis", group, version] => resources(call, group, version),
        ["openapi", "v2"] => {
            let accept = call.header(http::header::ACCEPT);
            openapi::v2(registry, &call.cluster.version, accept)
        }
        ["openapi", "v3"] => Ok(openapi::index(registry)),
        ["openapi", "v3", "api", version] => Ok(openapi::document(call, "", version)),
        ["openapi", "v3", "apis", group, version] => Ok(openapi::document(call, group, version)),
        _ => Err(ApiError::page_not_found()),
    }
}

fn resources(call: &Call, group: &str, version: &str) -> Result<Reply, ApiError> {
    groups::resource_list(&call.cluster.registry, group, version)
        .map(|list| Reply::json(200, &list))
        .ok_or_else(|| {
            if group.is_empty() {
                ApiError::no_such_path()
            } else {
                ApiError::page_not_found()
            }
        })
}

fn version(text: &str) -> Value {
    let mut numbers = text.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or_default(),
        "minor": numbers.next().unwrap_or_default(),
        "gitVersion": text,
        "gitCommit": "",
        "gitTreeState": "simulated",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "simulated/fairway",
    })
}
