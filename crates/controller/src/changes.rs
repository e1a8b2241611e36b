//! What a change of an object means: who is to be looked at because of it.
//!
//! Changes come from watches, and from the answers to our own writes.

use std::time::Duration;

use fairway_apply::Owner;
use fairway_types::{
    Cluster, ClusterSelector, ConditionStatus, FleetKustomization, GitRepository, Kustomization,
    conditions, names,
};
use kube::ResourceExt;

use crate::context::{Context, key_of};
use crate::home::{HomeId, Key};
use crate::kustomization::{ABANDON, ALLOW_EMPTY};
use crate::objects::{Change, name_of};
use crate::source::{NOT_RUN, enqueue_includers};

impl Context {
    /// What a change of a GitRepository means.
    pub(crate) fn repository_changed(&self, home: &HomeId, change: &Change<GitRepository>) {
        match change {
            Change::Set { old, new } => {
                if needs_run(old.as_deref(), &**new) || self.changes_hands(old.as_deref(), &**new) {
                    self.enqueue_source(key_of(home, &**new));
                }
                let artifact = |object: &GitRepository| {
                    let status = object.status.as_ref()?;
                    let artifact = status.artifact.as_ref()?;
                    Some((artifact.revision.clone(), artifact.digest.clone()))
                };
                if old.as_deref().and_then(artifact) != artifact(new) {
                    if !self.owns_source(new) {
                        self.enqueue_source(key_of(home, &**new));
                    }
                    if let Some(home) = self.homes.get(home) {
                        enqueue_includers(self, &home, new);
                    }
                }
                let ready = |object: &GitRepository| {
                    let status = object.status.as_ref()?;
                    Some(
                        conditions::get(&status.conditions, names::READY)?
                            .reason
                            .clone(),
                    )
                };
                // Kustomizations that were told there is no such source, or that it is not run.
                if old.is_none() || old.as_deref().and_then(ready) != ready(new) {
                    self.notify_waiting(&key_of(home, &**new));
                }
            }
            Change::Gone(object) => {
                let key = key_of(home, &**object);
                self.sources.remove(&key);
                self.artifacts.remove(&key);
                self.queues.sources.forget(&key);
                if *home == HomeId::Hub {
                    let durations = &self.metrics.durations;
                    durations.forget("GitRepository", &key.namespace, &key.name);
                }
                self.notify_source(&key);
            }
        }
    }

    /// What a change of a Kustomization means.
    pub(crate) fn kustomization_changed(&self, home: &HomeId, change: &Change<Kustomization>) {
        let object = match change {
            Change::Set { old, new } => {
                if needs_run(old.as_deref(), &**new) || self.changes_hands(old.as_deref(), &**new) {
                    self.enqueue_kustomization(key_of(home, &**new));
                }
                let seen = |object: &Kustomization| {
                    let status = object.status.as_ref()?;
                    let ready = conditions::get(&status.conditions, names::READY)?;
                    let reason = ready.reason.clone();
                    Some((
                        ready.status,
                        reason,
                        status.last_applied_revision.clone(),
                        status.observed_generation,
                    ))
                };
                let (before, after) = (old.as_deref().and_then(seen), seen(new));
                let same = before == after && old.is_some();
                let is_ready = after.is_some_and(|(status, reason, ..)| {
                    status == ConditionStatus::True || reason == NOT_RUN
                });
                self.notify_dependents(&key_of(home, &**new), is_ready && !same);
                if same {
                    return;
                }
                new
            }
            Change::Gone(object) => {
                let key = key_of(home, &**object);
                self.queues.kustomizations.forget(&key);
                self.let_go(&key);
                if *home == HomeId::Hub {
                    let durations = &self.metrics.durations;
                    durations.forget("Kustomization", &key.namespace, &key.name);
                }
                object
            }
        };
        if *home == HomeId::Hub
            && let Some(fleet) = object.labels().get(names::FLEET_NAME)
        {
            let pause =
                Duration::from_millis(150) + Duration::from_millis(1) * self.clusters.len() as u32;
            let namespace = object.namespace().unwrap_or_default();
            self.notify_pipelines_of_fleet(&namespace, fleet);
            self.enqueue_fleet((namespace, fleet.clone()), pause);
        }
    }

