//! What one cluster holds: objects by resource, namespace and name, each change with its own revision.
//!
//! ```text
//!   commit(resource, ns, name, |current| Change) ──▶ table ──▶ ring of recent events ──▶ watches
//!                                        │
//!                                        └────▶ log (only with a data directory)
//! ```
//!
//! A store knows nothing of Kubernetes but `metadata.resourceVersion`, which it writes. The rules of the API
//! (generation, finalizers, immutable metadata) live in [`crate::writer`].

mod log;
mod table;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

pub use log::LogError;
use log::{Log, Record};
use table::Table;
pub use watch::Watch;

/// A resource without its version: what objects are filed under.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GroupResource {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Plural resource name, for example `deployments`.
    pub resource: Arc<str>,
}

impl GroupResource {
    /// Names a resource of a group.
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
        }
    }

    /// Names a resource of the core group.
    pub fn core(resource: &str) -> Self {
        Self::new("", resource)
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// It did not exist before.
    Added,
    /// It existed and was changed.
    Modified,
    /// It is gone; the event's object is its last state.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Event {
    /// Revision of the change; equals the object's `metadata.resourceVersion`.
    pub revision: u64,
    /// What happened.
    pub kind: EventKind,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// The object after the change, or its last state with the revision of the deletion.
    pub object: Arc<Value>,
    /// The object before the change.
    pub previous: Option<Arc<Value>>,
}

/// What a [`Store::commit`] closure wants done.
#[derive(Debug)]
pub enum Change {
    /// Leave the object as it is: no revision is spent and no event is sent.
    Keep,
    /// Create or replace it.
    Put(Value),
    /// Remove it; the value is the last state that watches are told of.
    Remove(Value),
}

/// A list and the revision at which it is true.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Revision of the snapshot.
    pub revision: u64,
    /// Objects, ordered by namespace and name.
    pub items: Vec<Arc<Value>>,
}

/// The asked revision is older than the history that is kept: HTTP 410.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// The revision asked for.
    pub asked: u64,
    /// The oldest revision that can still be served.
    pub oldest: u64,
}

/// The objects of one cluster. Cheap to clone; clones share the objects.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Mutex<State>>,
}

struct State {
    revision: u64,
    tables: HashMap<GroupResource, Table>,
    /// Revision at start: nothing older can be watched.
    floor: u64,
    log: Option<Log>,
}

impl State {
    fn table(&mut self, resource: &GroupResource) -> &mut Table {
        let floor = self.floor;
        self.tables
            .entry(resource.clone())
            .or_insert_with(|| Table::new(floor))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl Store {
    /// An empty store that lasts as long as the process.
    pub fn in_memory() -> Self {
        Self {
            inner: Arc::new(Mutex::new(State {
                revision: 1,
                tables: HashMap::new(),
                floor: 1,
                log: None,
            })),
        }
    }

    /// Opens a store that is kept in a log file, creating it where it is missing. Every acknowledged change
    /// is in the operating system's hands before [`Store::commit`] returns; revisions continue.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let (log, loaded) = Log::open(path)?;
        let revision = loaded.revision.max(1);
        let mut tables: HashMap<GroupResource, Table> = HashMap::new();
        for record in loaded.records {
            if let Some(object) = record.object {
                tables
                    .entry(GroupResource::new(&record.group, &record.resource))
                    .or_insert_with(|| Table::new(revision))
                    .load(&record.namespace, &record.name, Arc::new(object));
            }
        }
        Ok(Self {
            inner: Arc::new(Mutex::new(State {
                revision,
                tables,
                floor: revision,
                log: Some(log),
            })),
        })
    }

    /// A panic in a commit closure cannot leave a half-made change (tables are written after it returned),
    /// so a poisoned lock is taken as it is.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision of the latest change in this cluster.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Reads one object. `namespace` is empty for cluster-scoped ones.
    pub fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.state()
            .tables
            .get(resource)
            .and_then(|table| table.get(namespace, name).cloned())
    }

    /// Lists a resource, in one namespace or (`None`) in all.
    pub fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Listing {
        let state = self.state();
        Listing {
            revision: state.revision,
            items: state
                .tables
                .get(resource)
                .map(|table| table.list(namespace))
                .unwrap_or_default(),
        }
    }

