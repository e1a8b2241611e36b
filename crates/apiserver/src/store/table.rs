//! The objects of one resource and its recent history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::{Event, EventKind, Expired};

/// Events kept per resource: two for each object, between these bounds. A watch that falls further behind gets 410
/// and lists again.
const HISTORY: std::ops::RangeInclusive<usize> = 256..=4096;

type Objects = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Value>>>;

pub(super) struct Table {
    objects: Objects,
    ring: VecDeque<Event>,
    /// Revision of the newest event that was dropped: what came after it is still known.
    compacted: u64,
    changed: watch::Sender<u64>,
}

impl Table {
    pub(super) fn new(floor: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            ring: VecDeque::new(),
            compacted: floor,
            changed: watch::Sender::new(floor),
        }
    }

    pub(super) fn load(&mut self, namespace: &str, name: &str, object: Arc<Value>) {
        insert(&mut self.objects, &namespace.into(), &name.into(), object);
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(namespace)?.get(name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.values().map(BTreeMap::len).sum()
    }

    pub(super) fn list(&self, namespace: Option<&str>) -> Vec<Arc<Value>> {
        collect(&self.objects, namespace)
    }

    /// Takes the current state and undoes what came after `revision`, newest first.
    pub(super) fn list_at(
        &self,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Value>>, Expired> {
        self.check(revision)?;
        if self
            .ring
            .back()
            .is_none_or(|last| last.revision <= revision)
        {
            return Ok(self.list(namespace));
        }
        let mut objects = self.objects.clone();
        for event in self.ring.iter().rev() {
            if event.revision <= revision {
                break;
            }
            match &event.previous {
                Some(previous) => {
                    insert(
                        &mut objects,
                        &event.namespace,
                        &event.name,
                        previous.clone(),
                    );
                }
                None => remove(&mut objects, &event.namespace, &event.name),
            }
        }
        Ok(collect(&objects, namespace))
    }

    pub(super) fn record(&mut self, event: Event) {
        match event.kind {
            EventKind::Deleted => remove(&mut self.objects, &event.namespace, &event.name),
            EventKind::Added | EventKind::Modified => insert(
                &mut self.objects,
                &event.namespace,
                &event.name,
                event.object.clone(),
            ),
        }
        let revision = event.revision;
        self.ring.push_back(event);
        let history = (self.len() * 2).clamp(*HISTORY.start(), *HISTORY.end());
        while self.ring.len() > history
            && let Some(dropped) = self.ring.pop_front()
        {
            self.compacted = dropped.revision;
        }
        self.changed.send_replace(revision);
    }

    pub(super) fn check(&self, revision: u64) -> Result<(), Expired> {
        if revision < self.compacted {
            return Err(Expired {
                asked: revision,
                oldest: self.compacted,
            });
        }
        Ok(())
    }

    pub(super) fn events_after(
        &self,
        namespace: Option<&str>,
        cursor: u64,
    ) -> Result<Vec<Event>, Expired> {
        self.check(cursor)?;
        let start = self.ring.partition_point(|event| event.revision <= cursor);
        Ok(self
            .ring
            .range(start..)
            .filter(|event| namespace.is_none_or(|wanted| *event.namespace == *wanted))
            .cloned()
            .collect())
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn insert(objects: &mut Objects, namespace: &Arc<str>, name: &Arc<str>, object: Arc<Value>) {
    objects
        .entry(namespace.clone())
        .or_default()
        .insert(name.clone(), object);
}

fn remove(objects: &mut Objects, namespace: &str, name: &str) {
    if let Some(of_namespace) = objects.get_mut(namespace) {
        of_namespace.remove(name);
        if of_namespace.is_empty() {
            objects.remove(namespace);
        }
    }
}

fn collect(objects: &Objects, namespace: Option<&str>) -> Vec<Arc<Value>> {
    match namespace {
        Some(namespace) => objects
            .get(namespace)
            .map(|found| found.values().cloned().collect())
            .unwrap_or_default(),
        None => objects
            .values()
            .flat_map(|found| found.values().cloned())
            .collect(),
    }
}
