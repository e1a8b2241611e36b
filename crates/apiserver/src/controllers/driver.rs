//! The loop of a cluster: take in what happened, let one controller look at one object, carry out what it wants.
//!
//! Everything runs in one task. It sleeps until an object changes or something on the agenda is due; an idle
//! cluster costs nothing.

use std::cell::Cell;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cache::{Cache, Key};
use super::events::{Recorder, SWEEP};
use super::feed::{Feed, Seen};
use super::plan::{Plan, Write};
use super::queue::Queue;
use super::resource::{EVENTS, PODS};
use super::route::{Change, Controller, Work, route};
use super::world::World;
use super::{Context, accounts, pod};
use crate::auth::TokenIssuer;
use crate::status::ApiError;
use crate::store::{EventKind, GroupResource};
use crate::writer::{DeleteOptions, Scope, random_suffix};

/// After so many steps the other tasks of the thread get their turn.
const STEPS_IN_A_ROW: usize = 32;
/// When a step that failed for no known reason is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// The controllers of one cluster.
pub(crate) struct Driver {
    context: Context,
    feed: Feed,
    cache: Cache,
    queue: Queue<Work>,
    recorder: Recorder,
    addresses: Cell<u32>,
    delay: SignedDuration,
}

impl Driver {
    pub(crate) fn new(context: Context) -> Self {
        let delay = SignedDuration::try_from(context.rollout_delay).unwrap_or(SignedDuration::ZERO);
        Self {
            feed: Feed::new(context.writer.clone()),
            cache: Cache::default(),
            queue: Queue::default(),
            recorder: Recorder::default(),
            addresses: Cell::new(0),
            delay,
            context,
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        self.absorb();
        let used = pod::addresses_in_use(self.cache.all(&PODS).map(|pod| &**pod));
        self.addresses.set(used);
        let mut steps = 0;
        loop {
            self.absorb();
            let now = Timestamp::now();
            if let Some(work) = self.queue.pop(now) {
                self.perform(work, now);
                steps += 1;
                if steps % STEPS_IN_A_ROW == 0 {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            if self.feed.is_holding() {
                continue;
            }
            match self.queue.next_time() {
                Some(time) => {
                    // Rounded up, so that it is really due on waking.
                    let left = time.duration_since(now).max(SignedDuration::ZERO)
                        + SignedDuration::from_millis(1);
                    let left = left.unsigned_abs();
                    // That the time is over is no failure.
                    let _ = tokio::time::timeout(left, self.feed.wait()).await;
                }
                None => self.feed.wait().await,
            }
        }
    }

    /// Brings the cache up to date and puts in line who has to look.
    fn absorb(&mut self) {
        let now = Timestamp::now();
        for seen in self.feed.drain() {
            match seen {
                Seen::Change(resource, event) => {
                    let key = Key {
                        resource,
                        namespace: Arc::clone(&event.namespace),
                        name: Arc::clone(&event.name),
                    };
                    self.take_in(&key, event.kind == EventKind::Deleted, &event.object, now);
                }
                Seen::Only(resource, left) => {
                    let gone: Vec<Key> = self
                        .cache
                        .all(&resource)
                        .map(|object| Key::of(&resource, object))
                        .filter(|key| {
                            !left.contains(&(key.namespace.to_string(), key.name.to_string()))
                        })
                        .collect();
                    for key in gone {
                        if let Some(object) = self.cache.get(&key).cloned() {
                            self.take_in(&key, true, &object, now);
                        }
                    }
                }
            }
        }
    }

    fn take_in(
        &mut self,
        key: &Key,
        deleted: bool,
        object: &Arc<serde_json::Value>,
        now: Timestamp,
    ) {
        let previous = self.cache.get(key).cloned();
        if deleted {
            self.cache.remove(key);
        } else {
            self.cache.put(key, Arc::clone(object), now);
        }
        if key.resource == *EVENTS && !deleted {
            self.queue.arrange_once(Work::expire_events(), now + SWEEP);
        }
        let queue = &mut self.queue;
        let change = Change {
            key,
            object,
            previous: previous.as_ref(),
            deleted,
        };
        route(&self.cache, &change, &mut |work| queue.push(work));
    }

    fn perform(&mut self, work: Work, now: Timestamp) {
        let registry = Arc::clone(self.context.writer.registry());
        let world = World {
            cache: &self.cache,
            now,
            delay: self.delay,
            cluster: &self.context.cluster,
            addresses: &self.addresses,
            suffix: &random_suffix,
            serves: &|group, kind| registry.by_kind(group, kind).is_some(),
        };
        let plan = step(&world, &work, &self.context.tokens, &self.context.authority);
        let mut again = plan.again;
        for write in plan.writes {
            if let Err(error) = self.write(write, now) {
                match error.reason {
                    // The change that was in the way leads back here.
                    "Conflict" | "NotFound" | "AlreadyExists" | "Forbidden" => {}
                    _ => {
                        tracing::debug!(%error, ?work, "a simulated controller was refused");
                        let retry = now + RETRY;
                        again = Some(again.map_or(retry, |time| time.min(retry)));
                    }
                }
            }
        }
        self.queue.arrange(work, again);
    }

    fn write(&mut self, write: Write, now: Timestamp) -> Result<(), ApiError> {
        let writer = &self.context.writer;
        match write {
            Write::Create(resource, object) => writer.create(&resource, object).map(drop),
            Write::Replace(key, object, scope) => {
                writer.update(&key.resource, object, scope).map(drop)
            }
            Write::Status { key, uid, status } => {
                let set = |object: &mut serde_json::Value| {
                    if object["metadata"]["uid"] == uid.as_str() {
                        object["status"] = status;
                    }
                };
                writer
                    .modify(&key.resource, &key.namespace, &key.name, Scope::Status, set)
                    .map(drop)
            }
            Write::Delete {
                key,
                uid,
                propagation,
            } => {
                let options = DeleteOptions {
                    uid: Some(uid),
                    propagation,
                    ..DeleteOptions::default()
                };
                writer
                    .delete(&key.resource, &key.namespace, &key.name, &options)
                    .map(drop)
            }
            Write::Event(note) => {
                self.recorder.record(writer, note, now);
                Ok(())
            }
        }
    }
}

/// Creates an object unless one of that name is there.
pub(crate) fn ensure(context: &Context, resource: &GroupResource, object: serde_json::Value) {
    if let Err(error) = context.writer.create(resource, object)
        && error.reason != "AlreadyExists"
    {
        tracing::error!(%error, cluster = context.cluster, "create what every cluster has");
    }
}

/// What a controller wants for an object.
pub(super) fn step(world: &World<'_>, work: &Work, tokens: &TokenIssuer, authority: &str) -> Plan {
    let key = &work.key;
    match work.controller {
        Controller::Namespace => super::namespace::step(world, key),
        Controller::Accounts => accounts::step(world, key, authority),
        Controller::Token => accounts::token_step(world, key, tokens, authority),
        Controller::Garbage => super::garbage::step(world, key),
        Controller::Pod => pod::step(world, key),
        Controller::ReplicaSet => super::replica_set::step(world, key),
        Controller::Deployment => super::deployment::step(world, key),
        Controller::StatefulSet => super::stateful_set::step(world, key),
        Controller::DaemonSet => super::daemon_set::step(world, key),
        Controller::Job => super::job::step(world, key),
        Controller::CronJob => super::cron_job::step(world, key),
        Controller::Service => super::service::step(world, key),
        Controller::Claim => super::claim::step(world, key),
        Controller::Ingress => super::ingress::step(world, key),
        Controller::DisruptionBudget => super::disruption::step(world, key),
        Controller::Autoscaler => super::autoscaler::step(world, key),
        Controller::Quota => super::quota::step(world, key),
        Controller::RoleAggregation => super::aggregation::step(world, key),
        Controller::EventExpiry => super::events::expire(world),
    }
}
