//! What deleting does to an object.

use fairway_schema::kinds::split_api_version;
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
    let old = &current["metadata"];
    if let Some(uid) = &options.uid
        && old["uid"] != uid.as_str()
    {
        let found = old["uid"].as_str().unwrap_or_default();
        return Err(refused(
            current,
            &format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({found}). The object might have been deleted and then recreated"
            ),
        ));
    }
    if let Some(revision) = &options.resource_version
        && old["resourceVersion"] != revision.as_str()
    {
        let found = old["resourceVersion"].as_str().unwrap_or_default();
        return Err(refused(
            current,
            &format!(
                "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({found}). The object might have been modified"
            ),
        ));
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
    let is_crd = &*id.group == crd::GROUP && &*id.resource == crd::RESOURCE;
    let is_namespace = id.group.is_empty() && &*id.resource == "namespaces";
    // A CRD goes after its objects.
    if is_crd && !is_deleting(current) {
        list.push(crd::FINALIZER.to_owned());
        list.dedup();
    }
    let grace = options.grace.map(|asked| grace(current, asked));
    let meta = metadata(&mut object);
    if list.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), list.into());
    }
    if !is_deleting(current) {
        meta.insert("deletionTimestamp".into(), api_time(now).into());
        // Namespaces and CRDs are deleted by code of their own, which knows no grace period.
        if !is_crd && !is_namespace {
            meta.insert("deletionGracePeriodSeconds".into(), 0.into());
            if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
                meta.insert("generation".into(), (generation + 1).into());
            }
        }
    }
    if let Some((period, asked)) = grace {
        let before = old["deletionGracePeriodSeconds"].as_i64();
        let meta = metadata(&mut object);
        if is_deleting(current) {
            if period > 0 && (!asked || before.is_some_and(|before| period >= before)) {
                return Ok(Change::Keep);
            }
        } else {
            let end = Timestamp::from_second(now.as_second() + period).unwrap_or(now);
            meta.insert("deletionTimestamp".into(), api_time(end).into());
        }
        meta.insert("deletionGracePeriodSeconds".into(), period.into());
        if period > 0 {
            return Ok(Change::Put(object));
        }
        if !is_held(&object) {
            return Ok(Change::Remove(object));
        }
    }
    if !is_held(&object) {
        // Nobody saw it marked, so its last state is not marked either.
        return Ok(Change::Remove(if is_deleting(current) {
            object
        } else {
            current.clone()
        }));
    }
    if is_namespace {
        object["status"]["phase"] = "Terminating".into();
    }
    if is_crd && !is_deleting(current) {
        let terminating = serde_json::json!({
            "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            "lastTransitionTime": api_time(now),
        });
        if let Some(list) = object["status"]["conditions"].as_array_mut() {
            list.push(terminating);
        }
    }
    Ok(if same(current, &object) {
        Change::Keep
    } else {
        Change::Put(object)
    })
}

/// How long a pod may take to end, and whether that was asked for. One that runs nowhere, or no more, needs no time.
fn grace(pod: &Value, asked: Option<i64>) -> (i64, bool) {
    let spec = &pod["spec"];
    let nowhere = spec["nodeName"].as_str().unwrap_or_default().is_empty();
    let over = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let period = if nowhere || over {
        0
    } else {
        asked
            .or(spec["terminationGracePeriodSeconds"].as_i64())
            .map_or(30, |period| if period < 0 { 1 } else { period })
    };
    (period, asked.is_some())
}

/// A precondition that does not hold: the API server names the kind here, not the resource.
fn refused(current: &Value, why: &str) -> ApiError {
    let (group, _) = split_api_version(current["apiVersion"].as_str().unwrap_or_default());
    let kind = GroupResource::new(group, current["kind"].as_str().unwrap_or_default());
    ApiError::conflict(&kind, names(current).1, why)
}
