//! Deleting a CRD deletes its objects first.

use std::time::Duration;

use serde_json::Value;

use super::{FINALIZER, GROUP, RESOURCE};
use crate::store::{EventKind, GroupResource};
use crate::writer::{DeleteOptions, Scope, Writer, is_deleting, names};

/// How soon an object that a finalizer holds is looked at again.
const RETRY: Duration = Duration::from_millis(100);

/// Follows the CRDs of a cluster: empties those that are being deleted, and stops serving those that are gone.
pub(crate) async fn run(writer: Writer) {
    let crds = GroupResource::new(GROUP, RESOURCE);
    loop {
        let (listing, mut watch) = writer.store().list_and_watch(&crds, None);
        let mut held: Vec<String> = listing
            .items
            .iter()
            .filter(|crd| is_deleting(crd))
            .map(|crd| names(crd).1.to_owned())
            .collect();
        loop {
            held.retain(|name| !finish(&writer, &crds, name));
            let events = if held.is_empty() {
                watch.next().await
            } else {
                match tokio::time::timeout(RETRY, watch.next()).await {
                    Ok(events) => events,
                    Err(_) => continue,
                }
            };
            let Ok(events) = events else { break };
            for event in events {
                if event.kind == EventKind::Deleted {
                    if writer.store().get(&crds, "", &event.name).is_none() {
                        writer.registry().remove(&defined(&event.object));
                    }
                } else if is_deleting(&event.object)
                    && !held.iter().any(|name| **name == *event.name)
                {
                    held.push(event.name.to_string());
                }
            }
        }
    }
}

fn defined(crd: &Value) -> GroupResource {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    GroupResource::new(
        &text(&crd["spec"]["group"]),
        &text(&crd["spec"]["names"]["plural"]),
    )
}

/// Deletes the objects of a CRD; true when it needs no more attention.
fn finish(writer: &Writer, crds: &GroupResource, name: &str) -> bool {
    let Some(crd) = writer.store().get(crds, "", name) else {
        return true;
    };
    let id = defined(&crd);
    for object in writer.store().list(&id, None).items {
        let (namespace, name) = names(&object);
        if !is_deleting(&object) {
            // Gone in between is as good as deleted.
            let _ = writer.delete(&id, namespace, name, &DeleteOptions::default());
        }
    }
    if writer.store().count(&id) > 0 {
        return false;
    }
    let released = writer.modify(crds, "", name, Scope::Object, |crd| {
        if let Some(list) = crd["metadata"]["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != FINALIZER);
        }
    });
    released.is_ok() || writer.store().get(crds, "", name).is_none()
}
