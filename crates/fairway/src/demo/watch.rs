//! A live view of the clusters' objects: one watch a kind and cluster, no polling.

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

use super::MANAGEMENT;
use super::view::{Held, Snapshot};
use crate::commands::Kind;

/// The objects, kept up to date in the background until this is dropped.
pub(crate) struct LiveView {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Receiver<u64>,
    remotes: Remotes,
    _tasks: JoinSet<()>,
}

/// By cluster and kind, then by namespace and name.
type Objects = BTreeMap<(String, &'static str), BTreeMap<String, Value>>;

/// See [`Snapshot::remotes`].
type Remotes = BTreeMap<(String, String, String), String>;

impl LiveView {
    /// Starts watching a hub.
    pub(crate) fn start(hub: &Client) -> Self {
        Self::start_all(hub, Vec::new(), Remotes::new())
    }

    /// Starts watching a hub and the clusters in which Kustomizations live too.
    pub(crate) fn start_all(hub: &Client, synced: Vec<(String, Client)>, remotes: Remotes) -> Self {
        let objects: Arc<Mutex<Objects>> = Arc::default();
        let (sender, changed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let mut spawn = |home: &str, kind, client: &Client| {
            let (home, client) = (home.to_owned(), client.clone());
            tasks.spawn(follow(
                home,
                kind,
                client,
                Arc::clone(&objects),
                sender.clone(),
            ));
        };
        for kind in Kind::LOOP {
            spawn(MANAGEMENT, kind, hub);
        }
        for (name, client) in &synced {
            for kind in [Kind::GitRepository, Kind::Kustomization] {
                spawn(name, kind, client);
            }
        }
        Self {
            objects,
            changed,
            remotes,
            _tasks: tasks,
        }
    }

    /// The objects as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |kind: Kind| {
            objects
                .iter()
                .filter(|((_, name), _)| *name == kind.name())
                .flat_map(|((home, _), all)| {
                    all.values().map(move |one| Held::new(home, one.clone()))
                })
                .collect()
        };
        Snapshot {
            clusters: of(Kind::Cluster),
            fleets: of(Kind::FleetKustomization),
            kustomizations: of(Kind::Kustomization),
            sources: of(Kind::GitRepository),
            remotes: self.remotes.clone(),
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
    home: String,
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
        let known = held.entry((home.clone(), kind.name())).or_default();
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
