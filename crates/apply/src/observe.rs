//! Watches the managed objects of one cluster, so that health and drift are seen as they happen and nothing is polled.
//!
//! ```text
//!   track(owner, inventory) ─▶ units: one watch for each kind, selected by the owner label
//!                                │      forbidden? one for each namespace; still forbidden? asked for in turn
//!                                ▼
//!                              store: version, health, digests of our own fields (never values)
//!                                │
//!                                ├─▶ events: health changed, drifted, gone
//!                                └─▶ Witness: vouches for unchanged objects, says how healthy they are
//! ```

mod interest;
mod store;
mod unit;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fairway_types::{Inventory, ObjectId, kustomization::IgnoreRule};
use serde_json::Value;
use tokio::{
    sync::{Notify, broadcast, watch},
    task::AbortHandle,
};

use crate::{
    connection::Connection,
    drift::Drift,
    health::{Health, Judge},
    mapper::Mapper,
    plan::Owner,
    witness::Witness,
};

use interest::Interests;
pub use store::Seen;
use store::Store;

/// Something happened to a managed object.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectEvent {
    /// The object.
    pub id: ObjectId,
    /// The Kustomization whose inventory it is in.
    pub owner: Owner,
    /// What happened.
    pub change: ObjectChange,
}

/// What happened to a managed object.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectChange {
    /// It is healthier, or less so.
    Health(Health),
    /// Somebody changed what we applied.
    Drifted(Drift),
    /// It is gone, or has lost its owner labels. A Job that had finished comes back at the interval or with a new
    /// revision only; everything else at once.
    Gone {
        /// It was a Job that had finished.
        finished: bool,
    },
}

/// How a kind is observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is known yet.
    Starting,
    /// By a watch: changes are seen at once.
    Watching,
    /// By asking for each object in turn, since watches are forbidden.
    Polling {
        /// What the API server said.
        reason: String,
    },
    /// Not at all at the moment; it is tried again.
    Failing {
        /// What went wrong.
        reason: String,
    },
}

/// What is observed together: a kind, in all namespaces or in one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// The namespace; empty for all.
    pub namespace: String,
}

impl Scope {
    fn covers(&self, id: &ObjectId) -> bool {
        self.group == id.group
            && self.kind == id.kind
            && (self.namespace.is_empty() || self.namespace == id.namespace)
    }

    fn kind(&self) -> (String, String, String) {
        (self.group.clone(), self.version.clone(), self.kind.clone())
    }
}

/// Watches the managed objects of one cluster. Ends its watches when dropped.
pub struct Observer {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    mapper: Arc<Mapper>,
    state: Mutex<State>,
    events: broadcast::Sender<ObjectEvent>,
    changes: watch::Sender<u64>,
    interests: Interests,
    /// Held by the watch that asks whether a cluster that was away is back.
    probing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    tracked: HashMap<Owner, Tracked>,
    owners: HashMap<ObjectId, Owner>,
    /// Owners that have rules of their own.
    judges: HashMap<Owner, Judge>,
    units: HashMap<Scope, Unit>,
    /// What is to be watched, and for how many objects.
    scopes: HashMap<Scope, usize>,
    /// Kinds that may not be watched in all namespaces.
    narrow: HashSet<(String, String, String)>,
    store: Store,
    stopped: bool,
}

struct Tracked {
    ids: Vec<(ObjectId, String)>,
    ignore: Arc<[IgnoreRule]>,
}

struct Unit {
    task: Option<AbortHandle>,
    mode: Mode,
}

/// Events that a slow subscriber may fall behind; it is told when it misses some.
const EVENTS: usize = 4096;

impl Observer {
    /// An observer that watches nothing yet.
    pub fn new(connection: &Connection, mapper: Arc<Mapper>) -> Arc<Self> {
        let inner = Inner {
            connection: connection.clone(),
            mapper,
            state: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
            changes: watch::Sender::new(0),
            interests: Interests::default(),
            probing: Arc::default(),
        };
        Arc::new(Self {
            inner: Arc::new(inner),
        })
    }

