//! Starts everything, and stops it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fairway_apply::{Connection, Strictness};
use fairway_git::Mirrors;
use fairway_types::{GitRepository, Kustomization, names};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cluster::{self, Connections, Target};
use crate::context::{Context, Parts, Queues};
use crate::events::Recorder;
use crate::home::{Home, HomeId};
use crate::lease::{self, Standing};
use crate::metrics::{Metrics, Snapshot};
use crate::objects::{Objects, follow};
use crate::options::{Controller, Options};
use crate::queue::{Limits, Queue};
use crate::{fleet, kustomization, source};

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder for mirrors cannot be used.
    #[error("cannot use the data folder: {0}")]
    DataDir(#[from] fairway_git::Error),
    /// The name for leader election cannot be kept.
    #[error("cannot keep the name for leader election: {0}")]
    Identity(#[from] std::io::Error),
    /// The runtime is going down.
    #[error("the runtime is going down: {0}")]
    Runtime(String),
}

/// The running reconcilers. Dropping it stops them without waiting.
pub struct Engine {
    context: Arc<Context>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// How long running work may take to come to an end.
const GRACE: Duration = Duration::from_secs(10);

impl Engine {
    /// Starts the reconcilers that the options name on this hub. The kinds must be served there, see
    /// [`fairway_types::crds`]; where they are not yet, the engine waits for them.
    pub async fn start(hub: Connection, options: Options) -> Result<Self, StartError> {
        Self::start_with(hub, options, clock::system()).await
    }

    /// The same with another clock for the times in statuses.
    pub async fn start_with(
        hub: Connection,
        options: Options,
        clock: clock::Clock,
    ) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        let folder = options.data_dir.join("mirrors");
        let mirrors = tokio::task::spawn_blocking(move || Mirrors::open(&folder))
            .await
            .map_err(|error| StartError::Runtime(error.to_string()))??;
        let strictness = Strictness {
            allow_insecure_tls: options.insecure_kubeconfig_tls,
            ..Strictness::default()
        };
        // Flux's own limit of a quarter of an hour is for remote repositories; what is near is asked more often.
        let limits = |total: usize, per_lane: usize, minutes: u64| Limits {
            total,
            per_lane,
            backoff_max: Duration::from_mins(minutes),
            ..Limits::default()
        };
        let queues = Queues {
            sources: Queue::new(limits(16, 1, 15)),
            kustomizations: Queue::new(limits(
                options.concurrent.max(1),
                options.concurrent_per_cluster.max(1),
                1,
            )),
            clusters: Queue::new(limits(64, 1, 1)),
            fleets: Queue::new(limits(8, 1, 1)),
        };
        let controllers = options.controllers.clone();
        let mut tasks = JoinSet::new();
        let source_standing = elect(&mut tasks, &hub, &options, Controller::Source, &stop)?;
        let kustomize_standing = elect(&mut tasks, &hub, &options, Controller::Kustomize, &stop)?;
        let context = Context::new(Parts {
            options,
            clock,
            mirrors,
            fleet_events: Recorder::start(hub.client(), names::FLEET_MANAGER, stop.clone()),
            queues,
            connections: Connections::new(strictness),
            source_standing,
            kustomize_standing,
            stop: stop.clone(),
        });
        let target = context.target(hub.clone());
        let home = Home::new(HomeId::Hub, target, stop.child_token());
        context.homes.set(home.clone());
        follow_home(&context, &home);
        for standing in [&context.source_standing, &context.kustomize_standing] {
            tasks.spawn(hear_standing(
                Arc::downgrade(&context),
                standing.clone(),
                stop.clone(),
            ));
        }
        watch_config::<Secret>(&mut tasks, &context, &home);
        watch_config::<ConfigMap>(&mut tasks, &context, &home);
        if controllers.contains(&Controller::Fleet) {
            follow_fleet(&mut tasks, &context, &home);
            let work = context.clone();
            tasks.spawn(
                context
                    .queues
                    .clusters
                    .clone()
                    .run(stop.clone(), move |ticket| {
                        cluster::reconcile(work.clone(), ticket)
                    }),
            );
            let work = context.clone();
            tasks.spawn(
                context
                    .queues
                    .fleets
                    .clone()
                    .run(stop.clone(), move |ticket| {
                        fleet::reconcile(work.clone(), ticket)
                    }),
            );
        }
        let work = context.clone();
        tasks.spawn(
            context
                .queues
                .sources
                .clone()
                .run(stop.clone(), move |ticket| {
                    source::reconcile(work.clone(), ticket)
                }),
        );
        if controllers.contains(&Controller::Kustomize) {
            let work = context.clone();
            tasks.spawn(
                context
                    .queues
                    .kustomizations
                    .clone()
                    .run(stop.clone(), move |ticket| {
                        kustomization::reconcile(work.clone(), ticket)
                    }),
            );
        }
        Ok(Self {
            context,
            tasks,
            stop,
        })
    }

    /// Fetches the sources of a URL now (as their objects say it, or as it is fetched). Says how many there are.
    pub fn poke(&self, url: &str) -> usize {
        self.context.poke(Some(url))
    }

    /// Fetches all sources now. Says how many there are.
    pub fn poke_all(&self) -> usize {
        self.context.poke(None)
    }

    /// Who leads in place of this engine, if somebody does: with [`Options::leader_election`], nothing is touched then.
    pub fn waits_for(&self) -> Option<String> {
        [
            &self.context.source_standing,
            &self.context.kustomize_standing,
        ]
        .into_iter()
        .find_map(|standing| match &*standing.borrow() {
            Standing::Following { holder } => Some(holder.clone()),
            Standing::Leading | Standing::Waiting => None,
        })
    }

    /// A handle that can poke from elsewhere, and outlives nothing.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.context))
    }

    /// The numbers so far.
    pub fn metrics(&self) -> Snapshot {
        snapshot(&self.context)
    }

    /// Stops: no new work is begun, running work may come to an end for some seconds.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!(
                "work was still running after {}s and is given up",
                GRACE.as_secs()
            );
        }
        self.tasks.shutdown().await;
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// See [`Engine::handle`].
#[derive(Clone)]
pub struct Handle(std::sync::Weak<Context>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("metrics", &self.metrics())
            .finish()
    }
}

