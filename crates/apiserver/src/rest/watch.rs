//! `GET …?watch=true`: a stream of changes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::endpoint::Endpoint;
use super::read::{check_options, namespace, number, single_revision};
use super::select::Selector;
use super::view;
use crate::http::{Accepted, Call, Reply, Shape};
use crate::status::ApiError;
use crate::store::{Event, EventKind, Expired, Watch};

/// A quiet watch that asked for bookmarks learns that often where it stands.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);

/// How long a watch lasts that names no timeout: 30 minutes, as kube-apiserver's least.
const DEFAULT_TIMEOUT: u64 = 1800;

pub(super) fn watch(call: &Call, endpoint: &Endpoint) -> Result<Reply, ApiError> {
    let mut selector = Selector::parse(&call.query, endpoint)?;
    if !call.target.name.is_empty() {
        selector.and_name(&call.target.name);
    }
    let store = &call.cluster.store;
    let scope = namespace(call, endpoint);
    let bookmarks = call.query.flag("allowWatchBookmarks");
    check_options(&call.query, true)?;
    let initial = call
        .query
        .get("sendInitialEvents")
        .map(|text| matches!(text, "true" | "1"));
    let asked = call
        .query
        .get("resourceVersion")
        .map(single_revision)
        .transpose()?
        .filter(|revision| *revision > 0);
    let mut queue: VecDeque<Bytes> = VecDeque::new();
    let shape = View {
        call: clone_for_view(call),
        endpoint: endpoint.clone(),
        told_columns: AtomicBool::new(false),
    };
    // A list first where the client asks for it, or says nothing of where it stands.
    let list_first = initial.unwrap_or(asked.is_none());
    let watch = if list_first {
        let (listing, watch) = store.list_and_watch(endpoint.id(), scope);
        for object in listing
            .items
            .iter()
            .filter(|object| selector.matches(object))
        {
            queue.push_back(shape.line("ADDED", object));
        }
        if initial == Some(true) && bookmarks {
            queue.push_back(shape.bookmark(listing.revision, true));
        }
        watch
    } else {
        match store.watch(endpoint.id(), scope, asked) {
            Ok(watch) => watch,
            Err(expired) => {
                let line = error_line(expired);
                return Ok(Reply::stream(Box::pin(stream::iter([line]))));
            }
        }
    };
    let seconds = number(call, "timeoutSeconds")?
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .unwrap_or(DEFAULT_TIMEOUT);
    let told = watch.revision();
    let follower = Follower {
        watch,
        selector,
        shape,
        queue,
        bookmarks,
        told,
        end: Instant::now() + Duration::from_secs(seconds.min(86_400)),
        over: false,
    };
    Ok(Reply::stream(Box::pin(stream::unfold(
        follower,
        Follower::next_chunk,
    ))))
}

/// The parts of a call that outlive it in a stream.
fn clone_for_view(call: &Call) -> Call {
    Call {
        cluster: call.cluster.clone(),
        user: call.user.clone(),
        method: call.method.clone(),
        target: call.target.clone(),
        query: call.query.clone(),
        headers: http::HeaderMap::new(),
        accepted: Accepted {
            yaml: false,
            ..call.accepted.clone()
        },
        body: Bytes::new(),
        warnings: std::sync::Mutex::default(),
    }
}

struct View {
    call: Call,
    endpoint: Endpoint,
    /// Whether the columns of a table were told: only the first event has them.
    told_columns: AtomicBool,
}

impl View {
    fn line(&self, kind: &str, object: &Value) -> Bytes {
        let mut shown = view::one(&self.call, &self.endpoint, object);
        if self.call.accepted.shape == Shape::Table
            && self.told_columns.swap(true, Ordering::Relaxed)
        {
            shown.to_mut()["columnDefinitions"] = Value::Null;
        }
        line(kind, &shown)
    }

