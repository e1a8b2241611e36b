//! Discovery as it always was: a list of groups, and a list of resources for each version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::resources::{Origin, Registry, Resource, ServedVersion, api_version};
use crate::rest::NEW_EVENTS;
use crate::table::version_priority;

/// A group and the versions in it, preferred first.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) versions: Vec<String>,
    builtin: bool,
}

/// All named groups: built-in ones first, as nothing may shadow them.
pub(super) fn all(registry: &Registry) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for resource in registry.served().values() {
        let name = &*resource.id.group;
        if groups.last().is_none_or(|group| group.name != name) {
            groups.push(Group {
                name: name.to_owned(),
                versions: Vec::new(),
                builtin: false,
            });
        }
        let Some(group) = groups.last_mut() else {
            continue;
        };
        group.builtin |= resource.origin == Origin::Builtin;
        for version in &resource.versions {
            if !group.versions.contains(&version.version) {
                group.versions.push(version.version.clone());
            }
        }
    }
    for group in &mut groups {
        group
            .versions
            .sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
    }
    groups.sort_by_key(|group| !group.builtin);
    groups
}

/// The resources of one version, by name.
pub(super) fn of_version(
    registry: &Registry,
    group: &str,
    version: &str,
) -> Vec<(std::sync::Arc<Resource>, ServedVersion)> {
    registry
        .served()
        .values()
        .filter(|resource| &*resource.id.group == group)
        .filter_map(|resource| {
            let served = resource.version(version)?.clone();
            Some((resource.clone(), served))
        })
        .collect()
}

pub(super) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

fn shown(group: &Group) -> Value {
    let version = |version: &String| {
        json!({
            "groupVersion": api_version(&group.name, version),
            "version": version,
        })
    };
    json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

pub(super) fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = all(registry)
        .iter()
        .filter(|group| !group.name.is_empty())
        .map(shown)
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

pub(super) fn group(registry: &Registry, name: &str) -> Option<Value> {
    let found = all(registry).into_iter().find(|group| group.name == name)?;
    let mut value = shown(&found);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// Tells migrations whether objects may still be stored in another form.
fn storage_version_hash(resource: &Resource) -> String {
    // Both forms of Events are stored as the core group's.
    let group = if &*resource.id.group == NEW_EVENTS {
        ""
    } else {
        &*resource.id.group
    };
    // Some are stored in the form that they had before their first release.
    let version = match (group, resource.kind.as_str()) {
        ("apiextensions.k8s.io", _)
        | (
            "admissionregistration.k8s.io",
            "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding",
        ) => "v1beta1",
        _ => &resource.storage_version,
    };
    let stored = format!("{group}/{version}/{}", resource.kind);
    STANDARD.encode(&Sha256::digest(stored.as_bytes())[..8])
}

pub(super) fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for (resource, served) in of_version(registry, group, version) {
        let mut entry = json!({
            "name": &*resource.id.resource,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        // Reviews are not stored.
        if resource.allows("get") {
            entry["storageVersionHash"] = storage_version_hash(&resource).into();
        }
        list.push(entry);
        for sub in &served.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", resource.id.resource, sub.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": sub.kind,
                "verbs": sub.verbs,
            });
            if let Some((group, version)) = &sub.group_version {
                entry["group"] = group.as_str().into();
                entry["version"] = version.as_str().into();
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return None;
    }
    let mut shown = json!({
        "kind": "APIResourceList",
        "groupVersion": api_version(group, version),
        "resources": list,
    });
    // The core group is older than the field.
    if !group.is_empty() {
        shown["apiVersion"] = "v1".into();
    }
    Some(shown)
}
