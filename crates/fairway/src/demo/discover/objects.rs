//! The Flux and Fairway objects of a repository's YAML files. Files that are no YAML are passed over: they may be templates.

use std::collections::BTreeMap;

use fairway_kustomize::{EntryKind, FileTree};
use serde_json::Value;

/// What discovery must know of an object.
#[derive(Debug)]
pub(super) struct FluxObject {
    pub(super) file: String,
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    /// `spec.path`, normalised.
    pub(super) path: Option<String>,
    /// `spec.url`.
    pub(super) url: Option<String>,
    /// `spec.sourceRef.name` of a reference to a GitRepository.
    pub(super) source: Option<String>,
    /// `spec.kubeConfig.secretRef`, as (name, key).
    pub(super) kubeconfig: Option<(String, Option<String>)>,
}

impl FluxObject {
    pub(super) fn is_kustomization(&self) -> bool {
        self.kind == "Kustomization" && self.group == fairway_types::names::KUSTOMIZE_GROUP
    }
}

/// Reads every YAML file of the tree.
pub(super) fn read_all(tree: &dyn FileTree) -> Vec<FluxObject> {
    let mut objects = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for (name, kind) in tree.list(&folder).unwrap_or_default() {
            let path = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            match kind {
                EntryKind::Dir => folders.push(path),
                EntryKind::File if is_yaml(&path) => read(tree, &path, &mut objects),
                EntryKind::File => {}
            }
        }
    }
    objects.sort_by(|a, b| a.file.cmp(&b.file));
    objects
}

fn is_yaml(path: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|extension| {
            extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
        })
}

fn read(tree: &dyn FileTree, path: &str, objects: &mut Vec<FluxObject>) {
    let Ok(bytes) = tree.read(path) else { return };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return;
    };
    if !text.contains("toolkit.fluxcd.io") && !text.contains(fairway_types::names::FLEET_GROUP) {
        return;
    }
    let Ok(documents) = fairway_yaml::parse(text) else {
        return;
    };
    for value in documents
        .iter()
        .filter_map(|document| document.to_json().ok())
    {
        objects.extend(object(path, &value));
    }
}

fn object(file: &str, value: &Value) -> Option<FluxObject> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (group, _) = value["apiVersion"].as_str()?.split_once('/')?;
    if !group.ends_with(".toolkit.fluxcd.io") && group != fairway_types::names::FLEET_GROUP {
        return None;
    }
    let metadata = &value["metadata"];
    let secret = &value["spec"]["kubeConfig"]["secretRef"];
    Some(FluxObject {
        file: file.to_owned(),
        group: group.to_owned(),
        kind: text(&value["kind"])?,
        name: text(&metadata["name"])?,
        namespace: text(&metadata["namespace"])
            .unwrap_or_else(|| fairway_types::names::SYSTEM_NAMESPACE.into()),
        labels: serde_json::from_value(metadata["labels"].clone()).unwrap_or_default(),
        path: value["spec"]["path"].as_str().map(normalised),
        url: text(&value["spec"]["url"]),
        source: (value["spec"]["sourceRef"]["kind"] == "GitRepository")
            .then(|| text(&value["spec"]["sourceRef"]["name"]))
            .flatten(),
        kubeconfig: text(&secret["name"]).map(|name| (name, text(&secret["key"]))),
    })
}

/// `./clusters//prod/` → `clusters/prod`.
fn normalised(path: &str) -> String {
    path.split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .collect::<Vec<_>>()
        .join("/")
}
