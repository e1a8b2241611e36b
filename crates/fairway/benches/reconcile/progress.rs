//! Follows the Kustomizations by a watch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use fairway_apply::Resource;
use fairway_apply::api::WatchEvent;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::load::NAMESPACE;

/// What a watch last said of each Kustomization.
pub(crate) struct Progress {
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    ready_at: Option<(i64, String)>,
    message: String,
}

/// How a phase went.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// How many got there.
    pub(crate) count: usize,
    /// When the last of them did, from the start of the phase.
    pub(crate) took: Duration,
    /// What one of the others says.
    pub(crate) complaint: Option<String>,
}

impl Progress {
    pub(crate) async fn follow(api: &Api) -> Result<Self> {
        let resource = Resource {
            group: "kustomize.toolkit.fluxcd.io".into(),
            version: "v1".into(),
            kind: "Kustomization".into(),
            plural: "kustomizations".into(),
            namespaced: true,
        };
        let seen: Arc<Mutex<HashMap<String, Seen>>> = Arc::default();
        let session = api.connection.session();
        let mut version = session
            .list(&resource, NAMESPACE, "")
            .await?
            .resource_version;
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let events = session
                    .watch(&resource, NAMESPACE, "", &version, 3600)
                    .await;
                let Ok(events) = events else { return };
                let mut events = std::pin::pin!(events);
                while let Some(Ok(event)) = events.next().await {
                    let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                        continue;
                    };
                    if let Some(newest) = object
                        .pointer("/metadata/resourceVersion")
                        .and_then(Value::as_str)
                    {
                        newest.clone_into(&mut version);
                    }
                    if let Some((name, state)) = read(&object) {
                        shared
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(name, state);
                    }
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// Waits until so many are ready at a generation and a revision, or the time is up.
    pub(crate) async fn until(
        &self,
        n: usize,
        generation: i64,
        revision: &str,
        started: Instant,
        limit: Duration,
    ) -> Reached {
        loop {
            let reached = self.reached(generation, revision, started);
            if reached.count >= n || started.elapsed() > limit {
                return reached;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn reached(&self, generation: i64, revision: &str, started: Instant) -> Reached {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = Reached {
            count: 0,
            took: Duration::ZERO,
            complaint: None,
        };
        for state in seen.values() {
            let there = state
                .ready_at
                .as_ref()
                .is_some_and(|(at, of)| *at == generation && of == revision);
            if there {
                reached.count += 1;
                reached.took = reached
                    .took
                    .max(state.at.saturating_duration_since(started));
            } else if reached.complaint.is_none() {
                reached.complaint = Some(state.message.clone());
            }
        }
        reached
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn read(object: &Value) -> Option<(String, Seen)> {
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    let generation = object.pointer("/metadata/generation")?.as_i64()?;
    let ready = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let is_ready = ready.is_some_and(|ready| ready["status"] == "True")
        && object["status"]["observedGeneration"] == generation;
    let revision = object["status"]["lastAppliedRevision"].as_str();
    let message = ready.and_then(|ready| ready["message"].as_str());
    Some((
        name,
        Seen {
            at: Instant::now(),
            ready_at: revision
                .filter(|_| is_ready)
                .map(|revision| (generation, revision.to_owned())),
            message: message.unwrap_or("nothing yet").to_owned(),
        },
    ))
}
