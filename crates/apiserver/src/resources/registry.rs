//! Which resources one cluster serves at the moment.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::SharedResource;
use crate::store::GroupResource;

/// The resources of one cluster. Built-in ones never change; CRDs come and go.
#[derive(Debug, Default)]
pub struct Registry {
    resources: RwLock<BTreeMap<GroupResource, SharedResource>>,
}

impl Registry {
    /// A registry that serves the given resources.
    pub fn new(resources: impl IntoIterator<Item = SharedResource>) -> Self {
        Self {
            resources: RwLock::new(
                resources
                    .into_iter()
                    .map(|resource| (resource.id.clone(), resource))
                    .collect(),
            ),
        }
    }

    /// Finds a resource.
    pub fn get(&self, id: &GroupResource) -> Option<SharedResource> {
        self.resources
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// Finds the resource that serves a kind of a group.
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<SharedResource> {
        self.resources
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .find(|resource| &*resource.id.group == group && resource.kind == kind)
            .cloned()
    }

    /// All resources, ordered by group and name.
    pub fn all(&self) -> Vec<SharedResource> {
        self.resources
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Serves a resource from now on.
    pub fn add(&self, resource: SharedResource) {
        self.resources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(resource.id.clone(), resource);
    }

    /// Stops serving a resource.
    pub fn remove(&self, id: &GroupResource) {
        self.resources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}
