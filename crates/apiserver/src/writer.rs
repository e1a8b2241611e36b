//! The one way to change objects. Requests and the simulated controllers both go through it, so that uids,
//! generations, finalizers, deletion timestamps and no-op writes follow the same rules (those of
//! `k8s.io/apiserver/pkg/registry/rest`) wherever a change comes from.

mod deletion;
mod generated;
mod meta;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::defaults;
use crate::resources::{Registry, Resource, SharedResource};
use crate::status::ApiError;
use crate::store::{Change, GroupResource, Store};
pub(crate) use deletion::plan_delete;
pub(crate) use generated::random;
pub use generated::{in_seconds, new_uid, random_suffix};
pub(crate) use meta::metadata;
pub use meta::{api_time, is_deleting, names};
use rules::outcome;
pub(crate) use rules::{prepare_create, prepare_update};

/// Which part of an object a write is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The object itself; `status` is left alone where it is a subresource.
    Object,
    /// The `status` subresource: nothing else changes.
    Status,
    /// A pod gets its Node: spec and status at once, and no new generation.
    Binding,
    /// The `finalize` subresource of a namespace: `spec.finalizers` only.
    Finalize,
}

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// They lose their owner reference and stay.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Only if the object has this uid.
    pub uid: Option<String>,
    /// Only if the object is at this revision.
    pub resource_version: Option<String>,
    /// Dependents; background where not given.
    pub propagation: Option<Propagation>,
    /// Let a pod end by itself, within the given seconds or what its spec grants. `None` is at once.
    pub grace: Option<Option<i64>>,
}

/// What a deletion came to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Value>),
    /// The object waits for its finalizers.
    Waiting(Arc<Value>),
}

/// Changes the objects of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    store: Store,
    registry: Arc<Registry>,
    /// Whether pods get the account of their namespace: where somebody makes these accounts.
    pub(crate) accounts: bool,
}

impl Writer {
    /// A writer for a store whose resources are those of the registry.
    pub fn new(store: Store, registry: Arc<Registry>) -> Self {
        Self {
            store,
            registry,
            accounts: true,
        }
    }

    /// The same for a cluster without controllers, in which nobody makes the accounts that pods run as.
    #[must_use]
    pub fn without_accounts(self) -> Self {
        Self {
            accounts: false,
            ..self
        }
    }

    /// The store behind it, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The resources of the cluster.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    fn resource(&self, id: &GroupResource) -> Result<SharedResource, ApiError> {
        self.registry.get(id).ok_or_else(ApiError::no_such_path)
    }

    /// Creates an object. Name (or `generateName`) and namespace are taken from its metadata; defaults are filled in.
    pub fn create(&self, id: &GroupResource, object: Value) -> Result<Arc<Value>, ApiError> {
        let resource = self.resource(id)?;
        let mut object = prepare_create(&resource, object);
        defaults::allocate(&resource, &mut object, self.accounts);
        self.insert(&resource, object)
    }

    /// Stores an object that [`prepare_create`] made ready.
    pub(crate) fn insert(
        &self,
        resource: &Resource,
        object: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(&object);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.check_namespace(resource, &namespace, &name)?;
        let created = self
            .store
            .commit(&resource.id, &namespace, &name, |current| {
                if let Some(current) = current {
                    return Err(ApiError::taken(&resource.id, &name, is_deleting(current)));
                }
                Ok::<_, ApiError>(Change::Put(object))
            })?;
        created.ok_or_else(|| ApiError::internal("a created object is missing"))
    }

    /// Fails unless objects can be created in the namespace: it must exist and not be on its way out.
    pub(crate) fn check_namespace(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        if !resource.namespaced {
            return Ok(());
        }
        let namespaces = GroupResource::core("namespaces");
        let Some(found) = self.store.get(&namespaces, "", namespace) else {
            return Err(ApiError::not_found(&namespaces, namespace));
        };
        if is_deleting(&found) {
            let mut error = ApiError::forbidden(
                &resource.id,
                name,
                &format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                ),
            );
            error.details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(error);
        }
        Ok(())
    }

    /// Replaces an object. A `metadata.resourceVersion` in it is a precondition.
    pub fn update(
        &self,
        id: &GroupResource,
        object: Value,
        scope: Scope,
    ) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(&object);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let expected = object["metadata"]["resourceVersion"]
            .as_str()
            .filter(|rv| !rv.is_empty())
            .map(str::to_owned);
        self.change(id, &namespace, &name, scope, |current| {
            if expected
                .as_deref()
                .is_some_and(|rv| current["metadata"]["resourceVersion"] != rv)
            {
                return Err(ApiError::modified(id, &name));
            }
            Ok(object)
        })
    }

    /// Changes an object in place, atomically: there is no conflict to retry. A closure that changes nothing
    /// writes nothing. Runs under the cluster's lock: keep it short and do not touch the store in it.
    pub fn modify(
        &self,
        id: &GroupResource,
        namespace: &str,
        name: &str,
        scope: Scope,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, ApiError> {
        self.change(id, namespace, name, scope, |current| {
            let mut object = current.clone();
            edit(&mut object);
            Ok(object)
        })
    }

    fn change(
        &self,
        id: &GroupResource,
        namespace: &str,
        name: &str,
        scope: Scope,
        make: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let resource = self.resource(id)?;
        let changed = self.store.commit(id, namespace, name, |current| {
            let current = current.ok_or_else(|| ApiError::not_found(id, name))?;
            let object = make(current)?;
            let mut object = prepare_update(&resource, current, object, scope)?;
            if scope == Scope::Object {
                defaults::settle(&resource, current, &mut object);
                defaults::allocate(&resource, &mut object, self.accounts);
            }
            Ok::<_, ApiError>(outcome(current, object))
        })?;
        changed.ok_or_else(|| ApiError::not_found(id, name))
    }

    /// Stores what [`prepare_update`] made of `base`, unless the object changed since: then `None`.
    pub(crate) fn replace(
        &self,
        resource: &Resource,
        base: &Arc<Value>,
        object: Value,
    ) -> Result<Option<Arc<Value>>, ApiError> {
        let (namespace, name) = names(base);
        let mut raced = false;
        let changed = self
            .store
            .commit(&resource.id, namespace, name, |current| {
                let current = current.ok_or_else(|| ApiError::not_found(&resource.id, name))?;
                if !Arc::ptr_eq(current, base) {
                    raced = true;
                    return Ok(Change::Keep);
                }
                Ok::<_, ApiError>(outcome(current, object))
            })?;
        Ok(changed.filter(|_| !raced))
    }

    /// Deletes an object, or marks it as being deleted where finalizers hold it.
    pub fn delete(
        &self,
        id: &GroupResource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let mut gone = false;
        let object = self.store.commit(id, namespace, name, |current| {
            let current = current.ok_or_else(|| ApiError::not_found(id, name))?;
            let change = plan_delete(id, current, options, Timestamp::now())?;
            gone = matches!(change, Change::Remove(_));
            Ok::<_, ApiError>(change)
        })?;
        let object = object.ok_or_else(|| ApiError::not_found(id, name))?;
        Ok(if gone {
            Deleted::Gone(object)
        } else {
            Deleted::Waiting(object)
        })
    }
}
