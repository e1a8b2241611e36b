//! One watch: list, watch, go on where it ended; list again when too much was missed; poll where watching is forbidden.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hasher as _},
    pin::pin,
    sync::Weak,
    time::Duration,
};

use fairway_types::{ObjectId, names};
use futures::StreamExt as _;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use crate::{api::WatchEvent, connection::Connection, error::RequestError, mapper::Resource};

use super::{Inner, Mode, Scope};

/// How long one watch request is asked to last, in seconds, before jitter.
const WATCH_SECONDS: u32 = 280;
/// Pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between two looks whether a cluster that was away is back.
const LONGEST_PROBE: Duration = Duration::from_secs(3);
/// How often objects that cannot be watched are asked for.
const POLL: Duration = Duration::from_secs(30);
/// After this long, it is tried again whether a watch is allowed now.
const TRY_WATCH_AGAIN: Duration = Duration::from_mins(10);

enum Ended {
    /// Go on at once.
    ListAgain,
    /// The scope is no longer wanted.
    Stop,
}

/// Runs until the observer is gone or ends the task.
pub(super) async fn run(inner: Weak<Inner>, scope: Scope) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let result = once(&inner, &scope).await;
        let error = match result {
            Ok(Ended::Stop) => return,
            Ok(Ended::ListAgain) => {
                pause = FIRST_PAUSE;
                continue;
            }
            Err(error) => error,
        };
        let Some(strong) = inner.upgrade() else {
            return;
        };
        if error.is_forbidden() {
            if strong.narrow(&scope) {
                // Units for the namespaces take over; the new plan has ended this one.
                return;
            }
            strong.set_mode(
                &scope,
                Mode::Polling {
                    reason: error.to_string(),
                },
            );
            drop(strong);
            poll(&inner, &scope).await;
            continue;
        }
        tracing::debug!(kind = scope.kind, namespace = scope.namespace, %error, "watch failed");
        strong.set_mode(
            &scope,
            Mode::Failing {
                reason: error.to_string(),
            },
        );
        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        if error.is_unreachable() || error.is_unavailable() {
            let (connection, probing) = (strong.connection.clone(), strong.probing.clone());
            drop(strong);
            let least = error.retry_after().unwrap_or(pause).min(LONGEST_PAUSE);
            let began = Instant::now();
            if until_back(&connection, &probing, least.min(LONGEST_PROBE)).await {
                // All watches of the cluster are told at the same moment.
                sleep(jitter(FIRST_PAUSE).mul_f64(0.5)).await;
                pause = FIRST_PAUSE;
            } else {
                // The cluster serves, but not this kind.
                sleep(jitter(least).saturating_sub(began.elapsed())).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        } else {
            drop(strong);
            sleep(jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns when the cluster serves, and says whether it was away. One of the watches asks, cheaply, for all of them.
async fn until_back(connection: &Connection, probing: &Mutex<()>, first: Duration) -> bool {
    let mut returns = connection.returns();
    let probe = async {
        let _only = probing.lock().await;
        let mut pause = first;
        let mut away = false;
        loop {
            sleep(jitter(pause)).await;
            match connection.version().await {
                Err(error) if error.is_unreachable() || error.is_unavailable() => away = true,
                _ => return away,
            }
            pause = (pause * 2).min(LONGEST_PROBE);
        }
    };
    tokio::select! {
        // What the probe hears also counts as a return: ask it first.
        biased;
        away = probe => away,
        _ = returns.changed() => true,
    }
}

/// Between three quarters and five quarters of a span, so that many watches do not come back at the same moment.
fn jitter(span: Duration) -> Duration {
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    span.mul_f64(0.75 + (random % 1024) as f64 / 2048.0)
}

async fn resource(
    inner: &Weak<Inner>,
    scope: &Scope,
) -> Result<Option<(Resource, crate::Session)>, RequestError> {
    let Some(strong) = inner.upgrade() else {
        return Ok(None);
    };
    let (mapper, session) = (strong.mapper.clone(), strong.connection.session());
    drop(strong);
    let resource = mapper
        .served(&scope.group, &scope.version, &scope.kind)
        .await?;
    Ok(Some((resource, session)))
}

async fn once(inner: &Weak<Inner>, scope: &Scope) -> Result<Ended, RequestError> {
    let Some((resource, session)) = resource(inner, scope).await? else {
        return Ok(Ended::Stop);
    };
    let list = session
        .list(&resource, &scope.namespace, names::OWNER_NAME)
        .await?;
    let Some(strong) = inner.upgrade() else {
        return Ok(Ended::Stop);
    };
    let present: HashSet<ObjectId> = list.items.iter().filter_map(ObjectId::of).collect();
    for object in &list.items {
        strong.saw(object);
    }
    strong.listed(scope, &present);
    strong.set_mode(scope, Mode::Watching);
    drop(strong);
    let mut version = list.resource_version;
    drop(list.items);
    loop {
        let seconds = jitter(Duration::from_secs(u64::from(WATCH_SECONDS))).as_secs() as u32;
        let opened = Instant::now();
        let events = match session
            .watch(
                &resource,
                &scope.namespace,
                names::OWNER_NAME,
                &version,
                seconds,
            )
            .await
        {
            Ok(events) => events,
            Err(error) if error.is_gone() => return Ok(Ended::ListAgain),
            Err(error) => return Err(error),
        };
        let mut events = pin!(events);
        let mut quiet = true;
        // A server that forgets to end the watch, or a proxy that holds a dead connection, must not blind us.
        let longest = Duration::from_secs(u64::from(seconds) + 30);
        while let Ok(Some(event)) = timeout(longest, events.next()).await {
            quiet = false;
            let Some(strong) = inner.upgrade() else {
                return Ok(Ended::Stop);
            };
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    note_version(&object, &mut version);
                    strong.saw(&object);
                }
                Ok(WatchEvent::Deleted(object)) => {
                    note_version(&object, &mut version);
                    if let Some(id) = ObjectId::of(&object) {
                        strong.lost(&id, Some(&object));
                    }
                }
                Ok(WatchEvent::Bookmark(newest)) => {
                    if !newest.is_empty() {
                        version = newest;
                    }
                }
                Err(error) if error.is_gone() => return Ok(Ended::ListAgain),
                Err(error) => return Err(error),
            }
        }
        if quiet && opened.elapsed() < Duration::from_secs(1) {
            // A server that ends watches at once is asked slowly.
            sleep(jitter(FIRST_PAUSE)).await;
        }
    }
}

fn note_version(object: &serde_json::Value, version: &mut String) {
    if let Some(newest) = object
        .pointer("/metadata/resourceVersion")
        .and_then(serde_json::Value::as_str)
    {
        newest.clone_into(version);
    }
}

/// Asks for each tracked object in turn, for some time.
async fn poll(inner: &Weak<Inner>, scope: &Scope) {
    let until = Instant::now() + TRY_WATCH_AGAIN;
    while Instant::now() < until {
        let Ok(Some((resource, session))) = resource(inner, scope).await else {
            sleep(jitter(POLL)).await;
            continue;
        };
        let Some(strong) = inner.upgrade() else {
            return;
        };
        let ids = strong.ids(scope);
        drop(strong);
        for id in ids {
            let answer = session.get(&resource, &id.namespace, &id.name).await;
            let Some(strong) = inner.upgrade() else {
                return;
            };
            match answer {
                Ok(Some(object)) => strong.saw(&object),
                Ok(None) => strong.lost(&id, None),
                Err(error) => {
                    tracing::debug!(object = id.subject(), %error, "cannot ask for an object");
                    if error.is_unreachable() {
                        break;
                    }
                }
            }
        }
        sleep(jitter(POLL)).await;
    }
}
