//! `GET` of one object and of lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::select::Selector;
use super::{object_reply, view};
use crate::http::{Call, Query, Reply, go_error};
use crate::status::{ApiError, FieldError};
use crate::writer::names;

pub(super) fn get(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    if let Some(text) = call.query.get("resourceVersion") {
        let asked = single_revision(text)?;
        check_not_in_future(call.cluster.store.revision(), asked)?;
    }
    let object = current(call, endpoint)?;
    view::check_table(call)?;
    view::check_shape(call, endpoint, false)?;
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

/// Reads what [`BASE64`] writes, and any bits behind the last byte, as Go does.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    check_options(&call.query, false)?;
    view::check_shape(call, endpoint, true)?;
    let store = &call.cluster.store;
    let scope = namespace(call, endpoint);
    let asked = call.query.get("resourceVersion");
    // "Any state will do" is answered from a cache, whole.
    let limit: usize = number(call, "limit")?
        .filter(|_| asked != Some("0"))
        .map_or(0, |n| usize::try_from(n).unwrap_or(0));
    let token = call.query.get("continue").map(read_token).transpose()?;
    if token.is_some() && asked.is_some_and(|text| text != "0") {
        return Err(ApiError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let gone = |_| {
        ApiError::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        )
    };
    let listing = match (&token, asked) {
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
    view::check_table(call)?;
    Ok(view::list(call, endpoint, meta, &items))
}

/// Parameters that exclude each other, by the rules of `ListOptions`.
pub(super) fn check_options(query: &Query, watch: bool) -> Result<(), ApiError> {
    let field = "resourceVersionMatch";
    let mut errors = Vec::new();
    let mut forbid =
        |field: &str, why: &str| errors.push(FieldError::forbidden(field.to_owned(), why));
    let wanted = query.get(field);
    let initial = query.get("sendInitialEvents").is_some();
    if watch {
        if initial && wanted != Some("NotOlderThan") {
            forbid(
                field,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        if let Some(wanted) = wanted {
            if !initial {
                forbid(
                    field,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            if wanted != "NotOlderThan" {
                errors.push(FieldError::unsupported(
                    field,
                    &wanted.into(),
                    &["NotOlderThan"],
                ));
            }
        }
    } else {
        if let Some(wanted) = wanted {
            let revision = query.get("resourceVersion");
            if revision.is_none() {
                forbid(
                    field,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if query.get("continue").is_some() {
                forbid(
                    field,
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if !matches!(wanted, "Exact" | "NotOlderThan") {
                errors.push(FieldError::unsupported(
                    field,
                    &wanted.into(),
                    &["Exact", "NotOlderThan", ""],
                ));
            }
            if wanted == "Exact" && revision == Some("0") {
                errors.push(FieldError::forbidden(
                    field,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if initial {
            errors.push(FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors))
}

fn read_token(text: &str) -> Result<Continue, ApiError> {
    let bad = |why: String| {
        ApiError::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = LENIENT
        .decode(text.trim_end_matches('='))
        .map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| bad(go_error(&bytes, &error)))
}

pub(super) fn number(call: &Call, key: &str) -> Result<Option<i64>, ApiError> {
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

/// The revision for one object or a watch, of which the API server complains otherwise.
pub(super) fn single_revision(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::new(
            500,
            "",
            format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ),
        )
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
