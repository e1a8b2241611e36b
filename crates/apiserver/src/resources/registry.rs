//! Which resources one cluster serves at the moment.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::SharedResource;
use crate::store::GroupResource;

/// A snapshot of all resources, by group and name.
pub type Served = Arc<BTreeMap<GroupResource, SharedResource>>;

/// The resources of one cluster. Built-in ones never change; CRDs come and go.
#[derive(Debug, Default)]
pub struct Registry {
    served: RwLock<Served>,
}

impl Registry {
    /// A registry that serves the given resources.
    pub fn new(resources: impl IntoIterator<Item = SharedResource>) -> Self {
        let served: BTreeMap<_, _> = resources
            .into_iter()
            .map(|resource| (resource.id.clone(), resource))
            .collect();
        Self {
            served: RwLock::new(Arc::new(served)),
        }
    }

    /// What is served now.
    pub fn served(&self) -> Served {
        self.served
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Finds a resource.
    pub fn get(&self, id: &GroupResource) -> Option<SharedResource> {
        self.served().get(id).cloned()
    }

    /// Finds the resource that serves a kind of a group.
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<SharedResource> {
        self.served()
            .values()
            .find(|resource| &*resource.id.group == group && resource.kind == kind)
            .cloned()
    }

    /// All resources, ordered by group and name.
    pub fn all(&self) -> Vec<SharedResource> {
        self.served().values().cloned().collect()
    }

    /// Serves a resource from now on.
    pub fn add(&self, resource: SharedResource) {
        self.change(|served| {
            served.insert(resource.id.clone(), resource);
        });
    }

    /// Stops serving a resource.
    pub fn remove(&self, id: &GroupResource) {
        self.change(|served| {
            served.remove(id);
        });
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<GroupResource, SharedResource>)) {
        let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
        edit(Arc::make_mut(&mut served));
    }
}
