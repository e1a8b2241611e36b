//! What deleting does to an object.

use jiff::Timestamp;
use serde_json::Value;

use super::meta::{finalizers, is_held};
use super::rules::same;
use super::{DeleteOptions, Propagation, api_time, is_deleting, metadata, names};
use crate::crd;
use crate::status::ApiError;
use crate::store::{Change, GroupResource};

/// Decides what a deletion does to an object.
pub(crate) fn plan_delete(
    id: &GroupResource,
    current: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Change, ApiError> {
    let (_, name) = names(current);
    let old = &current["metadata"];
    if let Some(uid) = &options.uid
        && old["uid"] != uid.as_str()
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old["uid"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict(id, name, &why));
    }
    if let Some(revision) = &options.resource_version
        && old["resourceVersion"] != revision.as_str()
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {revision}, ResourceVersion in object meta: {}",
            old["resourceVersion"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict(id, name, &why));
    }
    let mut object = current.clone();
    let mut list: Vec<String> = finalizers(current).map(str::to_owned).collect();
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some("orphan"),
        Some(Propagation::Foreground) => Some("foregroundDeletion"),
        Some(Propagation::Background) => None,
        // Without a wish, what an earlier deletion asked for stays.
        None => list.iter().map(String::as_str).find_map(|f| {
            ["orphan", "foregroundDeletion"]
                .into_iter()
                .find(|g| *g == f)
        }),
    };
    list.retain(|f| f != "orphan" && f != "foregroundDeletion");
    if let Some(wanted) = wanted {
        list.push(wanted.to_owned());
    }
    // A CRD goes after its objects.
    if !is_deleting(current) && &*id.group == crd::GROUP && &*id.resource == crd::RESOURCE {
        list.push(crd::FINALIZER.to_owned());
        list.dedup();
    }
    let meta = metadata(&mut object);
    if list.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), list.into());
    }
    if !is_deleting(current) {
        meta.insert("deletionTimestamp".into(), api_time(now).into());
        meta.insert("deletionGracePeriodSeconds".into(), 0.into());
        if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
            meta.insert("generation".into(), (generation + 1).into());
        }
    }
    if !is_held(&object) {
        return Ok(Change::Remove(object));
    }
    if object["kind"] == "Namespace" && object["apiVersion"] == "v1" {
        object["status"]["phase"] = "Terminating".into();
    }
    Ok(if same(current, &object) {
        Change::Keep
    } else {
        Change::Put(object)
    })
}