impl Handle {
    /// As [`Engine::poke`]; nothing once the engine is gone.
    pub fn poke(&self, url: &str) -> usize {
        self.0
            .upgrade()
            .map_or(0, |context| context.poke(Some(url)))
    }

    /// As [`Engine::poke_all`]; nothing once the engine is gone.
    pub fn poke_all(&self) -> usize {
        self.0.upgrade().map_or(0, |context| context.poke(None))
    }

    /// As [`Engine::metrics`].
    pub fn metrics(&self) -> Option<Snapshot> {
        self.0.upgrade().map(|context| snapshot(&context))
    }
}

fn snapshot(context: &Context) -> Snapshot {
    let metrics = &context.metrics;
    let hub = context.hub();
    let mut snapshot = Snapshot {
        fetches: Metrics::read(&metrics.fetches),
        builds: Metrics::read(&context.builder.builds),
        build_cache_hits: Metrics::read(&context.builder.hits),
        reconciles: Metrics::read(&metrics.reconciles),
        unchanged: Metrics::read(&metrics.unchanged),
        applies: Metrics::read(&metrics.applies),
        drifts: Metrics::read(&metrics.drifts),
        failures: Metrics::read(&metrics.failures),
        hub_requests: hub.as_ref().map_or(0, |hub| hub.connection.request_count()),
        cluster_requests: context
            .connections
            .all()
            .iter()
            .map(|target| target.connection.request_count())
            .sum(),
        dropped_events: context.fleet_events.dropped(),
    };
    for home in context.homes.all() {
        snapshot.dropped_events += home.source_events.dropped() + home.kustomize_events.dropped();
    }
    snapshot
}

/// Takes part in the election for a controller's Lease. Without elections this process leads, and a controller that is
/// left to somebody else needs no Lease.
fn elect(
    tasks: &mut JoinSet<()>,
    hub: &Connection,
    options: &Options,
    controller: Controller,
    stop: &CancellationToken,
) -> Result<watch::Receiver<Standing>, StartError> {
    if !options.leader_election || !options.controllers.contains(&controller) {
        return Ok(watch::channel(Standing::Leading).1);
    }
    let name = if controller == Controller::Source {
        lease::SOURCE
    } else {
        lease::KUSTOMIZE
    };
    let me = lease::identity(&options.data_dir)?;
    let (standing, campaign) =
        lease::elect(hub.client(), &options.namespace, name, me, stop.clone());
    tasks.spawn(campaign);
    Ok(standing)
}

