//! A live view of the hub's objects: one watch a kind, no polling.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::Client;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::view::Snapshot;
use crate::commands::Kind;

/// The hub's objects, kept up to date in the background until this is dropped.
pub(crate) struct LiveView {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

type Objects = BTreeMap<&'static str, BTreeMap<String, Value>>;

impl LiveView {
    /// Starts watching.
    pub(crate) fn start(client: &Client) -> Self {
        let objects: Arc<Mutex<Objects>> = Arc::default();
        let (sender, changed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for kind in Kind::ALL {
            tasks.spawn(follow(
                kind,
                client.clone(),
                Arc::clone(&objects),
                sender.clone(),
            ));
        }
        Self {
            objects,
            changed,
            _tasks: tasks,
        }
    }

    /// The objects as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |kind: Kind| {
            objects
                .get(kind.name())
                .map(|all| all.values().cloned().collect())
                .unwrap_or_default()
        };
        Snapshot {
            clusters: of(Kind::Cluster),
            fleets: of(Kind::FleetKustomization),
            kustomizations: of(Kind::Kustomization),
            sources: of(Kind::GitRepository),
        }
    }

    /// Waits until `is_so` holds; `None` when the time is over first.
    pub(crate) async fn until<T>(
        &mut self,
        timeout: Duration,
        mut is_so: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + timeout;
        loop {
            self.changed.mark_unchanged();
            if let Some(found) = is_so(&self.snapshot()) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            // A change within the time, or its end: the loop looks again either way. A closed channel can't happen
            // while the watches run; waiting a moment keeps even that from spinning.
            if let Ok(Err(_)) = tokio::time::timeout(left, self.changed.changed()).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn follow(
    kind: Kind,
    client: Client,
    objects: Arc<Mutex<Objects>>,
    changed: watch::Sender<u64>,
) {
    let stream =
        watcher::watcher(kind.api(&client, None), watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut initial = BTreeMap::new();
    while let Some(event) = stream.next().await {
        let mut held = objects.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.entry(kind.name()).or_default();
        match event {
            Ok(Event::Init) => initial.clear(),
            Ok(Event::InitApply(object)) => {
                initial.insert(key(&object), value(&object));
            }
            Ok(Event::InitDone) => *known = std::mem::take(&mut initial),
            Ok(Event::Apply(object)) => {
                known.insert(key(&object), value(&object));
            }
            Ok(Event::Delete(object)) => {
                known.remove(&key(&object));
            }
            Err(error) => tracing::debug!(kind = kind.name(), %error, "watch interrupted"),
        }
        drop(held);
        changed.send_modify(|count| *count += 1);
    }
}

fn key(object: &DynamicObject) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