    /// Forgets what is known of a Kustomization that is gone, or is somebody else's now.
    pub(crate) fn let_go(&self, key: &Key) {
        self.memory.forget(key);
        let went_to = self.lanes().remove(key);
        if let Some((id, _)) = went_to {
            let owner = Owner {
                name: key.name.clone(),
                namespace: key.namespace.clone(),
            };
            for target in self.targets().iter().filter(|target| target.id == id) {
                target.observer.forget(&owner);
            }
        }
        self.superseded_by
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(key);
    }

    /// Whether an object has come into this shard, or has left it.
    fn changes_hands<K: kube::Resource>(&self, old: Option<&K>, new: &K) -> bool {
        old.is_some_and(|old| {
            self.options.selects(old.labels()) != self.options.selects(new.labels())
        })
    }

    /// What a change of a Cluster means.
    pub(crate) fn cluster_changed(&self, change: &Change<Cluster>) {
        match change {
            Change::Set { old, new } => {
                let name = (new.namespace().unwrap_or_default(), new.name_any());
                if needs_run(old.as_deref(), &**new) || self.changes_hands(old.as_deref(), &**new) {
                    self.enqueue_cluster(name);
                }
                let selects = |cluster: &Cluster| {
                    (
                        cluster.labels().clone(),
                        cluster.metadata.generation,
                        cluster.metadata.uid.clone(),
                    )
                };
                if old.as_deref().map(selects) != Some(selects(new)) {
                    self.enqueue_fleets_of(&new.namespace().unwrap_or_default());
                } else if old.as_deref().map(is_away) != Some(is_away(new)) {
                    // Rollouts go on without a cluster that is away, or with one that is back.
                    for fleet in self.fleets.all() {
                        if fleet.spec.rollout.is_some() && fleet.namespace() == new.namespace() {
                            self.enqueue_fleet(name_of(&*fleet), Duration::ZERO);
                        }
                    }
                }
            }
            Change::Gone(cluster) => {
                let name = (cluster.namespace().unwrap_or_default(), cluster.name_any());
                self.cluster_targets
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .remove(&name);
                self.enqueue_cluster((cluster.namespace().unwrap_or_default(), cluster.name_any()));
                self.enqueue_fleets_of(&cluster.namespace().unwrap_or_default());
            }
        }
    }

    /// What a change of a FleetKustomization means.
    pub(crate) fn fleet_changed(&self, change: &Change<FleetKustomization>) {
        match change {
            Change::Set { old, new } => {
                let rollout =
                    |fleet: &FleetKustomization| fleet.status.clone().and_then(|s| s.rollout);
                let rolls = old.as_deref().and_then(rollout) != rollout(new);
                if rolls {
                    let namespace = new.namespace().unwrap_or_default();
                    self.notify_pipelines_of_fleet(&namespace, &new.name_any());
                }
                if needs_run(old.as_deref(), &**new)
                    || self.changes_hands(old.as_deref(), &**new)
                    || rolls
                {
                    self.enqueue_fleet(
                        (new.namespace().unwrap_or_default(), new.name_any()),
                        Duration::ZERO,
                    );
                }
            }
            Change::Gone(fleet) => {
                self.gate.forget(&name_of(&**fleet));
                self.queues
                    .fleets
                    .forget(&(fleet.namespace().unwrap_or_default(), fleet.name_any()));
            }
        }
    }

    /// What a change of a named rule means.
    pub(crate) fn selector_changed(&self, change: &Change<ClusterSelector>) {
        let (Change::Set { new: rule, .. } | Change::Gone(rule)) = change;
        self.enqueue_fleets_of(&rule.namespace().unwrap_or_default());
    }
}

/// Whether a cluster does not answer.
fn is_away(cluster: &Cluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| {
        conditions::get(&status.conditions, names::READY).is_some_and(|ready| {
            ready.status == ConditionStatus::False
                && ready.reason == names::reason::CLUSTER_UNREACHABLE
        })
    })
}

/// Whether an object is to be looked at: it is new, its spec or a request of the user has changed, or it is to go.
/// What we write ourselves into a status is not.
pub(crate) fn needs_run<K: kube::Resource>(old: Option<&K>, new: &K) -> bool {
    let Some(old) = old else { return true };
    old.meta().uid != new.meta().uid
        || old.meta().generation != new.meta().generation
        || old.annotations().get(names::REQUESTED_AT) != new.annotations().get(names::REQUESTED_AT)
        || old.annotations().get(ALLOW_EMPTY) != new.annotations().get(ALLOW_EMPTY)
        || old.annotations().get(ABANDON) != new.annotations().get(ABANDON)
        || old.meta().deletion_timestamp != new.meta().deletion_timestamp
}
