//! `GET` of one object and of lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::select::Selector;
use super::{object_reply, view};
use crate::http::{Call, Reply};
use crate::status::ApiError;
use crate::writer::names;

pub(super) fn get(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let object = current(call, endpoint)?;
    Ok(object_reply(call, endpoint, 200, &object, Vec::new()))
}

/// The object that the path names.
pub(super) fn current(call: &Call, endpoint: &Endpoint) -> Result<std::sync::Arc<Value>, ApiError> {
    let target = &call.target;
    let namespace = namespace(call, endpoint).unwrap_or_default();
    call.cluster
        .store
        .get(endpoint.id(), namespace, &target.name)
        .ok_or_else(|| ApiError::not_found(&endpoint.resource.id, &target.name))
}

/// The namespace to look in: none for all of them. Cluster-scoped objects are filed under the empty one.
pub(super) fn namespace<'a>(call: &'a Call, endpoint: &Endpoint) -> Option<&'a str> {
    if !endpoint.resource.namespaced || call.target.namespace.is_empty() {
        None
    } else {
        Some(&call.target.namespace)
    }
}

/// Where a list in pages goes on.
#[derive(Serialize, Deserialize)]
struct Continue {
    #[serde(rename = "rv")]
    revision: u64,
    namespace: String,
    name: String,
}

pub(super) fn list(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let selector = Selector::parse(&call.query, endpoint)?;
    let store = &call.cluster.store;
    let scope = namespace(call, endpoint);
    let limit: usize =
        number(call, "limit")?.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let token = call.query.get("continue").map(read_token).transpose()?;
    let gone = |_| {
        ApiError::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        )
    };
    let listing = match (&token, call.query.get("resourceVersion")) {
        (Some(token), _) => store
            .list_at(endpoint.id(), scope, token.revision)
            .map_err(gone)?,
        (None, None | Some("0")) => store.list(endpoint.id(), scope),
        (None, Some(text)) => {
            let revision = revision(text)?;
            check_not_in_future(store.revision(), revision)?;
            if call.query.get("resourceVersionMatch") == Some("Exact") {
                store.list_at(endpoint.id(), scope, revision).map_err(|_| {
                    ApiError::new(
                        410,
                        "Expired",
                        "The resourceVersion for the provided list is too old.",
                    )
                })?
            } else {
                store.list(endpoint.id(), scope)
            }
        }
    };
    let mut items = listing.items;
    if !selector.is_empty() {
        items.retain(|object| selector.matches(object));
    }
    if let Some(token) = &token {
        items.retain(|object| names(object) > (&token.namespace, &token.name));
    }
    let mut meta = json!({"resourceVersion": listing.revision.to_string()});
    if limit > 0 && items.len() > limit {
        let rest = items.len() - limit;
        items.truncate(limit);
        if let Some(last) = items.last() {
            let (namespace, name) = names(last);
            meta["continue"] = BASE64
                .encode(
                    json!(Continue {
                        revision: listing.revision,
                        namespace: namespace.into(),
                        name: name.into(),
                    })
                    .to_string(),
                )
                .into();
        }
        if selector.is_empty() {
            meta["remainingItemCount"] = rest.into();
        }
    }
    Ok(view::list(call, endpoint, meta, &items))
}

fn read_token(text: &str) -> Result<Continue, ApiError> {
    BASE64
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it was not given by this server")
        })
}

pub(super) fn number(call: &Call, key: &str) -> Result<Option<u64>, ApiError> {
    call.query
        .get(key)
        .map(|text| {
            text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })
        })
        .transpose()
}

pub(super) fn revision(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// A revision that this cluster has not reached: the client knew another life of it.
pub(super) fn check_not_in_future(current: u64, asked: u64) -> Result<(), ApiError> {
    if asked <= current {
        return Ok(());
    }
    let mut error = ApiError::new(
        504,
        "Timeout",
        format!("Timeout: Too large resource version: {asked}, current: {current}"),
    );
    error.details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    Err(error)
}
