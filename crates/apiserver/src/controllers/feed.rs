//! What happened in a cluster, in the order in which it happened, over all of its resources.
//!
//! Each resource has a history of its own. Taken one after the other they could show a dependent before its owner,
//! and the garbage collector would take the owner for gone. So nothing is handed out that is newer than the
//! revision at which the round began.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, select_all};
use serde_json::Value;

use super::resource::DEFINITIONS;
use crate::resources::Served;
use crate::store::{Event, EventKind, Expired, GroupResource, Watch};
use crate::writer::{Writer, names};

/// In this time a new kind is served after its definition was stored.
const REGISTRATION: Duration = Duration::from_millis(250);

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An object changed.
    Change(GroupResource, Event),
    /// The history was too short: objects of this resource that are not in the list are gone.
    Only(GroupResource, HashSet<(String, String)>),
}

/// Follows all resources of a cluster.
pub(crate) struct Feed {
    writer: Writer,
    watches: Vec<(GroupResource, Watch)>,
    known: HashSet<GroupResource>,
    /// What the cluster served when it was last looked at.
    served: Option<Served>,
    /// A definition changed: what it defines may be served a moment later.
    expects_kinds: bool,
    /// The revision of the last round.
    drained: u64,
    /// Seen, but newer than the last round.
    held: Vec<(GroupResource, Event)>,
}

impl Feed {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer,
            watches: Vec::new(),
            known: HashSet::new(),
            served: None,
            drained: 0,
            expects_kinds: false,
            held: Vec::new(),
        }
    }

    /// Everything that happened since the last call; at first, everything that is there.
    pub(crate) fn drain(&mut self) -> Vec<Seen> {
        let until = self.writer.store().revision();
        let served = self.writer.registry().served();
        let same = self
            .served
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &served));
        if until == self.drained && self.held.is_empty() && same {
            return Vec::new();
        }
        self.drained = until;
        let mut seen = Vec::new();
        let mut expired = Vec::new();
        for (at, (resource, watch)) in self.watches.iter_mut().enumerate() {
            match watch.ready() {
                Ok(events) => self
                    .held
                    .extend(events.into_iter().map(|event| (resource.clone(), event))),
                Err(Expired { .. }) => expired.push(at),
            }
        }
        for at in expired {
            let resource = self.watches[at].0.clone();
            let (items, watch) = self.start(&resource);
            self.watches[at].1 = watch;
            let left = items
                .iter()
                .map(|item| names(item))
                .map(|(ns, name)| (ns.to_owned(), name.to_owned()));
            seen.push(Seen::Only(resource.clone(), left.collect()));
            self.hold_all(&resource, items);
        }
        if !same {
            self.follow_new(served);
        }
        self.expects_kinds |= self
            .held
            .iter()
            .any(|(resource, _)| *resource == *DEFINITIONS);
        self.held.sort_by_key(|(_, event)| event.revision);
        let ripe = self
            .held
            .partition_point(|(_, event)| event.revision <= until);
        seen.extend(
            self.held
                .drain(..ripe)
                .map(|(resource, event)| Seen::Change(resource, event)),
        );
        seen
    }

    /// Whether something was seen that [`Feed::drain`] has not handed out yet.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Waits until something happens.
    pub(crate) async fn wait(&mut self) {
        if self.watches.is_empty() {
            return std::future::pending().await;
        }
        let waiting: Vec<BoxFuture<'_, _>> = self
            .watches
            .iter_mut()
            .map(|(_, watch)| watch.next().boxed())
            .collect();
        let happened = select_all(waiting);
        let (outcome, at) = if self.expects_kinds {
            let outcome = tokio::time::timeout(REGISTRATION, happened).await;
            self.expects_kinds = false;
            match outcome {
                Ok((outcome, at, _)) => (outcome, at),
                Err(_) => return,
            }
        } else {
            let (outcome, at, _) = happened.await;
            (outcome, at)
        };
        // An expired watch is replaced by the next drain, which finds it expired again.
        if let Ok(events) = outcome {
            let resource = self.watches[at].0.clone();
            self.held
                .extend(events.into_iter().map(|event| (resource.clone(), event)));
        }
    }

    fn follow_new(&mut self, served: Served) {
        for resource in served.keys() {
            if self.known.insert(resource.clone()) {
                let (items, watch) = self.start(resource);
                self.watches.push((resource.clone(), watch));
                self.hold_all(resource, items);
            }
        }
        self.served = Some(served);
    }

    fn start(&self, resource: &GroupResource) -> (Vec<Arc<Value>>, Watch) {
        let (listing, watch) = self.writer.store().list_and_watch(resource, None);
        (listing.items, watch)
    }

    fn hold_all(&mut self, resource: &GroupResource, items: Vec<Arc<Value>>) {
        for object in items {
            let (namespace, name) = names(&object);
            let revision = object["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|text| text.parse().ok());
            let event = Event {
                revision: revision.unwrap_or_default(),
                kind: EventKind::Added,
                namespace: namespace.into(),
                name: name.into(),
                object: Arc::clone(&object),
                previous: None,
            };
            self.held.push((resource.clone(), event));
        }
    }
}