    /// Observes what is in an owner's inventory, from now on and instead of what it had before.
    ///
    /// Call it after an apply, before waiting for health and before pruning: what is pruned is then no longer missed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn track(&self, owner: &Owner, inventory: &Inventory, ignore: &[IgnoreRule]) {
        let ids: Vec<_> = inventory
            .entries
            .iter()
            .filter_map(|entry| Some((entry.object().ok()?, entry.v.clone())))
            .collect();
        let mut state = self.inner.lock();
        if let Some(tracked) = state.tracked.get_mut(owner)
            && tracked.ids == ids
        {
            if *tracked.ignore != *ignore {
                tracked.ignore = ignore.into();
            }
            for (id, _) in ids {
                state.owners.entry(id).or_insert_with(|| owner.clone());
            }
            return;
        }
        let before = state.scopes.len();
        // The new ones first: a scope that both have is not given up in between.
        let mut new = state.hold(&ids);
        state.release(owner);
        new |= state.scopes.len() != before;
        for (id, _) in &ids {
            state.owners.insert(id.clone(), owner.clone());
        }
        state.tracked.insert(
            owner.clone(),
            Tracked {
                ids,
                ignore: ignore.into(),
            },
        );
        if new {
            self.inner.replan(&mut state);
        }
    }

    /// Judges the health of an owner's objects by these rules from now on. Call it before an apply.
    pub fn judge(&self, owner: &Owner, judge: Judge) {
        let mut state = self.inner.lock();
        state.judges.insert(owner.clone(), judge);
    }

    /// Stops observing an owner's objects.
    pub fn forget(&self, owner: &Owner) {
        let mut state = self.inner.lock();
        state.judges.remove(owner);
        state.release(owner);
        self.inner.replan(&mut state);
    }

    /// What happens from now on. A subscriber that is told that it lagged looks at everything again.
    pub fn subscribe(&self) -> broadcast::Receiver<ObjectEvent> {
        self.inner.events.subscribe()
    }

    /// Changes whenever anything that is seen may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// How each kind is observed.
    pub fn modes(&self) -> BTreeMap<Scope, Mode> {
        let state = self.inner.lock();
        state
            .units
            .iter()
            .map(|(scope, unit)| (scope.clone(), unit.mode.clone()))
            .collect()
    }

    /// Whether everything that is tracked is being watched.
    pub fn is_synced(&self) -> bool {
        self.inner
            .lock()
            .units
            .values()
            .all(|unit| matches!(unit.mode, Mode::Watching | Mode::Polling { .. }))
    }

    /// Why parts are polled instead of watched; none where all is watched.
    pub fn degraded(&self) -> Option<String> {
        let state = self.inner.lock();
        let reasons: std::collections::BTreeSet<_> = state
            .units
            .iter()
            .filter_map(|(scope, unit)| match &unit.mode {
                Mode::Polling { reason } => Some(format!("{}: {reason}", scope.kind)),
                _ => None,
            })
            .collect();
        (!reasons.is_empty()).then(|| reasons.into_iter().collect::<Vec<_>>().join("; "))
    }

    /// What was last seen of an object.
    pub fn last_seen(&self, id: &ObjectId) -> Option<Seen> {
        self.inner.lock().store.seen(id)
    }

    /// What has drifted of an object, where it has.
    pub fn drift_of(&self, id: &ObjectId) -> Option<Drift> {
        self.inner.lock().store.drift(id)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.stopped = true;
        for unit in state.units.values() {
            if let Some(task) = &unit.task {
                task.abort();
            }
        }
    }
}

impl Witness for Observer {
    fn vouches_for(&self, id: &ObjectId, digest: u64) -> bool {
        let state = self.inner.lock();
        state.is_watched(id) && state.store.is_as_applied(id, digest)
    }

    fn knows_absent(&self, id: &ObjectId) -> bool {
        let state = self.inner.lock();
        state.is_watched(id) && !state.store.has(id)
    }

    fn has_finished(&self, id: &ObjectId, digest: u64) -> bool {
        self.inner.lock().store.has_finished(id, digest)
    }

    fn applying(&self, id: &ObjectId) {
        self.inner.lock().store.set_busy(id, true);
    }

    fn abandoned(&self, id: &ObjectId) {
        self.inner.lock().store.set_busy(id, false);
    }

    fn knows(&self, id: &ObjectId) -> Option<String> {
        let state = self.inner.lock();
        if state.is_watched(id) {
            state.store.untouched_version(id)
        } else {
            None
        }
    }

    fn applied(&self, owner: &Owner, id: &ObjectId, digest: u64, object: &Value) {
        tracing::trace!(%owner, object = id.subject(), "applied");
        let mut state = self.inner.lock();
        let judge = state.judges.get(owner).cloned().unwrap_or_default();
        state.store.applied(id, digest, object, &judge);
        drop(state);
        self.inner.bump_for(id);
    }

    fn health_of(&self, id: &ObjectId, judge: &Judge) -> Option<Health> {
        let state = self.inner.lock();
        if state.is_watched(id) {
            state.store.health(id, judge)
        } else {
            None
        }
    }

    fn interest(&self, ids: &[ObjectId]) -> Arc<Notify> {
        self.inner.interests.add(ids)
    }
}

impl State {
    fn release(&mut self, owner: &Owner) {
        if let Some(tracked) = self.tracked.remove(owner) {
            for (id, version) in tracked.ids {
                let scope = self.scope_of(&id, &version);
                if let Some(count) = self.scopes.get_mut(&scope) {
                    *count -= 1;
                    if *count == 0 {
                        self.scopes.remove(&scope);
                    }
                }
                if self.owners.get(&id) == Some(owner) {
                    self.owners.remove(&id);
                }
            }
        }
    }

    /// Counts objects in their scopes, and says whether one of those is new.
    fn hold(&mut self, ids: &[(ObjectId, String)]) -> bool {
        let before = self.scopes.len();
        for (id, version) in ids {
            let scope = self.scope_of(id, version);
            *self.scopes.entry(scope).or_default() += 1;
        }
        self.scopes.len() != before
    }

