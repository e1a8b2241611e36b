//! A cluster for tests: the cache, the routes and the controllers, with a clock that tests turn and writes that land
//! in the cache at once. The rules of the API server are here as far as controllers notice them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cache::{Cache, Key};
use super::driver::step;
use super::events::SWEEP;
use super::object::{finalizers, is_deleting, map_at, name, stamp};
use super::plan::{Note, Write};
use super::queue::Queue;
use super::resource::{EVENTS, NAMESPACES, NODES};
use super::route::{Change, Work, route};
use super::world::World;
use crate::auth::TokenIssuer;
use crate::store::GroupResource;
use crate::writer::{Propagation, Scope};

/// A simulated cluster of its own time.
pub(crate) struct Rig {
    pub(crate) cache: Cache,
    pub(crate) now: Timestamp,
    pub(crate) delay: SignedDuration,
    pub(crate) notes: Vec<Note>,
    queue: Queue<Work>,
    addresses: Cell<u32>,
    serial: Cell<u64>,
    tokens: TokenIssuer,
}

impl Rig {
    /// A cluster with two Nodes and the namespace `default`.
    pub(crate) fn new(delay: SignedDuration) -> Self {
        let mut rig = Self {
            cache: Cache::default(),
            now: "2026-11-22T08:00:00Z".parse().unwrap(),
            delay,
            notes: Vec::new(),
            queue: Queue::default(),
            addresses: Cell::new(0),
            serial: Cell::new(0),
            tokens: TokenIssuer::new(b"key"),
        };
        for node in super::node::objects("test", rig.now) {
            rig.create(&NODES, node);
        }
        rig.create(&NAMESPACES, json!({"kind": "Namespace", "metadata": {"name": "default"}, "spec": {"finalizers": ["kubernetes"]}}));
        rig.run();
        rig
    }

    /// Creates an object; uid, times and a missing namespace are filled in.
    pub(crate) fn create(&mut self, resource: &GroupResource, mut object: Value) -> Key {
        let serial = self.next();
        let cluster_scoped = ["nodes", "namespaces", "persistentvolumes", "clusterroles"];
        let now = stamp(self.now);
        let metadata = map_at(&mut object, "metadata");
        if !metadata.contains_key("namespace") && !cluster_scoped.contains(&&*resource.resource) {
            metadata.insert("namespace".into(), json!("default"));
        }
        metadata.insert("uid".into(), json!(format!("uid-{serial}")));
        metadata.insert("creationTimestamp".into(), now);
        metadata.insert("generation".into(), json!(1));
        let key = Key::of(resource, &object);
        self.put(&key, object);
        key
    }

