//! Notifications: Flux's Alert and Provider (notification.toolkit.fluxcd.io/v1beta3).
//!
//! ```text
//!   Recorder ──every event──▶ bounded queue ──▶ repeats? ──▶ Alerts that match ──▶ one task a Provider ──▶ HTTP, with retries
//!                                                   └─ --events-addr: to Flux's notification-controller instead
//! ```
//!
//! Telling never waits and never fails: what does not fit into a queue is dropped and counted. Fairway tells of its own events
//! alone, so it can run beside Flux's notification-controller, which is told by Flux's controllers: nobody hears twice, and
//! no Lease is needed.

mod event;
mod forward;
mod matching;
mod payload;
mod provider;
mod repeats;
mod send;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fairway_types::Alert;
use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::events::{Happening, reference};
use crate::home::{Home, HomeId};
use event::FluxEvent;
use matching::{Match, Patterns, like, matches};
use repeats::Repeats;
use send::Parcel;

/// Events that wait to be matched.
const CAPACITY: usize = 4096;
/// Messages that wait for one receiver.
const PER_RECEIVER: usize = 256;
/// How long messages that wait may take when the engine stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long the first event of a home waits for its Alerts.
const FIRST: Duration = Duration::from_secs(10);

/// Something that happened, and where.
#[derive(Debug)]
pub(crate) struct Told {
    home: HomeId,
    component: &'static str,
    happening: Happening,
    at: Timestamp,
}

/// Is told of every event. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    sender: Option<mpsc::Sender<Box<Told>>>,
    dropped: Arc<AtomicU64>,
}

impl Notifier {
    /// A notifier, and what is to be given to [`run`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Box<Told>>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let notifier = Self {
            sender: Some(sender),
            dropped: Arc::default(),
        };
        (notifier, receiver)
    }

    /// How many events found the queue full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Tells of the events of one component of a home.
    pub fn about(&self, home: HomeId, component: &'static str) -> Teller {
        Teller {
            notifier: self.clone(),
            home,
            component,
        }
    }
}

/// Tells of the events of one component of a home.
#[derive(Debug, Clone)]
pub struct Teller {
    notifier: Notifier,
    home: HomeId,
    component: &'static str,
}

impl Teller {
    /// Name of the component.
    pub(crate) fn component(&self) -> &'static str {
        self.component
    }

    /// Tells; where the queue is full, nobody hears it.
    pub(crate) fn tell(&self, happening: &Happening) {
        let Some(sender) = &self.notifier.sender else {
            return;
        };
        let told = Told {
            home: self.home.clone(),
            component: self.component,
            happening: happening.clone(),
            at: Timestamp::now(),
        };
        if sender.try_send(Box::new(told)).is_err() {
            self.notifier.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes what is told until `stop` is cancelled; what waits then is still sent, for a moment.
pub(crate) async fn run(
    context: Weak<Context>,
    mut told: mpsc::Receiver<Box<Told>>,
    stop: CancellationToken,
) {
    let mut dispatcher = Dispatcher {
        instance: instance(),
        repeats: Repeats::default(),
        patterns: Patterns::default(),
        receivers: HashMap::new(),
        forward: None,
        waited_for: BTreeSet::new(),
        tasks: JoinSet::new(),
        stop: stop.clone(),
    };
    loop {
        let next = tokio::select! {
            next = told.recv() => next,
            () = stop.cancelled() => {
                told.close();
                told.recv().await
            }
            Some(_) = dispatcher.tasks.join_next() => continue,
        };
        let (Some(next), Some(context)) = (next, context.upgrade()) else {
            break;
        };
        dispatcher.take(&context, *next).await;
    }
    // Without senders the tasks end after what they have.
    dispatcher.receivers.clear();
    dispatcher.forward = None;
    let rest = async { while dispatcher.tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!("notifications that were still waiting are given up");
    }
}

/// Name of this process, for `reportingInstance`.
fn instance() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    host.trim().to_owned()
}

/// A Provider of a home.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Destination {
    home: HomeId,
    namespace: String,
    provider: String,
}