    /// Lists a resource as it was at an earlier revision, as a `continue` token needs it.
    pub fn list_at(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Listing, Expired> {
        let state = self.state();
        let items = match state.tables.get(resource) {
            Some(table) => table.list_at(namespace, revision)?,
            None => Vec::new(),
        };
        Ok(Listing { revision, items })
    }

    /// Every resource that holds at least one object, sorted.
    pub fn resources(&self) -> Vec<GroupResource> {
        let state = self.state();
        let mut found: Vec<_> = state
            .tables
            .iter()
            .filter(|(_, table)| !table.is_empty())
            .map(|(resource, _)| resource.clone())
            .collect();
        found.sort();
        found
    }

    /// Number of objects of a resource.
    pub fn count(&self, resource: &GroupResource) -> usize {
        self.state().tables.get(resource).map_or(0, Table::len)
    }

    /// Changes one object atomically. The closure sees the current state and decides; the store assigns the
    /// revision, writes it to `metadata.resourceVersion`, logs, and wakes the watches. Returns the state after
    /// the change: the new object, the removed one's last state, or for [`Change::Keep`] what was there.
    ///
    /// The closure runs under the cluster's lock: keep it short and do not call the store in it.
    pub fn commit<E>(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        decide: impl FnOnce(Option<&Arc<Value>>) -> Result<Change, E>,
    ) -> Result<Option<Arc<Value>>, E> {
        let mut guard = self.state();
        let state = &mut *guard;
        let current = state.table(resource).get(namespace, name).cloned();
        let change = decide(current.as_ref())?;
        let (kind, mut object) = match change {
            Change::Keep => return Ok(current),
            Change::Put(object) if current.is_some() => (EventKind::Modified, object),
            Change::Put(object) => (EventKind::Added, object),
            Change::Remove(_) if current.is_none() => return Ok(None),
            Change::Remove(object) => (EventKind::Deleted, object),
        };
        state.revision += 1;
        let revision = state.revision;
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.insert("resourceVersion".into(), revision.to_string().into());
        }
        if let Some(log) = &mut state.log {
            log.append(&Record {
                revision,
                group: resource.group.to_string(),
                resource: resource.resource.to_string(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                object: (kind != EventKind::Deleted).then_some(&object),
            });
        }
        let object = Arc::new(object);
        state.table(resource).record(Event {
            revision,
            kind,
            namespace: namespace.into(),
            name: name.into(),
            object: object.clone(),
            previous: current,
        });
        Ok(Some(object))
    }

    /// Follows the changes after `from`. `None` starts now. Fails with [`Expired`] where the history is gone.
    pub fn watch(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        from: Option<u64>,
    ) -> Result<Watch, Expired> {
        let mut guard = self.state();
        let current = guard.revision;
        let table = guard.table(resource);
        let cursor = from.unwrap_or(current);
        table.check(cursor)?;
        Ok(Watch::new(
            self.clone(),
            resource.clone(),
            namespace.map(str::to_owned),
            cursor,
            table.subscribe(),
        ))
    }

    /// Takes a consistent list and a watch that continues exactly after it.
    pub fn list_and_watch(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
    ) -> (Listing, Watch) {
        let mut guard = self.state();
        let revision = guard.revision;
        let table = guard.table(resource);
        let listing = Listing {
            revision,
            items: table.list(namespace),
        };
        let watch = Watch::new(
            self.clone(),
            resource.clone(),
            namespace.map(str::to_owned),
            revision,
            table.subscribe(),
        );
        (listing, watch)
    }

    fn events_after(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        cursor: u64,
    ) -> Result<(Vec<Event>, u64), Expired> {
        let state = self.state();
        let events = match state.tables.get(resource) {
            Some(table) => table.events_after(namespace, cursor)?,
            None => Vec::new(),
        };
        Ok((events, state.revision))
    }

    /// Hands everything that was logged to the disk. A no-op for a store in memory.
    pub fn sync(&self) -> Result<(), LogError> {
        // The handle is cloned under the lock, the slow part runs outside it.
        let file = self.state().log.as_ref().map(Log::handle);
        match file {
            Some(handle) => handle.sync(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::convert::Infallible;

    fn put(store: &Store, name: &str, n: u64) -> Arc<Value> {
        let object = json!({"metadata": {"name": name}, "n": n});
        store
            .commit(&GroupResource::core("configmaps"), "default", name, |_| {
                Ok::<_, Infallible>(Change::Put(object))
            })
            .unwrap()
            .unwrap()
    }

    #[test]
    fn each_change_spends_one_revision_and_keep_spends_none() {
        let store = Store::in_memory();
        let first = put(&store, "a", 1);
        assert_eq!(first["metadata"]["resourceVersion"], "2");
        let same = store
            .commit(&GroupResource::core("configmaps"), "default", "a", |_| {
                Ok::<_, Infallible>(Change::Keep)
            })
            .unwrap()
            .unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        assert_eq!(store.revision(), 2);
    }

    #[test]
    fn lists_can_be_read_as_they_were() {
        let store = Store::in_memory();
        let configmaps = GroupResource::core("configmaps");
        put(&store, "a", 1);
        put(&store, "b", 1);
        let then = store.revision();
        put(&store, "a", 2);
        put(&store, "c", 1);
        store
            .commit(&configmaps, "default", "b", |current| {
                Ok::<_, Infallible>(Change::Remove((**current.unwrap()).clone()))
            })
            .unwrap();
        let old = store.list_at(&configmaps, None, then).unwrap();
        let seen: Vec<_> = old
            .items
            .iter()
            .map(|o| {
                (
                    o["metadata"]["name"].as_str().unwrap(),
                    o["n"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(seen, [("a", 1), ("b", 1)]);
        assert_eq!(store.list(&configmaps, None).items.len(), 2);
    }

    #[tokio::test]
    async fn a_watch_sees_what_came_after_its_revision() {
        let store = Store::in_memory();
        let configmaps = GroupResource::core("configmaps");
        put(&store, "a", 1);
        let from = store.revision();
        put(&store, "a", 2);
        let mut watch = store
            .watch(&configmaps, Some("default"), Some(from))
            .unwrap();
        let batch = watch.next().await.unwrap();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].kind, EventKind::Modified);
        assert_eq!(batch[0].previous.as_ref().unwrap()["n"], 1);
        put(&store, "b", 1);
        assert_eq!(watch.next().await.unwrap()[0].kind, EventKind::Added);
    }

    #[test]
    fn history_is_bounded() {
        let store = Store::in_memory();
        for n in 0..5000 {
            put(&store, "a", n);
        }
        let expired = store
            .watch(&GroupResource::core("configmaps"), None, Some(3))
            .unwrap_err();
        assert_eq!(expired.asked, 3);
        assert!(
            store
                .watch(&GroupResource::core("secrets"), None, Some(3))
                .is_ok(),
            "a quiet resource keeps its whole history"
        );
    }
}
