//! What the demo knows about the fleet, read from the clusters' objects: pure functions of their JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::MANAGEMENT;
use super::unrun::NOT_RUN;
use crate::output::{Readiness, Table, readiness, seconds, short_revision};

/// An object and the cluster that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The cluster that holds it.
    pub(crate) home: String,
    /// The object.
    pub(crate) object: Value,
}

impl Held {
    /// An object of a cluster.
    pub(crate) fn new(home: impl Into<String>, object: Value) -> Self {
        Self {
            home: home.into(),
            object,
        }
    }

    /// `metadata.name`.
    pub(crate) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`.
    pub(crate) fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
    }

    /// Whether Git says that it is not to be reconciled.
    pub(crate) fn is_suspended(&self) -> bool {
        self.object["spec"]["suspend"] == true
    }

    fn secret(&self) -> Option<&str> {
        self.object["spec"]["kubeConfig"]["secretRef"]["name"].as_str()
    }
}

/// The objects of all clusters at one moment.
#[derive(Default, Debug)]
pub(crate) struct Snapshot {
    /// `Cluster` objects of the hub.
    pub(crate) clusters: Vec<Held>,
    /// `FleetKustomization` objects of the hub.
    pub(crate) fleets: Vec<Held>,
    /// Flux `Kustomization` objects.
    pub(crate) kustomizations: Vec<Held>,
    /// `GitRepository` objects.
    pub(crate) sources: Vec<Held>,
    /// Kubeconfig Secrets of synced clusters, as (cluster, namespace, name) → the cluster that they lead to.
    pub(crate) remotes: BTreeMap<(String, String, String), String>,
}

/// One Kustomization, as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Its name.
    pub(crate) name: String,
    /// The cluster that holds it.
    pub(crate) home: String,
    /// Cluster that it is for; `None` is the one that holds it.
    pub(crate) cluster: Option<String>,
    /// Its Ready condition.
    pub(crate) readiness: Readiness,
    /// The revision that it last applied.
    pub(crate) applied: String,
    /// Entries of its inventory.
    pub(crate) entries: Vec<Value>,
    /// `spec.sourceRef`.
    source: (String, String, String),
    is_suspended: bool,
}

impl Unit {
    /// The cluster that it applies to.
    pub(crate) fn target(&self) -> &str {
        self.cluster.as_deref().unwrap_or(&self.home)
    }

    /// Whether nobody here runs it.
    pub(crate) fn is_passed_over(&self) -> bool {
        self.is_suspended || self.readiness.reason == NOT_RUN
    }
}

impl Snapshot {
    /// All Kustomizations.
    pub(crate) fn units(&self) -> Vec<Unit> {
        self.kustomizations
            .iter()
            .map(|held| self.unit(held))
            .collect()
    }

    /// One Kustomization.
    pub(crate) fn unit(&self, held: &Held) -> Unit {
        let object = &held.object;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let source = &object["spec"]["sourceRef"];
        Unit {
            name: held.name().to_owned(),
            home: held.home.clone(),
            cluster: self.target_of(held),
            readiness: readiness(object),
            applied: text(&object["status"]["lastAppliedRevision"]),
            entries: object["status"]["inventory"]["entries"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            source: (
                text(&source["kind"]),
                source["namespace"]
                    .as_str()
                    .unwrap_or(held.namespace())
                    .to_owned(),
                text(&source["name"]),
            ),
            is_suspended: held.is_suspended(),
        }
    }

    /// The cluster that the kubeconfig of an object leads to; `None` is the one that holds it.
    pub(crate) fn target_of(&self, held: &Held) -> Option<String> {
        let secret = held.secret()?;
        if held.home == MANAGEMENT {
            let cluster = self
                .clusters
                .iter()
                .find(|cluster| cluster.secret() == Some(secret));
            return Some(cluster.map_or(secret, Held::name).to_owned());
        }
        let key = (
            held.home.clone(),
            held.namespace().to_owned(),
            secret.to_owned(),
        );
        Some(
            self.remotes
                .get(&key)
                .map_or(secret, String::as_str)
                .to_owned(),
        )
    }

    /// The GitRepository that a Kustomization reads.
    pub(crate) fn source_of(&self, unit: &Unit) -> Option<&Held> {
        let (kind, namespace, name) = &unit.source;
        self.sources.iter().find(|held| {
            kind == "GitRepository"
                && held.home == unit.home
                && held.namespace() == namespace
                && held.name() == name
        })
    }

    /// Every object with its kind, in the order of the loop.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &Held)> {
        [
            ("GitRepository", &self.sources),
            ("Cluster", &self.clusters),
            ("FleetKustomization", &self.fleets),
            ("Kustomization", &self.kustomizations),
        ]
        .into_iter()
        .flat_map(|(kind, held)| held.iter().map(move |one| (kind, one)))
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
        let line = |name: &str, labels: &Value| {
            let of: Vec<&Unit> = units.iter().filter(|unit| unit.target() == name).collect();
            let ready = of.iter().filter(|unit| unit.readiness.is_ready()).count();
            let passed = of.iter().filter(|unit| unit.is_passed_over()).count();
            let passed = match passed {
                0 => String::new(),
                passed => format!(", {passed} not run"),
            };
            let label = |key: &str| labels[key].as_str().unwrap_or("-").to_owned();
            let time = times
                .get(name)
                .map_or_else(|| "-".into(), |time| seconds(*time));
            let objects: usize = of.iter().map(|unit| unit.entries.len()).sum();
            [
                name.to_owned(),
                label("environment"),
                label("region"),
                revision(&of),
                format!("{ready}/{} ready{passed}", of.len()),
                objects.to_string(),
                time,
            ]
        };
        if units.iter().any(|unit| unit.target() == MANAGEMENT) {
            table.row(line(MANAGEMENT, &Value::Null));
        }
        for cluster in &self.clusters {
            table.row(line(cluster.name(), &cluster.object["metadata"]["labels"]));
        }
        table.render(true)
    }
}

/// The revision that all have applied; where they read several sources, the one of `flux-system`.
fn revision(units: &[&Unit]) -> String {
    let revisions: BTreeSet<&str> = units
        .iter()
        .map(|unit| unit.applied.as_str())
        .filter(|revision| !revision.is_empty())
        .collect();
    let own = units
        .iter()
        .find(|unit| unit.name == fairway_types::names::SYSTEM_NAMESPACE)
        .map(|unit| unit.applied.as_str());
    match (revisions.len(), own) {
        (0, _) => "-".into(),
        (1, _) => short_revision(revisions.first().unwrap_or(&"-")),
        (more, Some(own)) if !own.is_empty() => format!("{} +{}", short_revision(own), more - 1),
        _ => "mixed".into(),
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

    #[test]
    fn the_table_has_a_line_a_cluster() {
        let hub = |object| Held::new(MANAGEMENT, object);
        let snapshot = Snapshot {
            clusters: vec![hub(ready(json!({
                "metadata": {"name": "dev-a", "labels": {"environment": "dev", "region": "a"}},
                "spec": {"kubeConfig": {"secretRef": {"name": "dev-a-kubeconfig"}}},
            })))],
            kustomizations: vec![
                hub(ready(json!({
                    "metadata": {"name": "flux-system"},
                    "status": {"lastAppliedRevision": "main@sha1:1"},
                }))),
                hub(ready(json!({
                    "metadata": {"name": "apps-dev-a"},
                    "spec": {"kubeConfig": {"secretRef": {"name": "dev-a-kubeconfig"}}},
                    "status": {"lastAppliedRevision": "main@sha1:1", "inventory": {"entries": [{}, {}]}},
                }))),
            ],
            ..Snapshot::default()
        };
        let table = snapshot.table(&BTreeMap::new());
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(
            table
                .lines()
                .any(|line| line.starts_with("dev-a") && line.contains("1/1 ready        2")),
            "{table}"
        );
    }

    #[test]
    fn a_hub_of_the_repository_leads_to_its_own_clusters() {
        let unit = Held::new(
            "hub",
            json!({
                "metadata": {"name": "apps", "namespace": "staging"},
                "spec": {"kubeConfig": {"secretRef": {"name": "cluster-kubeconfig"}}},
            }),
        );
        let snapshot = Snapshot {
            remotes: BTreeMap::from([(
                ("hub".into(), "staging".into(), "cluster-kubeconfig".into()),
                "staging".into(),
            )]),
            ..Snapshot::default()
        };
        assert_eq!(snapshot.target_of(&unit).as_deref(), Some("staging"));
    }
}
