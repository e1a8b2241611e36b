//! Aggregated discovery: everything in one answer.

use serde_json::{Value, json};

use super::groups;
use crate::http::Reply;
use crate::resources::{Registry, Resource, ServedVersion};

/// Clients look at the content type to see which form they got.
const MEDIA: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The core group (`/api`) or the named ones (`/apis`).
pub(super) fn reply(registry: &Registry, core: bool) -> Reply {
    let items: Vec<Value> = groups::all(registry)
        .into_iter()
        .filter(|group| group.name.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = groups::of_version(registry, &group.name, version)
                        .iter()
                        .map(|(resource, served)| shown(resource, served))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            json!({"metadata": {"name": group.name}, "versions": versions})
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    Reply::bytes(200, MEDIA, list.to_string().into())
}

fn shown(resource: &Resource, served: &ServedVersion) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": &*resource.id.resource,
        "responseKind": kind(&resource.id.group, &served.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = served
        .subresources
        .iter()
        .map(|sub| {
            let (group, version) = match &sub.group_version {
                Some((group, version)) => (group.as_str(), version.as_str()),
                None => (&*resource.id.group, served.version.as_str()),
            };
            json!({
                "subresource": sub.name,
                "responseKind": kind(group, version, &sub.kind),
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