    fn bookmark(&self, revision: u64, initial: bool) -> Bytes {
        let accepted = &self.call.accepted;
        let (kind, api_version) = match accepted.shape {
            Shape::Metadata => (
                "PartialObjectMetadata",
                format!("meta.k8s.io/{}", accepted.version),
            ),
            Shape::Table => ("Table", format!("meta.k8s.io/{}", accepted.version)),
            Shape::Object | Shape::Discovery => (
                self.endpoint.resource.kind.as_str(),
                self.endpoint.api_version.clone(),
            ),
        };
        let mut object = json!({
            "kind": kind,
            "apiVersion": api_version,
            "metadata": {"resourceVersion": revision.to_string()},
        });
        if accepted.shape == Shape::Table {
            object["columnDefinitions"] = json!([]);
            object["rows"] = json!([]);
        } else if initial {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        line("BOOKMARK", &object)
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut text = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    // Writing JSON to memory cannot fail.
    let _ = serde_json::to_writer(&mut text, object);
    text.extend_from_slice(b"}\n");
    text.into()
}

fn error_line(expired: Expired) -> Bytes {
    line("ERROR", &ApiError::from(expired).to_status())
}

struct Follower {
    watch: Watch,
    selector: Selector,
    shape: View,
    queue: VecDeque<Bytes>,
    bookmarks: bool,
    /// The revision that the client knows of.
    told: u64,
    end: Instant,
    over: bool,
}

impl Follower {
    async fn next_chunk(mut self) -> Option<(Bytes, Self)> {
        loop {
            self.shape.call.cluster.faults.while_black_hole().await;
            if let Some(first) = self.queue.pop_front() {
                // What is ready goes out in one piece, so that a large first list needs few frames.
                let mut chunk = Vec::from(first);
                while chunk.len() < 32 * 1024
                    && let Some(next) = self.queue.pop_front()
                {
                    chunk.extend_from_slice(&next);
                }
                return Some((chunk.into(), self));
            }
            if self.over {
                return None;
            }
            self.fill().await;
        }
    }

    /// Waits for something to tell, or the end.
    async fn fill(&mut self) {
        let now = Instant::now();
        if now >= self.end {
            self.over = true;
            return;
        }
        let wake = if self.bookmarks {
            self.end.min(now + BOOKMARK_EVERY)
        } else {
            self.end
        };
        match timeout_at(wake, self.watch.next()).await {
            Ok(Ok(events)) => {
                for event in events {
                    self.told = event.revision;
                    if let Some(line) = self.show(&event) {
                        self.queue.push_back(line);
                    }
                }
            }
            Ok(Err(expired)) => {
                self.queue.push_back(error_line(expired));
                self.over = true;
            }
            // Nothing came: say how far that is true.
            Err(_) => {
                if self.bookmarks
                    && self.watch.ready().is_ok_and(|events| {
                        for event in &events {
                            if let Some(line) = self.show(event) {
                                self.queue.push_back(line);
                            }
                        }
                        events.is_empty()
                    })
                    && self.watch.revision() > self.told
                {
                    self.told = self.watch.revision();
                    self.queue.push_back(self.shape.bookmark(self.told, false));
                }
            }
        }
    }

    /// What a change looks like to somebody who sees only what the selector matches.
    fn show(&self, event: &Event) -> Option<Bytes> {
        let before = event
            .previous
            .as_ref()
            .is_some_and(|object| self.selector.matches(object));
        let after = event.kind != EventKind::Deleted && self.selector.matches(&event.object);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(self.shape.line("ADDED", &event.object)),
            (true, true) => Some(self.shape.line("MODIFIED", &event.object)),
            (true, false) if event.kind == EventKind::Deleted => {
                Some(self.shape.line("DELETED", &event.object))
            }
            // It still exists, but not for this watch: its last matching state, at the new revision.
            (true, false) => {
                let mut last = (**event.previous.as_ref()?).clone();
                last["metadata"]["resourceVersion"] = event.revision.to_string().into();
                Some(self.shape.line("DELETED", &last))
            }
        }
    }
}
