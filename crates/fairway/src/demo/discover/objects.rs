//! The Flux and Fairway objects of a repository's YAML files. Files that are no YAML are passed over: they may be templates.

use std::collections::BTreeMap;

use fairway_kustomize::{EntryKind, FileTree};
use serde_json::Value;

/// Group of the Flux operator.
const OPERATOR_GROUP: &str = "fluxcd.controlplane.io";

/// What discovery must know of an object.
#[derive(Debug)]
pub(super) struct FluxObject {
    pub(super) file: String,
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    /// `spec.path`, or `spec.sync.path` of a FluxInstance, normalised.
    pub(super) path: Option<String>,
    /// `spec.url`, or `spec.sync.url` of a FluxInstance.
    pub(super) url: Option<String>,
    /// `spec.ref.branch`.
    pub(super) branch: Option<String>,
    /// `spec.sourceRef.name` of a reference to a GitRepository.
    pub(super) source: Option<String>,
    /// `spec.kubeConfig.secretRef`, as (name, key).
    pub(super) kubeconfig: Option<(String, Option<String>)>,
}

impl FluxObject {
    pub(super) fn is_kustomization(&self) -> bool {
        self.kind == "Kustomization" && self.group == fairway_types::names::KUSTOMIZE_GROUP
    }

    /// Whether it says which folder the cluster that holds it follows: a Kustomization, or what the Flux operator makes one of.
    pub(super) fn is_sync(&self) -> bool {
        self.is_kustomization() || self.is_instance()
    }

    /// Whether the Flux operator makes Flux of it.
    pub(super) fn is_instance(&self) -> bool {
        self.kind == "FluxInstance" && self.group == OPERATOR_GROUP
    }
}

/// Reads the Flux and Fairway objects of every YAML file of the tree.
pub(super) fn read_all(tree: &dyn FileTree) -> Vec<FluxObject> {
    let groups = [
        "toolkit.fluxcd.io",
        OPERATOR_GROUP,
        fairway_types::names::FLEET_GROUP,
    ];
    let mut objects = Vec::new();
    each_document(
        tree,
        |text| groups.iter().any(|group| text.contains(group)),
        |file, value| objects.extend(object(file, &value)),
    );
    objects.sort_by(|a: &FluxObject, b| a.file.cmp(&b.file));
    objects
}

/// Hands each document of the YAML files whose text is wanted on.
pub(super) fn each_document(
    tree: &dyn FileTree,
    is_wanted: impl Fn(&str) -> bool,
    mut found: impl FnMut(&str, Value),
) {
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
                EntryKind::File if is_yaml(&path) => {
                    let Ok(bytes) = tree.read(&path) else {
                        continue;
                    };
                    let text = std::str::from_utf8(&bytes).unwrap_or_default();
                    if !is_wanted(text) {
                        continue;
                    }
                    let documents = fairway_yaml::parse(text).unwrap_or_default();
                    for value in documents
                        .iter()
                        .filter_map(|document| document.to_json().ok())
                    {
                        found(&path, value);
                    }
                }
                EntryKind::File => {}
            }
        }
    }
}

fn is_yaml(path: &str) -> bool {
    std::path::Path::new(path)
        .extension()
        .is_some_and(|extension| {
            extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
        })
}

fn object(file: &str, value: &Value) -> Option<FluxObject> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (group, _) = value["apiVersion"].as_str()?.split_once('/')?;
    let is_known = group.ends_with(".toolkit.fluxcd.io")
        || group == OPERATOR_GROUP
        || group == fairway_types::names::FLEET_GROUP;
    if !is_known {
        return None;
    }
    let spec = if group == OPERATOR_GROUP {
        &value["spec"]["sync"]
    } else {
        &value["spec"]
    };
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
        path: spec["path"].as_str().map(normalised),
        url: text(&spec["url"]),
        branch: text(&spec["ref"]["branch"]),
        source: (value["spec"]["sourceRef"]["kind"] == "GitRepository")
            .then(|| text(&value["spec"]["sourceRef"]["name"]))
            .flatten(),
        kubeconfig: text(&secret["name"]).map(|name| (name, text(&secret["key"]))),
    })
}

/// `./clusters//prod/` → `clusters/prod`.
pub(super) fn normalised(path: &str) -> String {
    path.split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".")
        .collect::<Vec<_>>()
        .join("/")
}
