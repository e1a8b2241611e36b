//! What the demo knows about the fleet, read from the hub's objects: pure functions of their JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::output::{Readiness, Table, readiness, seconds, short_revision};

/// The hub's objects at one moment.
#[derive(Default, Debug)]
pub(crate) struct Snapshot {
    /// `Cluster` objects.
    pub(crate) clusters: Vec<Value>,
    /// `FleetKustomization` objects.
    pub(crate) fleets: Vec<Value>,
    /// Flux `Kustomization` objects.
    pub(crate) kustomizations: Vec<Value>,
    /// `GitRepository` objects.
    pub(crate) sources: Vec<Value>,
}

/// One Kustomization, as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Name on the hub.
    pub(crate) name: String,
    /// Cluster that it is for; `None` is the hub itself.
    pub(crate) cluster: Option<String>,
    /// Its Ready condition.
    pub(crate) readiness: Readiness,
    /// The revision that it last applied.
    pub(crate) applied: String,
    /// How many objects its inventory has.
    pub(crate) objects: usize,
}

impl Unit {
    /// Ready, and at this revision.
    pub(crate) fn is_at(&self, revision: &str) -> bool {
        self.readiness.is_ready() && self.applied == revision
    }
}

impl Snapshot {
    /// The Kustomizations of the hub.
    pub(crate) fn units(&self) -> Vec<Unit> {
        self.kustomizations
            .iter()
            .map(|object| unit(object, &self.clusters))
            .collect()
    }

    /// The revision that the source has fetched.
    pub(crate) fn revision(&self) -> Option<&str> {
        self.sources
            .first()
            .and_then(|source| source["status"]["artifact"]["revision"].as_str())
    }

    /// Whether every object is Ready and every Kustomization has applied `revision`.
    pub(crate) fn is_converged(&self, revision: &str) -> bool {
        let units = self.units();
        !self.fleets.is_empty()
            && !self.clusters.is_empty()
            && self
                .fleets
                .iter()
                .chain(&self.clusters)
                .all(|object| readiness(object).is_ready())
            && units.len() > self.fleets.len() * self.clusters.len()
            && units.iter().all(|unit| unit.is_at(revision))
    }

    /// `(ready, all)`: how many Kustomizations have applied `revision`, of how many.
    pub(crate) fn progress(&self, revision: Option<&str>) -> (usize, usize) {
        let units = self.units();
        let ready = units
            .iter()
            .filter(|unit| revision.is_some_and(|revision| unit.is_at(revision)))
            .count();
        (
            ready,
            units.len().max(self.fleets.len() * self.clusters.len() + 1),
        )
    }

    /// One line for each object that is not Ready: what, where and why.
    pub(crate) fn reasons(&self, revision: Option<&str>) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, objects) in [
            ("GitRepository", &self.sources),
            ("Cluster", &self.clusters),
            ("FleetKustomization", &self.fleets),
            ("Kustomization", &self.kustomizations),
        ] {
            for object in objects {
                let state = readiness(object);
                let behind = kind == "Kustomization"
                    && revision.is_some_and(|revision| {
                        object["status"]["lastAppliedRevision"].as_str() != Some(revision)
                    });
                if !state.is_ready() || behind {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let reason = if state.reason.is_empty() {
                        "Unknown"
                    } else {
                        &state.reason
                    };
                    lines.push(format!("{kind}/{name}: {reason}: {}", state.message));
                }
            }
        }
        if self.kustomizations.is_empty() {
            lines.push("there is no Kustomization on the management cluster".into());
        }
        lines
    }

    /// What has no controller here or no way out of this machine: `Kind/name: reason`.
    pub(crate) fn not_run(&self) -> Vec<String> {
        [
            ("GitRepository", &self.sources),
            ("Kustomization", &self.kustomizations),
        ]
        .into_iter()
        .flat_map(|(kind, objects)| objects.iter().map(move |object| (kind, object)))
        .filter_map(|(kind, object)| {
            let state = readiness(object);
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            (state.reason == "NotRun").then(|| format!("{kind}/{name}: {}", state.message))
        })
        .collect()
    }

    /// The table that stands at the end: a line a cluster.
    pub(crate) fn table(&self, times: &BTreeMap<String, Duration>) -> String {
        let units = self.units();
        let mut table = Table::new([
            "CLUSTER",
            "ENVIRONMENT",
            "REGION",
            "REVISION",
            "KUSTOMIZATIONS",
            "OBJECTS",
            "TIME",
        ]);
        let line = |name: &str, labels: &Value, of: Vec<&Unit>| {
            let ready = of.iter().filter(|unit| unit.readiness.is_ready()).count();
            let label = |key: &str| labels[key].as_str().unwrap_or("-").to_owned();
            let revisions: std::collections::BTreeSet<&str> =
                of.iter().map(|unit| unit.applied.as_str()).collect();
            let revision = match revisions.len() {
                1 => revisions
                    .first()
                    .map(|revision| short_revision(revision))
                    .unwrap_or_default(),
                0 => "-".into(),
                _ => "mixed".into(),
            };
            let time = times
                .get(name)
                .map_or_else(|| "-".into(), |time| seconds(*time));
            let objects: usize = of.iter().map(|unit| unit.objects).sum();
            [
                name.to_owned(),
                label("environment"),
                label("region"),
                revision,
                format!("{ready}/{} ready", of.len()),
                objects.to_string(),
                time,
            ]
        };
        let hub: Vec<&Unit> = units.iter().filter(|unit| unit.cluster.is_none()).collect();
        table.row(line(super::MANAGEMENT, &Value::Null, hub));
        for cluster in &self.clusters {
            let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
            let of = units
                .iter()
                .filter(|unit| unit.cluster.as_deref() == Some(name))
                .collect();
            table.row(line(name, &cluster["metadata"]["labels"], of));
        }
        table.render(true)
    }
}