    /// Changes an object as a user would; the generation counts changes of the spec.
    pub(crate) fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let before = Arc::clone(self.cache.get(key).expect("the edited object exists"));
        let mut object = (*before).clone();
        change(&mut object);
        self.replace(key, &before, object);
    }

    /// Deletes an object as the API server does: at once, or when its finalizers are gone.
    pub(crate) fn delete(&mut self, key: &Key, propagation: Option<Propagation>) {
        let Some(before) = self.cache.get(key).cloned() else {
            return;
        };
        let mut object = (*before).clone();
        let finalizer = match propagation {
            Some(Propagation::Foreground) => Some("foregroundDeletion"),
            Some(Propagation::Orphan) => Some("orphan"),
            _ => None,
        };
        if let Some(finalizer) = finalizer {
            let mut list: Vec<Value> = finalizers(&before).map(|name| json!(name)).collect();
            list.push(json!(finalizer));
            object["metadata"]["finalizers"] = list.into();
        }
        object["metadata"]["deletionTimestamp"] = stamp(self.now);
        self.replace(key, &before, object);
    }

    fn replace(&mut self, key: &Key, before: &Value, mut object: Value) {
        let held = finalizers(&object).next().is_some()
            || object["spec"]["finalizers"]
                .as_array()
                .is_some_and(|list| !list.is_empty());
        if is_deleting(&object) && !held {
            let last = self.cache.remove(key).expect("a deleted object exists");
            self.announce(key, &last, None, true);
            return;
        }
        if object == *before {
            return;
        }
        if object["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"]
                .as_i64()
                .unwrap_or_default()
                + 1;
            object["metadata"]["generation"] = json!(generation);
        }
        self.put(key, object);
    }

    fn put(&mut self, key: &Key, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!(self.next().to_string());
        let previous = self.cache.get(key).cloned();
        let object = Arc::new(object);
        self.cache.put(key, Arc::clone(&object), self.now);
        self.announce(key, &object, previous.as_ref(), false);
    }

    fn announce(
        &mut self,
        key: &Key,
        object: &Arc<Value>,
        previous: Option<&Arc<Value>>,
        deleted: bool,
    ) {
        if key.resource == *EVENTS && !deleted {
            self.queue
                .arrange_once(Work::expire_events(), self.now + SWEEP);
        }
        let queue = &mut self.queue;
        let change = Change {
            key,
            object,
            previous,
            deleted,
        };
        route(&self.cache, &change, &mut |work| queue.push(work));
    }

    fn next(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    /// Lets all controllers work until nothing is due.
    pub(crate) fn run(&mut self) {
        for _ in 0..20_000 {
            let Some(work) = self.queue.pop(self.now) else {
                return;
            };
            let serial = RefCell::new(self.next());
            let world = World {
                cache: &self.cache,
                now: self.now,
                delay: self.delay,
                cluster: "test",
                addresses: &self.addresses,
                suffix: &|| {
                    *serial.borrow_mut() += 100_000;
                    format!("x{}", serial.borrow())
                },
                serves: &|_, kind| kind != "Unknown",
            };
            let plan = step(&world, &work, &self.tokens, "certificate");
            self.queue.arrange(work, plan.again);
            for write in plan.writes {
                self.carry_out(write);
            }
        }
        panic!("the controllers do not come to rest");
    }

    /// Lets the time pass, in steps of what is on the agenda.
    pub(crate) fn pass(&mut self, time: SignedDuration) {
        self.run();
        let end = self.now + time;
        while let Some(next) = self.queue.next_time().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.run();
        }
        self.now = end;
        self.run();
    }

    fn carry_out(&mut self, write: Write) {
        match write {
            Write::Create(resource, object) => {
                if self.cache.get(&Key::of(&resource, &object)).is_none() {
                    self.create(&resource, object);
                }
            }
            Write::Replace(
                key,
                object,
                _scope @ (Scope::Object | Scope::Status | Scope::Binding | Scope::Finalize),
            ) => {
                let Some(before) = self.cache.get(&key).cloned() else {
                    return;
                };
                if before["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"] {
                    self.replace(&key, &before, object);
                }
            }
            Write::Status { key, uid, status } => {
                let Some(before) = self.cache.get(&key).cloned() else {
                    return;
                };
                if before["metadata"]["uid"] == uid.as_str() {
                    let mut object = (*before).clone();
                    object["status"] = status;
                    self.replace(&key, &before, object);
                }
            }
            Write::Delete {
                key,
                uid,
                propagation,
            } => {
                if self
                    .cache
                    .get(&key)
                    .is_some_and(|object| object["metadata"]["uid"] == uid.as_str())
                {
                    self.delete(&key, propagation);
                }
            }
            Write::Event(note) => self.notes.push(note),
        }
    }

    /// An object that must be there.
    pub(crate) fn get(&self, key: &Key) -> &Value {
        self.cache
            .get(key)
            .unwrap_or_else(|| panic!("{}/{} exists", key.namespace, key.name))
    }

    /// Names of the objects of a resource in `default`.
    pub(crate) fn names(&self, resource: &GroupResource) -> Vec<String> {
        self.cache
            .list(resource, "default")
            .map(|object| name(object).to_owned())
            .collect()
    }

    /// The messages of all events so far with this reason.
    pub(crate) fn told(&self, reason: &str) -> Vec<&str> {
        self.notes
            .iter()
            .filter(|note| note.reason == reason)
            .map(|note| note.message.as_str())
            .collect()
    }

    /// `resource/name` of everything in a namespace, for comparison.
    pub(crate) fn content(&self, of: &str) -> Vec<String> {
        self.cache
            .in_namespace(of)
            .iter()
            .map(|key| format!("{}/{}", key.resource.resource, key.name))
            .collect()
    }
}
