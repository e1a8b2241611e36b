//! One owner for each cluster: Flux's controllers make way for this engine where it runs in their place, and a cluster
//! that both a fleet and its own Flux objects lay claim to is left alone.

use std::sync::Arc;

use fairway_types::{Kustomization, names};
use kube::ResourceExt;

use super::residents::resident;
use super::{Target, supersede};
use crate::build::finish::Rendered;
use crate::build::spec;
use crate::context::Context;
use crate::home::{HomeId, Key};

impl Context {
    /// In a synced cluster Flux's own controllers are scaled down: this engine is in their place.
    pub(crate) fn stand_in(&self, key: &Key, rendered: Arc<Rendered>) -> Arc<Rendered> {
        let HomeId::Cluster(name) = &key.home else {
            return rendered;
        };
        let mut objects = rendered.objects.clone();
        let superseded = supersede(&mut objects);
        let mut known = self
            .superseded_by
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if superseded.is_empty() {
            known.remove(key);
            return rendered;
        }
        if known.insert(key.clone(), superseded.clone()).as_ref() != Some(&superseded) {
            self.enqueue_cluster(name.clone());
        }
        Arc::new(Rendered {
            objects,
            digest: rendered.digest.clone(),
        })
    }

    /// What [`Self::stand_in`] scaled down in a home.
    pub(crate) fn superseded(&self, home: &HomeId) -> Vec<String> {
        let known = self
            .superseded_by
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut list: Vec<String> = known
            .iter()
            .filter(|(key, _)| key.home == *home)
            .flat_map(|(_, names)| names.clone())
            .collect();
        list.sort();
        list
    }

    /// Another owner of the same path on the same cluster: a Kustomization that lives there, for one that a fleet
    /// points there, and the other way round.
    pub(crate) fn owner_conflict(
        &self,
        object: &Kustomization,
        key: &Key,
        target: &Target,
    ) -> Option<String> {
        let path = spec::path(&object.spec);
        let hint = "hint: take the cluster out of the fleet's selection, or take its own Flux objects and spec.sync away";
        if key.home == HomeId::Hub {
            let (fleet, cluster) = (
                object.labels().get(names::FLEET_NAME)?,
                object.labels().get(names::CLUSTER_NAME)?,
            );
            let id = HomeId::Cluster((key.namespace.clone(), cluster.clone()));
            let resident = match self.homes.get(&id) {
                Some(home) => home
                    .kustomizations
                    .all()
                    .iter()
                    .filter_map(|object| resident(object))
                    .find(|resident| resident.path == path),
                None => target.residents.at(&path),
            }?;
            return Some(format!(
                "cluster '{cluster}' has two owners for path './{path}': FleetKustomization '{}/{fleet}' by this \
                 Kustomization, and Kustomization '{}/{}' that lives in the cluster; nothing is applied\n{hint}",
                key.namespace, resident.namespace, resident.name
            ));
        }
        let HomeId::Cluster((namespace, cluster)) = &key.home else {
            return None;
        };
        if object.spec.kube_config.is_some() {
            return None;
        }
        let hub = self.hub()?;
        let other = hub.kustomizations.all().into_iter().find(|other| {
            other.namespace().as_ref() == Some(namespace)
                && other.labels().get(names::CLUSTER_NAME) == Some(cluster)
                && other.labels().contains_key(names::FLEET_NAME)
                && !other.spec.suspend
                && other.metadata.deletion_timestamp.is_none()
                && spec::path(&other.spec) == path
        })?;
        Some(format!(
            "cluster '{cluster}' has two owners for path './{path}': Cluster '{namespace}/{cluster}' with spec.sync by \
             this Kustomization, and Kustomization '{namespace}/{}' of FleetKustomization '{}' on the hub; nothing is \
             applied\n{hint}",
            other.name_any(),
            other
                .labels()
                .get(names::FLEET_NAME)
                .map_or("", String::as_str),
        ))
    }
}
