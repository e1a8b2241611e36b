//! All objects of a cluster as the controllers see them, with the two indexes that they need: dependents by
//! owner, and objects by uid. Objects are shared with the store, not copied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::object::{controller_of, items, name, namespace, uid};
use super::resource::{PODS, REPLICA_SETS};
use crate::store::GroupResource;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: GroupResource,
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(resource: &GroupResource, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.clone(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object of this resource.
    pub(crate) fn of(resource: &GroupResource, object: &Value) -> Self {
        Self::new(resource, namespace(object), name(object))
    }
}

#[derive(Debug)]
struct Entry {
    object: Arc<Value>,
    seen: Timestamp,
}

type Table = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Entry>>;

/// The objects of one cluster at one moment.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    tables: HashMap<GroupResource, Table>,
    by_uid: HashMap<Arc<str>, Key>,
    dependents: HashMap<Arc<str>, BTreeSet<Key>>,
    /// Workload objects that nobody manages, which a controller may adopt.
    unmanaged: BTreeSet<Key>,
}

impl Cache {
    /// Takes an object over; `now` is when it was seen, which counts for objects not seen before.
    pub(crate) fn put(&mut self, key: &Key, object: Arc<Value>, now: Timestamp) {
        let own_uid: Arc<str> = uid(&object).into();
        let previous = self.entry(key);
        let seen = previous
            .filter(|entry| uid(&entry.object) == &*own_uid)
            .map_or(now, |entry| entry.seen);
        if let Some(previous) = previous.map(|entry| Arc::clone(&entry.object)) {
            self.unlink(key, &previous);
        }
        for owner in items(&object["metadata"]["ownerReferences"]) {
            if let Some(owner) = owner["uid"].as_str() {
                self.dependents
                    .entry(owner.into())
                    .or_default()
                    .insert(key.clone());
            }
        }
        self.by_uid.insert(own_uid, key.clone());
        if (key.resource == *PODS || key.resource == *REPLICA_SETS)
            && controller_of(&object).is_none()
        {
            self.unmanaged.insert(key.clone());
        }
        self.tables
            .entry(key.resource.clone())
            .or_default()
            .entry(Arc::clone(&key.namespace))
            .or_default()
            .insert(Arc::clone(&key.name), Entry { object, seen });
    }

    /// Forgets an object and returns what it was.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let table = self.tables.get_mut(&key.resource)?;
        let of_namespace = table.get_mut(&key.namespace)?;
        let entry = of_namespace.remove(&key.name)?;
        if of_namespace.is_empty() {
            table.remove(&key.namespace);
        }
        self.unlink(key, &entry.object);
        Some(entry.object)
    }

    fn unlink(&mut self, key: &Key, object: &Value) {
        let own_uid = uid(object);
        if self.by_uid.get(own_uid) == Some(key) {
            self.by_uid.remove(own_uid);
        }
        self.unmanaged.remove(key);
        for owner in items(&object["metadata"]["ownerReferences"]) {
            let Some(owner) = owner["uid"].as_str() else {
                continue;
            };
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    fn entry(&self, key: &Key) -> Option<&Entry> {
        self.tables
            .get(&key.resource)?
            .get(&key.namespace)?
            .get(&key.name)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.entry(key).map(|entry| &entry.object)
    }

    /// Finds an object by its parts.
    pub(crate) fn find(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Option<&Arc<Value>> {
        self.tables
            .get(resource)?
            .get(namespace)?
            .get(name)
            .map(|entry| &entry.object)
    }

    /// When the object was first seen, to the millisecond: object times have whole seconds only.
    pub(crate) fn seen(&self, key: &Key) -> Option<Timestamp> {
        self.entry(key).map(|entry| entry.seen)
    }

    /// All objects of a resource in a namespace (empty for cluster-scoped resources), by name.
    pub(crate) fn list(
        &self,
        resource: &GroupResource,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<Value>> {
        self.tables
            .get(resource)
            .and_then(|table| table.get(namespace))
            .into_iter()
            .flat_map(|objects| objects.values().map(|entry| &entry.object))
    }

    /// All objects of a resource, in all namespaces.
    pub(crate) fn all(&self, resource: &GroupResource) -> impl Iterator<Item = &Arc<Value>> {
        self.tables.get(resource).into_iter().flat_map(|table| {
            table
                .values()
                .flat_map(|objects| objects.values().map(|entry| &entry.object))
        })
    }

    /// The keys of everything in a namespace, ordered by resource and name.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Key> {
        let mut keys: Vec<Key> = self
            .tables
            .iter()
            .filter_map(|(resource, table)| Some((resource, table.get_key_value(namespace)?)))
            .flat_map(|(resource, (namespace, objects))| {
                objects.keys().map(|name| Key {
                    resource: resource.clone(),
                    namespace: Arc::clone(namespace),
                    name: Arc::clone(name),
                })
            })
            .collect();
        keys.sort();
        keys
    }

    /// The object with this uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.by_uid.get(uid)
    }

    /// Everything that names this uid in its owner references.
    pub(crate) fn dependents(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// The Pods or ReplicaSets of a namespace that nobody manages.
    pub(crate) fn unmanaged(
        &self,
        resource: &GroupResource,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<Value>> {
        self.unmanaged
            .iter()
            .filter(move |key| key.resource == *resource && &*key.namespace == namespace)
            .filter_map(|key| self.get(key))
    }

    /// The objects of a resource that `owner` manages.
    pub(crate) fn controlled<'a>(
        &'a self,
        resource: &'a GroupResource,
        owner: &'a Value,
    ) -> impl Iterator<Item = &'a Arc<Value>> {
        self.dependents(uid(owner))
            .filter(move |key| key.resource == *resource)
            .filter_map(|key| self.get(key))
            .filter(move |object| super::object::is_controlled_by(object, owner))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controllers::resource::PODS;

    fn pod(uid: &str, owner: Option<&str>) -> Arc<Value> {
        let owners: Vec<Value> = owner
            .iter()
            .map(|owner| json!({"uid": owner, "controller": true}))
            .collect();
        Arc::new(
            json!({"metadata": {"name": "p", "namespace": "a", "uid": uid, "ownerReferences": owners}}),
        )
    }

    #[test]
    fn indexes_follow_the_objects() {
        let mut cache = Cache::default();
        let key = Key::new(&PODS, "a", "p");
        cache.put(&key, pod("1", Some("o")), Timestamp::UNIX_EPOCH);
        assert_eq!(cache.dependents("o").count(), 1);
        assert_eq!(cache.by_uid("1"), Some(&key));
        cache.put(&key, pod("1", None), Timestamp::MAX);
        assert_eq!(cache.dependents("o").count(), 0);
        assert_eq!(
            cache.seen(&key),
            Some(Timestamp::UNIX_EPOCH),
            "the same object was seen before"
        );
        cache.put(&key, pod("2", None), Timestamp::MAX);
        assert_eq!(
            cache.seen(&key),
            Some(Timestamp::MAX),
            "another object of that name is new"
        );
        assert_eq!(cache.by_uid("1"), None);
        assert!(cache.remove(&key).is_some());
        assert_eq!(cache.by_uid("2"), None);
        assert!(cache.in_namespace("a").is_empty());
    }
}