/// Begins when this process leads, and says so when it does not.
async fn hear_standing(
    context: Weak<Context>,
    mut standing: watch::Receiver<Standing>,
    stop: CancellationToken,
) {
    loop {
        let now = standing.borrow_and_update().clone();
        match (&now, context.upgrade()) {
            (_, None) => return,
            (Standing::Leading, Some(context)) => context.enqueue_everything(),
            (Standing::Following { holder }, _) => tracing::warn!(
                holder,
                reason = names::reason::ENGINE_CONFLICT,
                "another engine leads, nothing is touched; hint: scale its Deployment to zero to take over"
            ),
            (Standing::Waiting, _) => {}
        }
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Follows the objects of a home, until it is given up.
pub(crate) fn follow_home(context: &Arc<Context>, home: &Arc<Home>) {
    let client = home.connection.client();
    let (weak, id) = (Arc::downgrade(context), home.id.clone());
    let on_repository = move |change| {
        if let Some(context) = weak.upgrade() {
            context.repository_changed(&id, &change);
        }
    };
    let api: Api<GitRepository> = Api::all(client.clone());
    tokio::spawn(follow(
        api,
        watcher::Config::default(),
        home.repositories.clone(),
        home.stop.clone(),
        on_repository,
    ));
    let (weak, id) = (Arc::downgrade(context), home.id.clone());
    let on_kustomization = move |change| {
        if let Some(context) = weak.upgrade() {
            context.kustomization_changed(&id, &change);
        }
    };
    let api: Api<Kustomization> = Api::all(client);
    let objects = home.kustomizations.clone();
    tokio::spawn(follow(
        api,
        watcher::Config::default(),
        objects,
        home.stop.clone(),
        on_kustomization,
    ));
}

fn follow_fleet(tasks: &mut JoinSet<()>, context: &Arc<Context>, hub: &Arc<Home>) {
    let client = hub.connection.client();
    let weak = Arc::downgrade(context);
    spawn_follow(
        tasks,
        context,
        client.clone(),
        context.clusters.clone(),
        move |change| {
            if let Some(context) = weak.upgrade() {
                context.cluster_changed(&change);
            }
        },
    );
    let weak = Arc::downgrade(context);
    spawn_follow(
        tasks,
        context,
        client.clone(),
        context.fleets.clone(),
        move |change| {
            if let Some(context) = weak.upgrade() {
                context.fleet_changed(&change);
            }
        },
    );
    let weak = Arc::downgrade(context);
    spawn_follow(
        tasks,
        context,
        client,
        context.selectors.clone(),
        move |change| {
            if let Some(context) = weak.upgrade() {
                context.selector_changed(&change);
            }
        },
    );
}

fn spawn_follow<K>(
    tasks: &mut JoinSet<()>,
    context: &Arc<Context>,
    client: kube::Client,
    objects: Arc<Objects<K>>,
    on: impl Fn(crate::objects::Change<K>) + Send + 'static,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    tasks.spawn(follow(
        Api::all(client),
        watcher::Config::default(),
        objects,
        context.stop.clone(),
        on,
    ));
}

/// Listens to changes of Secrets or ConfigMaps of the hub, of which only the metadata is read. Where that is not
/// allowed, kubeconfigs are read again every half minute instead.
fn watch_config<K>(tasks: &mut JoinSet<()>, context: &Arc<Context>, hub: &Arc<Home>)
where
    K: Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (weak, hub) = (Arc::downgrade(context), hub.clone());
    tasks.spawn(async move {
        let kind = K::kind(&()).into_owned();
        let api: Api<PartialObjectMeta<K>> = Api::all(hub.connection.client());
        let mut stream =
            Box::pin(watcher::watcher(api, watcher::Config::default()).default_backoff());
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                () = hub.stop.cancelled() => return,
            };
            let (Some(event), Some(context)) = (event, weak.upgrade()) else {
                return;
            };
            let is_secret = kind == "Secret";
            match event {
                Ok(Event::InitDone) if is_secret => context.connections.set_watched(true),
                Ok(Event::Apply(object) | Event::Delete(object)) => {
                    let (namespace, name) =
                        (object.namespace().unwrap_or_default(), object.name_any());
                    let watched = object
                        .labels()
                        .get(names::WATCH)
                        .is_some_and(|value| value == "Enabled");
                    context.notify_config(&hub, &kind, &namespace, &name, watched);
                }
                // A list after a gap: what changed meanwhile is not known.
                Ok(Event::InitApply(object)) if is_secret => {
                    let namespace = object.namespace().unwrap_or_default();
                    context
                        .connections
                        .invalidate(&hub.id, &namespace, &object.name_any());
                }
                Err(error) => {
                    if is_secret {
                        context.connections.set_watched(false);
                    }
                    tracing::debug!(kind, %error, "watch of metadata failed");
                }
                _ => {}
            }
        }
    });
}

/// Listens to what is seen on a target.
pub(crate) fn listen_to(context: &Arc<Context>, target: &Arc<Target>) {
    tokio::spawn(cluster::listen(
        Arc::downgrade(context),
        Arc::downgrade(target),
    ));
}
