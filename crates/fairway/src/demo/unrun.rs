//! What a repository holds that nobody here runs, gathered for people: one line a kind and reason.

use std::collections::{BTreeMap, BTreeSet};

use fairway_schema::kinds;
use fairway_types::inventory::{InventoryEntry, ObjectId};
use fairway_types::names;
use serde_json::Value;

use super::view::Snapshot;
use crate::output::{cut, readiness};

/// How many names a line shows.
const SHOWN: usize = 4;
/// How much of a reason a line shows.
const REASON: usize = 160;

/// Reason of the Ready condition of what is not run.
pub(crate) const NOT_RUN: &str = "NotRun";

type Groups = BTreeMap<(String, String), Names>;

#[derive(Default)]
struct Names {
    objects: BTreeSet<String>,
    clusters: BTreeSet<String>,
}

/// Lines for people: what, why, and in which clusters.
pub(crate) fn lines(snapshot: &Snapshot) -> Vec<String> {
    let mut groups = Groups::new();
    for (kind, held) in [
        ("GitRepository", &snapshot.sources),
        ("Kustomization", &snapshot.kustomizations),
    ] {
        for one in held {
            let state = readiness(&one.object);
            if one.is_suspended() {
                let name = object_name(&one.object);
                add(
                    &mut groups,
                    kind,
                    "suspended in the repository",
                    name,
                    &one.home,
                );
            } else if state.reason == NOT_RUN {
                let why = state.message.trim_start_matches("not run: ");
                let why = why.lines().next().unwrap_or_default();
                let name = object_name(&one.object);
                add(&mut groups, kind, why, name, &one.home);
            }
        }
    }
    for unit in snapshot.units() {
        let cluster = unit.cluster.unwrap_or_else(|| unit.home.clone());
        for id in unit.entries.iter().filter_map(id) {
            if let Without::Flux(why) = without_controller(&id) {
                let name = format!("{}/{}", id.namespace, id.name);
                add(&mut groups, &id.kind, why, name, &cluster);
            }
        }
    }
    let is_single = snapshot.clusters.len() == 1;
    groups
        .into_iter()
        .map(|((kind, why), names)| {
            let line = line(&kind, &why, &names);
            if is_single {
                line
            } else {
                let clusters: Vec<String> = names.clusters.into_iter().collect();
                format!("{line} ({})", some(&clusters, 3))
            }
        })
        .collect()
}

/// Objects of other projects' kinds, which a cluster of one's own would have controllers for: how many of each.
pub(crate) fn stored(snapshot: &Snapshot) -> Option<String> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for unit in snapshot.units() {
        for id in unit.entries.iter().filter_map(id) {
            if matches!(without_controller(&id), Without::Other) {
                *kinds.entry(id.kind).or_default() += 1;
            }
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    (!kinds.is_empty()).then(|| some(&kinds, 6))
}

fn add(groups: &mut Groups, kind: &str, why: &str, name: String, cluster: &str) {
    let names = groups.entry((kind.to_owned(), why.to_owned())).or_default();
    names.objects.insert(name);
    names.clusters.insert(cluster.to_owned());
}

fn line(kind: &str, why: &str, names: &Names) -> String {
    let objects: Vec<String> = names.objects.iter().cloned().collect();
    let count = if objects.len() > SHOWN {
        format!("{} ", objects.len())
    } else {
        String::new()
    };
    format!(
        "{count}{kind} {}: {}",
        some(&objects, SHOWN),
        cut(why, REASON)
    )
}

/// `a, b, c and 4 more`.
pub(crate) fn some(names: &[String], shown: usize) -> String {
    if names.len() <= shown {
        return names.join(", ");
    }
    let rest = names.len() - shown;
    format!("{} and {rest} more", names[..shown].join(", "))
}

fn object_name(object: &Value) -> String {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn id(entry: &Value) -> Option<ObjectId> {
    let entry: InventoryEntry = serde_json::from_value(entry.clone()).ok()?;
    entry.object().ok()
}

enum Without {
    /// One of Flux's kinds, which somebody who knows Flux expects to do something.
    Flux(&'static str),
    /// A kind of somebody else's.
    Other,
    /// It has what it needs.
    Nothing,
}

fn without_controller(id: &ObjectId) -> Without {
    if id.group == names::KUSTOMIZE_GROUP || id.group == names::FLEET_GROUP {
        return Without::Nothing;
    }
    match (id.group.as_str(), id.kind.as_str()) {
        (names::SOURCE_GROUP, "GitRepository") => Without::Nothing,
        ("helm.toolkit.fluxcd.io", _) | (names::SOURCE_GROUP, "HelmRepository" | "HelmChart") => {
            Without::Flux("no Helm controller here")
        }
        (names::SOURCE_GROUP, "OCIRepository") => Without::Flux("OCI sources are not fetched"),
        (names::SOURCE_GROUP, "Bucket") => Without::Flux("buckets are not fetched"),
        ("image.toolkit.fluxcd.io", _) => Without::Flux("no image automation here"),
        ("notification.toolkit.fluxcd.io", _) => Without::Flux("no notification controller here"),
        ("fluxcd.controlplane.io", _) => Without::Flux("no Flux operator here"),
        (group, _) if group.ends_with(".toolkit.fluxcd.io") => {
            Without::Flux("no controller for this kind here")
        }
        (group, kind)
            if kinds::resources()
                .any(|resource| resource.group == group && resource.kind == kind) =>
        {
            Without::Nothing
        }
        _ => Without::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::demo::view::Held;

    fn kustomization(name: &str, ids: &[&str]) -> Value {
        let entries: Vec<Value> = ids.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
        json!({
            "metadata": {"namespace": "flux-system", "name": name},
            "status": {"inventory": {"entries": entries}},
        })
    }

    #[test]
    fn kinds_without_a_controller_are_listed_once() {
        let apps = kustomization(
            "apps",
            &[
                "a_x_helm.toolkit.fluxcd.io_HelmRelease",
                "a_y_helm.toolkit.fluxcd.io_HelmRelease",
                "a_s_external-secrets.io_ExternalSecret",
                "a_d_apps_Deployment",
            ],
        );
        let mut stopped = kustomization("more", &[]);
        stopped["status"]["conditions"] = json!([{
            "type": "Ready", "status": "Unknown", "reason": "NotRun", "message": "not run: no key\nhint: give one",
        }]);
        let snapshot = Snapshot {
            kustomizations: vec![
                Held::new("dev", apps.clone()),
                Held::new("prod", apps),
                Held::new("dev", stopped),
            ],
            ..Snapshot::default()
        };
        assert_eq!(
            lines(&snapshot),
            [
                "HelmRelease a/x, a/y: no Helm controller here (dev, prod)",
                "Kustomization flux-system/more: no key (dev)",
            ]
        );
        assert_eq!(stored(&snapshot).as_deref(), Some("2 ExternalSecret"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..6).map(|number| number.to_string()).collect();
        assert_eq!(some(&names, 4), "0, 1, 2, 3 and 2 more");
        assert_eq!(some(&names[..2], 4), "0, 1");
    }
}