fn unit(object: &Value, clusters: &[Value]) -> Unit {
    let secret = object["spec"]["kubeConfig"]["secretRef"]["name"].as_str();
    let cluster = clusters
        .iter()
        .find(|cluster| {
            secret.is_some()
                && cluster["spec"]["kubeConfig"]["secretRef"]["name"].as_str() == secret
        })
        .and_then(|cluster| cluster["metadata"]["name"].as_str());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Unit {
        name: text(&object["metadata"]["name"]),
        cluster: cluster.or(secret).map(str::to_owned),
        readiness: readiness(object),
        applied: text(&object["status"]["lastAppliedRevision"]),
        objects: object["status"]["inventory"]["entries"]
            .as_array()
            .map_or(0, Vec::len),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ready(mut object: Value) -> Value {
        object["status"]["conditions"] =
            json!([{"type": "Ready", "status": "True", "reason": "R", "message": "m"}]);
        object
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            clusters: vec![ready(json!({
                "metadata": {"name": "dev-a", "labels": {"environment": "dev", "region": "a"}},
                "spec": {"kubeConfig": {"secretRef": {"name": "dev-a-kubeconfig"}}},
            }))],
            fleets: vec![ready(json!({"metadata": {"name": "apps"}}))],
            kustomizations: vec![
                ready(
                    json!({"metadata": {"name": "flux-system"}, "status": {"lastAppliedRevision": "main@sha1:1"}}),
                ),
                ready(json!({
                    "metadata": {"name": "apps-dev-a"},
                    "spec": {"kubeConfig": {"secretRef": {"name": "dev-a-kubeconfig"}}},
                    "status": {"lastAppliedRevision": "main@sha1:1", "inventory": {"entries": [{}, {}]}},
                })),
            ],
            sources: vec![json!({"status": {"artifact": {"revision": "main@sha1:1"}}})],
        }
    }

    #[test]
    fn converged_means_every_kustomization_at_the_revision() {
        let mut snapshot = snapshot();
        assert!(snapshot.is_converged("main@sha1:1"));
        assert!(!snapshot.is_converged("main@sha1:2"));
        snapshot.kustomizations.pop();
        assert!(
            !snapshot.is_converged("main@sha1:1"),
            "a cluster's Kustomization is missing"
        );
    }

    #[test]
    fn the_table_has_a_line_a_cluster() {
        let table = snapshot().table(&BTreeMap::new());
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(
            table
                .lines()
                .any(|line| line.starts_with("dev-a") && line.contains("1/1 ready   2")),
            "{table}"
        );
    }

    #[test]
    fn what_is_not_ready_is_named_with_its_reason() {
        let mut snapshot = snapshot();
        snapshot.kustomizations[1]["status"]["conditions"][0] = json!({"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "no such file"});
        assert_eq!(
            snapshot.reasons(Some("main@sha1:1")),
            ["Kustomization/apps-dev-a: BuildFailed: no such file"]
        );
    }
}
