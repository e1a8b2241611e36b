//! The objects of one kind of one cluster, as last seen or last written.
//!
//! A watch feeds it, and so does every answer to our own writes: a reconciler that has just patched a status must not
//! plan from what the watch said before. Of two versions of an object the newer `resourceVersion` stays. Managed fields are
//! left out: they are half of the bytes, and nobody here asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::StreamExt;
use kube::api::Api;
use kube::{Resource, ResourceExt};
use kube_runtime::watcher;
use kube_runtime::{WatchStreamExt, watcher::Event};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Namespace and name.
pub type Name = (String, String);

/// What changed.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// The object is new or has changed.
    Set {
        /// What was known of it.
        old: Option<Arc<K>>,
        /// What it is now.
        new: Arc<K>,
    },
    /// The object is gone.
    Gone(Arc<K>),
}

/// See the module.
#[derive(Debug)]
pub struct Objects<K> {
    map: RwLock<BTreeMap<Name, Arc<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            map: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }
}

/// The name under which an object is kept.
pub fn name_of<K: Resource>(object: &K) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// `resourceVersion`s of one kind are numbers that grow (so the API says since 1.35). Where one is not, the new wins.
fn is_newer<K: Resource>(new: &K, old: &K) -> bool {
    if new.uid() != old.uid() {
        return true;
    }
    let version = |object: &K| {
        object
            .resource_version()
            .and_then(|version| version.parse::<u64>().ok())
    };
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new > old,
        _ => true,
    }
}

impl<K: Resource> Objects<K> {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Arc<K>>> {
        self.map
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Name, Arc<K>>> {
        self.map
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The object of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read()
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All objects, in the order of their names.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Takes what a watch said. Nothing where a newer version is known already.
    pub fn observed(&self, mut object: K) -> Option<Change<K>> {
        object.meta_mut().managed_fields = None;
        let name = name_of(&object);
        let mut map = self.write();
        let old = map.get(&name).cloned();
        if old.as_deref().is_some_and(|old| !is_newer(&object, old)) {
            return None;
        }
        let new = Arc::new(object);
        map.insert(name, new.clone());
        Some(Change::Set { old, new })
    }

    /// Takes the API server's answer to a write of ours, unless the object has gone meanwhile. The answer may hold
    /// changes of others too, which the watch will not bring again: they are in the answer.
    pub fn wrote(&self, mut object: K) -> (Arc<K>, Option<Change<K>>) {
        object.meta_mut().managed_fields = None;
        let new = Arc::new(object);
        let mut map = self.write();
        let change = match map.get_mut(&name_of(&*new)) {
            Some(known) if known.uid() == new.uid() && is_newer(&*new, known) => {
                let old = std::mem::replace(known, new.clone());
                Some(Change::Set {
                    old: Some(old),
                    new: new.clone(),
                })
            }
            _ => None,
        };
        (new, change)
    }

    /// Takes away an object that is gone.
    pub fn gone(&self, object: &K) -> Option<Change<K>> {
        let name = name_of(object);
        let mut map = self.write();
        if map
            .get(&name)
            .is_some_and(|known| known.uid() != object.uid())
        {
            return None;
        }
        map.remove(&name).map(Change::Gone)
    }

    /// Takes away what a complete list did not have.
    fn keep_only(&self, names: &BTreeSet<Name>) -> Vec<Change<K>> {
        let mut map = self.write();
        let gone: Vec<Name> = map
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        gone.iter()
            .filter_map(|name| map.remove(name))
            .map(Change::Gone)
            .collect()
    }

    /// Whether a complete list has been seen.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until a complete list has been seen.
    pub async fn synced(&self) {
        // The sender lives in self, so this cannot fail while we are borrowed.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }
}

/// Keeps `objects` equal to what the API server has until `stop` is cancelled; `on` hears of each change.
pub async fn follow<K, F>(
    api: Api<K>,
    config: watcher::Config,
    objects: Arc<Objects<K>>,
    stop: CancellationToken,
    on: F,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    F: Fn(Change<K>),
{
    let mut listed: BTreeSet<Name> = BTreeSet::new();
    let mut failing = false;
    let mut stream = Box::pin(watcher::watcher(api, config).default_backoff());
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = stop.cancelled() => return,
        };
        let Some(event) = event else { return };
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // Once an outage, not once a try.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "watch failed, trying again");
                }
                continue;
            }
        };
        failing = false;
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                listed.insert(name_of(&object));
                objects.observed(object).into_iter().for_each(&on);
            }
            Event::InitDone => {
                objects.keep_only(&listed).into_iter().for_each(&on);
                listed.clear();
                objects.synced.send_replace(true);
            }
            Event::Apply(object) => objects.observed(object).into_iter().for_each(&on),
            Event::Delete(object) => objects.gone(&object).into_iter().for_each(&on),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(version: &str, uid: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a".into());
        object.metadata.namespace = Some("ns".into());
        object.metadata.resource_version = Some(version.into());
        object.metadata.uid = Some(uid.into());
        object
    }

    fn version(objects: &Objects<ConfigMap>) -> Option<String> {
        objects
            .get("ns", "a")
            .and_then(|object| object.resource_version())
    }

    #[test]
    fn the_newer_version_stays_whoever_brought_it() {
        let objects = Objects::default();
        assert!(matches!(
            objects.observed(object("9", "u")),
            Some(Change::Set { old: None, .. })
        ));
        objects.wrote(object("11", "u"));
        assert!(objects.observed(object("10", "u")).is_none());
        assert!(objects.observed(object("11", "u")).is_none());
        assert_eq!(version(&objects).as_deref(), Some("11"));
        assert!(objects.observed(object("12", "u")).is_some());
    }

    #[test]
    fn a_write_does_not_bring_back_what_has_gone() {
        let objects = Objects::default();
        objects.observed(object("9", "u"));
        assert!(matches!(
            objects.gone(&object("9", "u")),
            Some(Change::Gone(_))
        ));
        objects.wrote(object("10", "u"));
        assert_eq!(version(&objects), None);
        objects.observed(object("20", "v"));
        assert!(
            objects.gone(&object("9", "u")).is_none(),
            "an older object of that name went"
        );
        assert_eq!(version(&objects).as_deref(), Some("20"));
    }
}
