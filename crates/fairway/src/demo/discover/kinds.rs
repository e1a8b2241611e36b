//! Kinds that a repository uses and nobody defines for a simulated cluster: charts and operators would bring their definitions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use fairway_kustomize::FileTree;
use fairway_schema::kinds;
use serde_json::{Value, json};

use super::objects::each_document;

/// Kinds without a namespace that do not begin with `Cluster`. What repositories show by a namespace comes first.
const CLUSTER_SCOPED: [&str; 16] = [
    "BGPConfiguration",
    "CiliumBGPAdvertisement",
    "CiliumBGPClusterConfig",
    "CiliumBGPPeerConfig",
    "CiliumBGPPeeringPolicy",
    "CiliumClusterwideNetworkPolicy",
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "EC2NodeClass",
    "FelixConfiguration",
    "GatewayClass",
    "GlobalNetworkPolicy",
    "IPPool",
    "NodePool",
    "UserVolumeConfig",
    "VolumeSnapshotClass",
];

#[derive(Default)]
struct Kind {
    versions: BTreeSet<String>,
    has_namespace: bool,
}

/// Definitions that take any object of these kinds, for the kinds that neither Kubernetes nor the repository defines.
pub(crate) fn definitions(trees: &[impl FileTree]) -> Vec<Value> {
    let mut used: BTreeMap<(String, String), Kind> = BTreeMap::new();
    let mut defined: BTreeSet<(String, String)> =
        fairway_types::crds().iter().filter_map(defines).collect();
    for tree in trees {
        let is_object = |text: &str| text.contains("apiVersion") && text.contains("kind");
        each_document(tree, is_object, |_, value| {
            if value["kind"] == "CustomResourceDefinition" {
                defined.extend(defines(&value));
            } else if let Some((group, version, kind)) = custom(&value) {
                let entry = used.entry((group, kind)).or_default();
                entry.versions.insert(version);
                entry.has_namespace |= value["metadata"]["namespace"].is_string();
            }
        });
    }
    used.into_iter()
        .filter(|(id, _)| !defined.contains(id))
        .map(|((group, kind), found)| definition(&group, &kind, &found))
        .collect()
}

/// Group and kind that a resource definition defines.
fn defines(definition: &Value) -> Option<(String, String)> {
    let spec = &definition["spec"];
    let group = spec["group"].as_str()?;
    let kind = spec["names"]["kind"].as_str()?;
    Some((group.to_owned(), kind.to_owned()))
}

/// Group, version and kind of an object whose kind is not built in.
fn custom(value: &Value) -> Option<(String, String, String)> {
    let (group, version) = value["apiVersion"].as_str()?.split_once('/')?;
    let kind = value["kind"].as_str()?;
    let plain = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || more.contains(character))
    };
    let is_name = plain(group, ".-")
        && group.contains('.')
        && plain(version, "")
        && version.starts_with('v')
        && plain(kind, "");
    let is_known = kinds::resources()
        .any(|resource| resource.group == group && resource.kind == kind)
        || group == "kustomize.config.k8s.io";
    (is_name && value["metadata"]["name"].is_string() && !is_known)
        .then(|| (group.to_owned(), version.to_owned(), kind.to_owned()))
}

fn definition(group: &str, kind: &str, found: &Kind) -> Value {
    let singular = kind.to_lowercase();
    let plural = plural(&singular);
    let is_cluster_scoped = !found.has_namespace
        && (CLUSTER_SCOPED.contains(&kind) || (kind.starts_with("Cluster") && kind != "Cluster"));
    let mut versions: Vec<&String> = found.versions.iter().collect();
    versions.sort_by_key(|version| Reverse(stability(version)));
    let versions: Vec<Value> = versions
        .into_iter()
        .enumerate()
        .map(|(place, name)| {
            json!({
                "name": name,
                "served": true,
                "storage": place == 0,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                }},
            })
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {
                "fleet.fairway.dev/simulated": "any object is taken; nothing here acts on it",
            },
        },
        "spec": {
            "group": group,
            "scope": if is_cluster_scoped { "Cluster" } else { "Namespaced" },
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular},
            "versions": versions,
        },
    })
}

/// `policy` → `policies`, `class` → `classes`, `release` → `releases`.
fn plural(singular: &str) -> String {
    match singular.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if singular.ends_with(['s', 'x'])
            || singular.ends_with("ch")
            || singular.ends_with("sh") =>
        {
            format!("{singular}es")
        }
        _ => format!("{singular}s"),
    }
}

/// Stable versions after betas after alphas, higher ones after lower ones.
fn stability(version: &str) -> (u8, String) {
    let rank = if version.contains("alpha") {
        0
    } else if version.contains("beta") {
        1
    } else {
        2
    };
    (rank, version.to_owned())
}

#[cfg(test)]
mod tests {
    use fairway_kustomize::MemoryTree;

    use super::*;

    #[test]
    fn unknown_kinds_get_a_definition_with_every_version_that_is_used() {
        let mut tree = MemoryTree::new();
        let release = |version: &str| {
            format!(
                "apiVersion: helm.toolkit.fluxcd.io/{version}\nkind: HelmRelease\nmetadata: {{name: a}}\n"
            )
        };
        tree.insert("a.yaml", release("v2beta2"));
        tree.insert("b.yaml", release("v2"));
        tree.insert(
            "c.yaml",
            "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: a}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n\
             apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}\n---\n\
             apiVersion: own.io/v1\nkind: Own\nmetadata: {name: a}\n",
        );
        tree.insert(
            "d.yaml",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: owns.own.io}\n\
             spec: {group: own.io, names: {kind: Own}}\n",
        );
        let found = definitions(&[tree]);
        let names: Vec<&str> = found
            .iter()
            .filter_map(|found| found["metadata"]["name"].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "helmreleases.helm.toolkit.fluxcd.io",
                "clusterpolicies.kyverno.io"
            ]
        );
        assert_eq!(found[0]["spec"]["versions"][0]["name"], "v2");
        assert_eq!(found[0]["spec"]["versions"][1]["name"], "v2beta2");
        assert_eq!(found[0]["spec"]["scope"], "Namespaced");
        assert_eq!(found[1]["spec"]["scope"], "Cluster");
    }
}