    fn scope_of(&self, id: &ObjectId, version: &str) -> Scope {
        let mut scope = Scope {
            group: id.group.clone(),
            version: version.to_owned(),
            kind: id.kind.clone(),
            namespace: String::new(),
        };
        if !self.narrow.is_empty() && self.narrow.contains(&scope.kind()) {
            scope.namespace.clone_from(&id.namespace);
        }
        scope
    }

    fn is_watched(&self, id: &ObjectId) -> bool {
        let scope = |namespace: &str| {
            self.units.iter().any(|(scope, unit)| {
                scope.namespace == namespace && scope.covers(id) && unit.mode == Mode::Watching
            })
        };
        scope("") || scope(&id.namespace)
    }

    /// Counts everything anew: a kind is watched in other places from now on.
    fn recount(&mut self) {
        self.scopes.clear();
        let tracked: Vec<_> = self
            .tracked
            .values()
            .flat_map(|tracked| tracked.ids.clone())
            .collect();
        self.hold(&tracked);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Anything may have changed.
    fn bump(&self) {
        self.interests.all();
        self.changes
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    /// This object has changed.
    fn bump_for(&self, id: &ObjectId) {
        self.interests.one(id);
        self.changes
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Starts the watches that are missing and ends those that nobody needs.
    fn replan(self: &Arc<Self>, state: &mut State) {
        if state.stopped {
            return;
        }
        let State {
            store,
            units,
            scopes: wanted,
            ..
        } = state;
        let mut ended = Vec::new();
        units.retain(|scope, unit| {
            let keep = wanted.contains_key(scope);
            if !keep {
                unit.task.iter().for_each(AbortHandle::abort);
                ended.push(scope.clone());
            }
            keep
        });
        for scope in wanted.keys() {
            units.entry(scope.clone()).or_insert_with_key(|scope| {
                let task =
                    tokio::spawn(unit::run(Arc::downgrade(self), scope.clone())).abort_handle();
                Unit {
                    task: Some(task),
                    mode: Mode::Starting,
                }
            });
        }
        // What was applied and is not tracked yet stays: its owner is about to say so.
        store.retain(|id| {
            !ended.iter().any(|scope| scope.covers(id))
                || units.keys().any(|scope| scope.covers(id))
        });
    }

    fn set_mode(&self, scope: &Scope, mode: Mode) {
        let mut state = self.lock();
        if let Some(unit) = state.units.get_mut(scope)
            && unit.mode != mode
        {
            unit.mode = mode;
            drop(state);
            self.bump();
        }
    }

    /// The kind may not be watched in all namespaces: watch it where objects are. Answers whether that changes anything.
    fn narrow(self: &Arc<Self>, scope: &Scope) -> bool {
        let mut state = self.lock();
        if !scope.namespace.is_empty() || !state.narrow.insert(scope.kind()) {
            return false;
        }
        // Of kinds without namespaces there is nothing narrower.
        state.recount();
        let narrower = !state.scopes.contains_key(scope);
        self.replan(&mut state);
        narrower
    }

    /// The tracked objects of a scope.
    fn ids(&self, scope: &Scope) -> Vec<ObjectId> {
        let state = self.lock();
        let ids = state.tracked.values().flat_map(|tracked| &tracked.ids);
        ids.filter(|(id, _)| scope.covers(id))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// An object was seen in this state.
    fn saw(&self, object: &Value) {
        let Some(id) = ObjectId::of(object) else {
            return;
        };
        let mut state = self.lock();
        let owner = state.owners.get(&id).cloned();
        let ignore = owner
            .as_ref()
            .and_then(|owner| state.tracked.get(owner))
            .map(|tracked| tracked.ignore.clone());
        let judge = owner.as_ref().and_then(|owner| state.judges.get(owner));
        let judge = judge.cloned().unwrap_or_default();
        let ignore = ignore.as_deref().unwrap_or_default();
        let changes = state.store.saw(&id, object, ignore, &judge);
        drop(state);
        self.publish(&id, owner, changes);
    }

    /// An object is gone, or no longer selected. `last` is its last state, where that is known.
    fn lost(&self, id: &ObjectId, last: Option<&Value>) {
        let mut state = self.lock();
        let owner = state.owners.get(id).cloned();
        let change = state.store.lost(id, last);
        drop(state);
        self.publish(id, owner, change.into_iter().collect());
    }

    /// A list of a scope is complete: what it does not have is gone.
    fn listed(&self, scope: &Scope, present: &HashSet<ObjectId>) {
        let lost = self.lock().store.missing(|id| scope.covers(id), present);
        for id in lost {
            self.lost(&id, None);
        }
    }

    fn publish(&self, id: &ObjectId, owner: Option<Owner>, changes: Vec<ObjectChange>) {
        if changes.is_empty() {
            return;
        }
        self.bump_for(id);
        // Objects that carry the label but are in no inventory are nobody's business here.
        let Some(owner) = owner else { return };
        for change in changes {
            // Nobody listening is fine.
            let _ = self.events.send(ObjectEvent {
                id: id.clone(),
                owner: owner.clone(),
                change,
            });
        }
    }
}