struct Dispatcher {
    instance: String,
    repeats: Repeats,
    patterns: Patterns,
    receivers: HashMap<Destination, mpsc::Sender<Parcel>>,
    forward: Option<mpsc::Sender<FluxEvent>>,
    waited_for: BTreeSet<HomeId>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Dispatcher {
    async fn take(&mut self, context: &Arc<Context>, told: Told) {
        let Told {
            home,
            component,
            happening,
            at,
        } = told;
        let mut event = FluxEvent::new(&happening, component, &self.instance, at);
        if event.kind().is_empty() || event.name().is_empty() || event.namespace().is_empty() {
            return;
        }
        if let Some(address) = context.options.events_addr.clone() {
            return self.forward(context, address, event);
        }
        let Some(home) = context.homes.get(&home) else {
            return;
        };
        self.known(&home).await;
        if home.alerts.is_empty() {
            return;
        }
        event.clean();
        if self
            .repeats
            .is_repeat(&home.id.to_string(), &event, Instant::now())
        {
            return;
        }
        let mut labels = None;
        for alert in home.alerts.all() {
            let is_for = match matches(&alert, &event, &self.patterns) {
                Match::No => false,
                Match::Yes => true,
                Match::IfLabels(wanted) => {
                    if labels.is_none() {
                        labels = Some(labels_of(context, &home, &event).await);
                    }
                    like(labels.as_ref().unwrap_or(&BTreeMap::new()), &wanted)
                }
            };
            if is_for && Self::may(context, &alert, &event) {
                self.send(context, &home.id, &alert, &event);
            }
        }
    }

    /// Waits, once for each home, until its Alerts are known: what happens first must not be missed.
    async fn known(&mut self, home: &Home) {
        if !home.alerts.is_synced() && self.waited_for.insert(home.id.clone()) {
            let known = async {
                tokio::select! {
                    () = async { tokio::join!(home.alerts.synced(), home.providers.synced()); } => {}
                    () = home.no_alerts.cancelled() => {}
                    () = self.stop.cancelled() => {}
                }
            };
            let _ = tokio::time::timeout(FIRST, known).await;
        }
    }

    /// Whether an Alert may hear of an object of another namespace.
    fn may(context: &Context, alert: &Alert, event: &FluxEvent) -> bool {
        let namespace = alert.namespace().unwrap_or_default();
        let may = !context.options.no_cross_namespace_refs || namespace == event.namespace();
        if !may {
            tracing::warn!(
                namespace,
                name = alert.name_any(),
                "the Alert can't tell of objects of namespace '{}': cross-namespace references are refused; \
                 hint: --no-cross-namespace-refs=false allows them",
                event.namespace()
            );
        }
        may
    }

    fn send(&mut self, context: &Arc<Context>, home: &HomeId, alert: &Alert, event: &FluxEvent) {
        let destination = Destination {
            home: home.clone(),
            namespace: alert.namespace().unwrap_or_default(),
            provider: alert.spec.provider_ref.name.clone(),
        };
        let parcel = Parcel {
            event: event.told_by(&alert.spec),
            home: home.clone(),
            alert: reference(alert),
            provider: destination.provider.clone(),
        };
        let parcel = match self.receivers.get(&destination) {
            Some(sender) => match sender.try_send(parcel) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return context.metrics.delivery.notified("provider", "dropped");
                }
                // It had nothing to do, and has ended.
                Err(mpsc::error::TrySendError::Closed(parcel)) => parcel,
            },
            None => parcel,
        };
        let (sender, receiver) = mpsc::channel(PER_RECEIVER);
        let _ = sender.try_send(parcel);
        self.receivers.retain(|_, sender| !sender.is_closed());
        self.receivers.insert(destination, sender);
        let work = send::work(context.weak(), receiver, self.stop.clone());
        self.tasks.spawn(work);
    }

    fn forward(&mut self, context: &Arc<Context>, address: String, event: FluxEvent) {
        let tasks = &mut self.tasks;
        let sender = self.forward.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            let stop = self.stop.clone();
            tasks.spawn(forward::work(context.weak(), address, receiver, stop));
            sender
        });
        if sender.try_send(event).is_err() {
            context.metrics.delivery.notified("events-addr", "dropped");
        }
    }
}

/// The labels of the object that an event involves; none where it is not there.
async fn labels_of(context: &Context, home: &Home, event: &FluxEvent) -> BTreeMap<String, String> {
    let (namespace, name) = (event.namespace(), event.name());
    let known = match event.kind() {
        "Kustomization" => home
            .kustomizations
            .get(namespace, name)
            .map(|object| object.labels().clone()),
        "GitRepository" => home
            .repositories
            .get(namespace, name)
            .map(|object| object.labels().clone()),
        "Cluster" => context
            .clusters
            .get(namespace, name)
            .map(|object| object.labels().clone()),
        "FleetKustomization" => context
            .fleets
            .get(namespace, name)
            .map(|object| object.labels().clone()),
        _ => None,
    };
    if let Some(labels) = known {
        return labels;
    }
    let version = event.involved_object.api_version.as_deref();
    let asked = async {
        let resource = home
            .target
            .mapper
            .resource(version.unwrap_or_default(), event.kind())
            .await?;
        home.connection
            .session()
            .get(&resource, namespace, name)
            .await
    };
    match asked.await {
        Ok(Some(object)) => object["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        Ok(None) => BTreeMap::new(),
        Err(error) => {
            tracing::warn!(kind = event.kind(), namespace, name, %error, "labels for Alerts cannot be read");
            BTreeMap::new()
        }
    }
}
