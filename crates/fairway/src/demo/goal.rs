//! What every Kustomization of the fleet is to reach before it counts as done.

use std::collections::{BTreeMap, BTreeSet};

use super::view::{Snapshot, Unit};
use crate::output::readiness;

/// The branch that a GitRepository follows when it names none, as in Flux.
const DEFAULT_BRANCH: &str = "master";

/// The state to reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goal {
    /// URLs by which objects name the repository that is served here.
    pub(crate) urls: BTreeSet<String>,
    /// Branch → revision of its head.
    pub(crate) heads: BTreeMap<String, String>,
    /// Clusters in which at least one Kustomization must be.
    pub(crate) homes: BTreeSet<String>,
    /// Whether each FleetKustomization is for each cluster, as in the reference repository.
    pub(crate) is_reference: bool,
}

impl Goal {
    /// The reference repository at one revision of its branch.
    pub(crate) fn reference(url: &str, branch: &str, revision: String) -> Self {
        Self {
            urls: BTreeSet::from([url.to_owned()]),
            heads: BTreeMap::from([(branch.to_owned(), revision)]),
            homes: BTreeSet::from([super::MANAGEMENT.to_owned()]),
            is_reference: true,
        }
    }

    /// Whether all is done.
    pub(crate) fn is_reached(&self, snapshot: &Snapshot) -> bool {
        let units = snapshot.units();
        let fleets = &snapshot.fleets;
        let complete = !self.is_reference
            || (!fleets.is_empty()
                && !snapshot.clusters.is_empty()
                && units.len() > fleets.len() * snapshot.clusters.len());
        let ready = fleets
            .iter()
            .chain(&snapshot.clusters)
            .all(|held| readiness(&held.object).is_ready());
        let sources = snapshot.sources.iter().all(|held| {
            let state = readiness(&held.object);
            held.is_suspended() || state.is_ready() || state.reason == super::unrun::NOT_RUN
        });
        complete
            && ready
            && sources
            && self
                .homes
                .iter()
                .all(|home| units.iter().any(|unit| unit.home == *home))
            && units.iter().all(|unit| self.is_done(snapshot, unit))
    }

    /// Whether one Kustomization is done: it has applied what its source is to have, or nobody here runs it.
    pub(crate) fn is_done(&self, snapshot: &Snapshot, unit: &Unit) -> bool {
        unit.is_passed_over()
            || unit.readiness.is_ready()
                && self
                    .revision(snapshot, unit)
                    .is_none_or(|revision| revision == unit.applied)
    }

    /// `(done, all)` of the Kustomizations.
    pub(crate) fn progress(&self, snapshot: &Snapshot) -> (usize, usize) {
        let units = snapshot.units();
        let done = units
            .iter()
            .filter(|unit| self.is_done(snapshot, unit))
            .count();
        let least = if self.is_reference {
            snapshot.fleets.len() * snapshot.clusters.len() + 1
        } else {
            self.homes.len()
        };
        (done, units.len().max(least))
    }

    /// The revision that the source of a Kustomization is to have: the branch's head where the source is the repository
    /// that is served here, else what it has fetched.
    fn revision(&self, snapshot: &Snapshot, unit: &Unit) -> Option<String> {
        let source = snapshot.source_of(unit)?;
        let spec = &source.object["spec"];
        let reference = &spec["ref"];
        let is_branch = ["tag", "semver", "name", "commit"]
            .iter()
            .all(|field| reference[field].is_null());
        let is_own = spec["url"]
            .as_str()
            .is_some_and(|url| self.urls.contains(url));
        let head = (is_own && is_branch)
            .then(|| {
                self.heads
                    .get(reference["branch"].as_str().unwrap_or(DEFAULT_BRANCH))
            })
            .flatten();
        head.cloned().or_else(|| {
            source.object["status"]["artifact"]["revision"]
                .as_str()
                .map(str::to_owned)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::demo::view::Held;

    fn ready(mut object: Value) -> Value {
        object["status"]["conditions"] =
            json!([{"type": "Ready", "status": "True", "reason": "R", "message": "m"}]);
        object
    }

    fn source(url: &str) -> Value {
        ready(json!({
            "metadata": {"name": "flux-system", "namespace": "flux-system"},
            "spec": {"url": url, "ref": {"branch": "main"}},
            "status": {"artifact": {"revision": "main@sha1:1"}},
        }))
    }

    fn kustomization(name: &str, secret: Option<&str>) -> Value {
        ready(json!({
            "metadata": {"name": name, "namespace": "flux-system"},
            "spec": {
                "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
                "kubeConfig": secret.map(|secret| json!({"secretRef": {"name": secret}})),
            },
            "status": {"lastAppliedRevision": "main@sha1:1"},
        }))
    }

    fn hub(object: Value) -> Held {
        Held::new(crate::demo::MANAGEMENT, object)
    }

    fn reference() -> Snapshot {
        Snapshot {
            clusters: vec![hub(ready(json!({
                "metadata": {"name": "dev-a"},
                "spec": {"kubeConfig": {"secretRef": {"name": "dev-a-kubeconfig"}}},
            })))],
            fleets: vec![hub(ready(json!({"metadata": {"name": "apps"}})))],
            kustomizations: vec![
                hub(kustomization("flux-system", None)),
                hub(kustomization("apps-dev-a", Some("dev-a-kubeconfig"))),
            ],
            sources: vec![hub(source("http://here"))],
            ..Snapshot::default()
        }
    }

    #[test]
    fn reached_means_every_kustomization_at_the_head() {
        let mut snapshot = reference();
        let at = |revision: &str| Goal::reference("http://here", "main", revision.to_owned());
        assert!(at("main@sha1:1").is_reached(&snapshot));
        assert!(!at("main@sha1:2").is_reached(&snapshot));
        snapshot.kustomizations.pop();
        assert!(
            !at("main@sha1:1").is_reached(&snapshot),
            "a cluster's Kustomization is missing"
        );
    }

    #[test]
    fn what_nobody_runs_is_passed_over_and_a_cluster_without_anything_is_not() {
        let mut stopped = kustomization("charts", None);
        stopped["status"]["conditions"][0] =
            json!({"type": "Ready", "status": "Unknown", "reason": "NotRun", "message": "m"});
        let snapshot = Snapshot {
            kustomizations: vec![
                Held::new("staging", kustomization("flux-system", None)),
                Held::new("staging", stopped),
            ],
            sources: vec![Held::new("staging", source("https://elsewhere"))],
            ..Snapshot::default()
        };
        let mut goal = Goal {
            homes: BTreeSet::from(["staging".to_owned()]),
            ..Goal::default()
        };
        assert!(goal.is_reached(&snapshot), "at what its source has fetched");
        assert_eq!(goal.progress(&snapshot), (2, 2));
        goal.homes.insert("production".into());
        assert!(!goal.is_reached(&snapshot));
    }
}
