//! Events on objects, as Flux writes them: core/v1, the reason of the Ready condition, metadata as annotations.
//!
//! Recording never waits and never fails: events go through bounded channels to a few tasks for each cluster (those of
//! one object to the same one, so that they keep their order), and what does not fit is dropped and counted. Messages come from conditions, which never hold secret values.

mod limit;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::notify::Teller;
use limit::{Fingerprint, Limiter, Verdict};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// An Event of type Normal.
    Info,
    /// An Event of type Warning.
    Error,
}

/// One thing that happened to an object.
#[derive(Debug, Clone)]
pub struct Happening {
    /// The object.
    pub object: ObjectReference,
    /// How bad it is.
    pub severity: Severity,
    /// `CamelCase`, mostly the reason of the Ready condition.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Annotations of the Event, such as `kustomize.toolkit.fluxcd.io/revision`.
    pub metadata: BTreeMap<String, String>,
}

/// The longest message that is written.
const MAX_MESSAGE: usize = 8 * 1024;
/// Events of a lane that wait.
const CAPACITY: usize = 2048;
/// Events that are written to one cluster at the same time.
const LANES: usize = 4;

/// Writes events to one cluster.
#[derive(Debug, Clone)]
pub struct Recorder {
    lanes: Arc<[mpsc::Sender<Box<Happening>>; LANES]>,
    dropped: Arc<AtomicU64>,
    teller: Teller,
}

impl Recorder {
    /// Starts the tasks that write. They end, after what is in the channels, when `stop` is cancelled. The teller hears
    /// of everything too.
    pub fn start(client: kube::Client, teller: Teller, stop: CancellationToken) -> Self {
        let component = teller.component();
        let dropped = Arc::new(AtomicU64::new(0));
        let lanes = std::array::from_fn(|_| {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            let (client, stop) = (client.clone(), stop.clone());
            tokio::spawn(write_all(
                client,
                component,
                receiver,
                stop,
                dropped.clone(),
            ));
            sender
        });
        Self {
            lanes: Arc::new(lanes),
            dropped,
            teller,
        }
    }

    /// Records what happened.
    pub fn record(&self, happening: Happening) {
        let object = &happening.object;
        let (kind, name) = (
            object.kind.as_deref().unwrap_or(""),
            object.name.as_deref().unwrap_or(""),
        );
        let namespace = object.namespace.as_deref().unwrap_or("");
        match happening.severity {
            Severity::Info => tracing::info!(
                kind,
                namespace,
                name,
                reason = happening.reason,
                "{}",
                happening.message
            ),
            Severity::Error => {
                tracing::warn!(
                    kind,
                    namespace,
                    name,
                    reason = happening.reason,
                    "{}",
                    happening.message
                );
            }
        }
        self.teller.tell(&happening);
        let lane = &self.lanes[lane_of(&happening.object)];
        if lane.try_send(Box::new(happening)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were not written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn lane_of(object: &ObjectReference) -> usize {
    let mut hasher = DefaultHasher::new();
    (&object.kind, &object.namespace, &object.name).hash(&mut hasher);
    hasher.finish() as usize % LANES
}

async fn write_all(
    client: kube::Client,
    component: &'static str,
    mut receiver: mpsc::Receiver<Box<Happening>>,
    stop: CancellationToken,
    dropped: Arc<AtomicU64>,
) {
    let mut limiter = Limiter::default();
    loop {
        let happening = tokio::select! {
            biased;
            happening = receiver.recv() => happening,
            () = stop.cancelled() => None,
        };
        let Some(happening) = happening else { return };
        let namespace = happening
            .object
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        if let Err(error) = write(&api, component, &mut limiter, *happening).await {
            dropped.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "event not written");
        }
    }
}

async fn write(
    api: &Api<Event>,
    component: &'static str,
    limiter: &mut Limiter,
    happening: Happening,
) -> Result<(), kube::Error> {
    let now = Instant::now();
    let timestamp = Timestamp::now();
    let fingerprint = Fingerprint {
        object: happening.object.uid.clone().unwrap_or_default(),
        reason: happening.reason.clone(),
        message: happening.message.clone(),
        warning: happening.severity == Severity::Error,
    };
    match limiter.judge(&fingerprint, now) {
        Verdict::Drop => Ok(()),
        Verdict::Count(name, count) => {
            let patch = serde_json::json!({"count": count, "lastTimestamp": Time(timestamp)});
            match api
                .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
            {
                Ok(_) => Ok(()),
                Err(error) => {
                    limiter.lost(&fingerprint);
                    Err(error)
                }
            }
        }
        Verdict::Create => {
            let event = event(component, happening, timestamp);
            let name = event.metadata.name.clone().unwrap_or_default();
            api.create(&PostParams::default(), &event).await?;
            limiter.wrote(fingerprint, name, now);
            Ok(())
        }
    }
}

/// The Event for a happening, named as client-go names it: the object and the time.
fn event(component: &'static str, happening: Happening, now: Timestamp) -> Event {
    let object_name = happening.object.name.clone().unwrap_or_default();
    let namespace = happening
        .object
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let mut message = happening.message;
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{object_name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace),
            annotations: (!happening.metadata.is_empty()).then_some(happening.metadata),
            ..ObjectMeta::default()
        },
        involved_object: happening.object,
        reason: Some(happening.reason),
        message: Some(message),
        type_: Some(
            if happening.severity == Severity::Error {
                "Warning"
            } else {
                "Normal"
            }
            .to_owned(),
        ),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        source: Some(EventSource {
            component: Some(component.to_owned()),
            ..EventSource::default()
        }),
        reporting_component: Some(component.to_owned()),
        ..Event::default()
    }
}

/// A reference to `object` for an event.
pub fn reference<K>(object: &K) -> ObjectReference
where
    K: kube::Resource<DynamicType = ()>,
{
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_kubectl_describe_shows() {
        let happening = Happening {
            object: ObjectReference {
                kind: Some("Kustomization".into()),
                name: Some("apps".into()),
                namespace: Some("flux-system".into()),
                ..ObjectReference::default()
            },
            severity: Severity::Error,
            reason: "BuildFailed".into(),
            message: "ä".repeat(MAX_MESSAGE),
            metadata: BTreeMap::from([(
                "kustomize.toolkit.fluxcd.io/revision".into(),
                "main@sha1:abc".into(),
            )]),
        };
        let event = event("kustomize-controller", happening, Timestamp::UNIX_EPOCH);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], "Warning");
        assert_eq!(json["metadata"]["name"], "apps.0");
        assert_eq!(json["metadata"]["namespace"], "flux-system");
        assert_eq!(
            json["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/revision"],
            "main@sha1:abc"
        );
        assert_eq!(json["source"]["component"], "kustomize-controller");
        assert!(json["message"].as_str().unwrap().len() <= MAX_MESSAGE);
    }
}
