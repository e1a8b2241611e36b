//! What the children of a rollout may apply, as the fleet reconciler decided it last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairway_types::{Kustomization, names};
use kube::ResourceExt as _;

use crate::context::Context;
use crate::fleet::plan::is_child;
use crate::home::{HomeId, Key};
use crate::objects::Name;
use crate::options::Controller;

/// For each fleet the rendered digest that each of its children may apply. It is not needed to be right after a restart:
/// what is not known yet waits until the fleet has been looked at.
#[derive(Debug, Default)]
pub struct Gate(Mutex<HashMap<Name, BTreeMap<String, String>>>);

impl Gate {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, BTreeMap<String, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the children of a fleet may apply from now on. Returns those for which that is news.
    pub fn publish(&self, fleet: &Name, admitted: BTreeMap<String, String>) -> Vec<String> {
        let mut all = self.lock();
        let before = all.insert(fleet.clone(), admitted.clone());
        drop(all);
        let before = before.unwrap_or_default();
        admitted
            .into_iter()
            .filter(|(child, digest)| before.get(child) != Some(digest))
            .map(|(child, _)| child)
            .collect()
    }

    /// Whether a child may apply what was rendered for it.
    pub fn admits(&self, fleet: &Name, child: &str, digest: &str) -> bool {
        self.lock()
            .get(fleet)
            .and_then(|children| children.get(child))
            .is_some_and(|admitted| admitted == digest)
    }

    /// Forgets a fleet.
    pub fn forget(&self, fleet: &Name) {
        self.lock().remove(fleet);
    }
}

impl Context {
    /// The fleet whose rollout decides what a Kustomization may apply, if there is one.
    pub(crate) async fn governing(&self, key: &Key, object: &Kustomization) -> Option<Name> {
        let has_fleets = self.options.controllers.contains(&Controller::Fleet);
        if key.home != HomeId::Hub || !has_fleets || !super::in_charge(self) {
            return None;
        }
        let fleet = object.labels().get(names::FLEET_NAME)?;
        // A fleet that was not listed yet may have a rollout.
        self.fleets.synced().await;
        let found = self.fleets.get(&key.namespace, fleet)?;
        let governs = found.spec.rollout.is_some() && is_child(&found, object);
        governs.then(|| (key.namespace.clone(), fleet.clone()))
    }

    /// Whether a change is under way to the cluster of a Kustomization.
    pub(crate) fn is_under_way(&self, key: &Key, object: &Kustomization) -> bool {
        let fleet = object
            .labels()
            .get(names::FLEET_NAME)
            .filter(|_| key.home == HomeId::Hub)
            .and_then(|fleet| self.fleets.get(&key.namespace, fleet));
        let status = fleet.as_ref().and_then(|fleet| fleet.status.as_ref());
        let rollout = status.and_then(|status| status.rollout.as_ref());
        let fleet = object.labels().get(names::FLEET_NAME);
        rollout.zip(fleet).is_some_and(|(rollout, fleet)| {
            let mut clusters = rollout.clusters.iter();
            clusters.any(|entry| crate::fleet::child_name(fleet, &entry.name) == key.name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_passes() {
        let (gate, fleet) = (Gate::default(), ("ns".to_owned(), "apps".to_owned()));
        let said = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(child, digest)| ((*child).to_owned(), (*digest).to_owned()))
                .collect()
        };
        assert!(!gate.admits(&fleet, "a", "1"), "nothing is known yet");
        assert_eq!(
            gate.publish(&fleet, said(&[("a", "1"), ("b", "1")])),
            ["a", "b"]
        );
        assert!(gate.admits(&fleet, "a", "1") && !gate.admits(&fleet, "a", "2"));
        assert_eq!(gate.publish(&fleet, said(&[("a", "2"), ("b", "1")])), ["a"]);
        assert!(gate.admits(&fleet, "a", "2") && !gate.admits(&fleet, "c", "1"));
        gate.forget(&fleet);
        assert!(!gate.admits(&fleet, "a", "2"));
    }
}
