//! Starts everything, and stops it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fairway_apply::{Connection, Strictness};
use fairway_git::Mirrors;
use fairway_types::names;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::artifact::{Fetcher, Storage};
use crate::cluster::{self, Connections, Target};
use crate::context::{Context, Parts, Queues};
use crate::election::{self, Conflict, Standings, while_leading};
use crate::events::Recorder;
use crate::follow::{follow_config, follow_fleet, follow_home, follow_pipelines};
use crate::home::{Home, HomeId};
use crate::lease::Standing;
use crate::metrics::Snapshot;
use crate::notify::{self, Notifier};
use crate::options::{Controller, Options};
use crate::queue::{self, Limits, Outcome, Queue, Ticket};
use crate::{clock, fleet, kustomization, pipeline, probes, promotion, source};

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder for mirrors cannot be used.
    #[error("cannot use the data folder: {0}")]
    DataDir(#[from] fairway_git::Error),
    /// The name for leader election cannot be kept.
    #[error("cannot keep the name for leader election: {0}")]
    Identity(#[from] std::io::Error),
    /// Artifacts can't be served.
    #[error("cannot serve artifacts at {0}: {1}\nhint: --storage-addr sets another address")]
    Artifacts(String, std::io::Error),
    /// The runtime is going down.
    #[error("the runtime is going down: {0}")]
    Runtime(String),
    /// The address for probes or metrics cannot be listened on.
    #[error(
        "cannot listen on {0}: {1}\nhint: --health-addr and --metrics-addr set the addresses, 0 for none"
    )]
    Listen(SocketAddr, std::io::Error),
}

/// The running reconcilers. Dropping it stops them without waiting.
pub struct Engine {
    context: Arc<Context>,
    handle: Handle,
    tasks: JoinSet<()>,
    campaign: JoinSet<()>,
    stop: CancellationToken,
    resign: CancellationToken,
    health_addr: Option<SocketAddr>,
    metrics_addr: Option<SocketAddr>,
}

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
        let (stop, resign) = (CancellationToken::new(), CancellationToken::new());
        let folder = options.data_dir.join("mirrors");
        let mirrors = tokio::task::spawn_blocking(move || Mirrors::open(&folder))
            .await
            .map_err(|error| StartError::Runtime(error.to_string()))??;
        let folder = options.data_dir.join("artifacts");
        let artifacts = Storage::open(&folder, &options.artifacts, stop.clone())
            .await
            .map_err(|error| {
                StartError::Artifacts(options.artifacts.address.clone().unwrap_or_default(), error)
            })?;
        let folder = options.data_dir.join("fetched");
        let fetcher = Fetcher::new(folder, &options.artifacts).map_err(|error| {
            let context = "artifacts can't be fetched".to_owned();
            StartError::DataDir(fairway_git::Error::Io {
                context,
                detail: error.to_string(),
            })
        })?;
        let strictness = Strictness {
            allow_insecure_tls: options.insecure_kubeconfig_tls,
            ..Strictness::default()
        };
        let health = probes::bind(options.health_addr).await?;
        let metrics = probes::bind(options.metrics_addr).await?;
        let mut campaign = JoinSet::new();
        let standings = election::stand(&mut campaign, &hub, &options, resign.clone())?;
        let (notifier, told) = if options.notifies() || options.events_addr.is_some() {
            let (notifier, told) = Notifier::new();
            (notifier, Some(told))
        } else {
            (Notifier::default(), None)
        };
        let teller = notifier.about(HomeId::Hub, names::FLEET_MANAGER);
        let context = Context::new(Parts {
            fleet_events: Recorder::start(hub.client(), teller, stop.clone()),
            notifier: notifier.clone(),
            queues: queues(&options),
            options,
            clock,
            mirrors,
            artifacts,
            fetcher,
            connections: Connections::new(strictness),
            standings,
            stop: stop.clone(),
        });
        let mut engine = Self {
            handle: Handle(Arc::downgrade(&context)),
            context: context.clone(),
            tasks: JoinSet::new(),
            campaign,
            stop: stop.clone(),
            resign,
            health_addr: probes::address(health.as_ref()),
            metrics_addr: probes::address(metrics.as_ref()),
        };
        let target = context.target(hub);
        let home = Home::new(HomeId::Hub, target, &notifier, stop.child_token());
        context.homes.set(home.clone());
        for listener in [
            (health, probes::Page::Probes),
            (metrics, probes::Page::Metrics),
        ] {
            if let (Some(listener), page) = listener {
                let handle = engine.handle.clone();
                engine
                    .tasks
                    .spawn(probes::serve(listener, page, handle, stop.clone()));
            }
        }
        if let Some(told) = told {
            let dispatch = notify::run(Arc::downgrade(&context), told, stop.clone());
            engine.tasks.spawn(dispatch);
        }
        follow_home(&context, &home);
        follow_config(&mut engine.tasks, &context, &home);
        for controller in Controller::ALL {
            // Notifications need no Lease, and begin nothing.
            if context.options.controllers.contains(&controller)
                && controller != Controller::Notification
            {
                let standing = context.standings.of(controller).clone();
                let weak = Arc::downgrade(&context);
                let heard = election::hear(weak, controller, standing, stop.clone());
                engine.tasks.spawn(heard);
            }
        }
        let queues = &context.queues;
        // Sources that are left to others are read too.
        engine.work(&queues.sources, None, source::reconcile);
        let sweep = source::sweep_mirrors(Arc::downgrade(&context), stop.clone());
        engine.tasks.spawn(sweep);
        if context.options.controllers.contains(&Controller::Kustomize) {
            let leads = Some(Controller::Kustomize);
            engine.work(&queues.kustomizations, leads, kustomization::reconcile);
        }
        let is_on = |controller| context.options.controllers.contains(&controller);
        if is_on(Controller::Fleet) || is_on(Controller::Pipeline) {
            follow_fleet(&context, &home);
            follow_pipelines(&context, &home);
        }
        if is_on(Controller::Pipeline) {
            engine.work(&queues.pipelines, None, pipeline::reconcile);
            let leads = Some(Controller::Pipeline);
            engine.work(&queues.promotions, leads, promotion::reconcile);
            engine.work(&queues.audits, leads, promotion::push_audit);
        }
        if is_on(Controller::Fleet) {
            engine.work(&queues.clusters, None, cluster::reconcile);
            engine.work(&queues.fleets, None, fleet::reconcile);
        }
        Ok(engine)
    }

    /// Runs a queue; where it says which controller's work that is, only while this process leads there.
    fn work<K, F, Fut>(&mut self, queue: &Arc<Queue<K>>, leads: Option<Controller>, run: F)
    where
        K: queue::Key,
        F: Fn(Arc<Context>, Ticket<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let context = self.context.clone();
        let standing = leads.map(|controller| context.standings.of(controller).clone());
        let stop = self.stop.clone();
        self.tasks.spawn(queue.clone().run(stop, move |ticket| {
            let (work, standing) = (run(context.clone(), ticket), standing.clone());
            async move {
                match standing {
                    Some(standing) => while_leading(standing, work).await,
                    None => work.await,
                }
            }
        }));
    }

    /// Who leads in place of this engine, if somebody does: with [`Options::leader_election`], nothing is touched then.
    pub fn waits_for(&self) -> Option<String> {
        let standings = self.standings().all();
        standings
            .into_iter()
            .find_map(|(_, standing)| match standing {
                Standing::Following { holder } => Some(holder),
                Standing::Leading | Standing::Waiting => None,
            })
    }

    /// Another engine than Fairway that leads in place of this one.
    pub fn conflict(&self) -> Option<Conflict> {
        self.context.conflict()
    }

    /// Which reconcilers lead.
    pub fn standings(&self) -> &Standings {
        &self.context.standings
    }

    /// Where `/healthz` and `/readyz` are answered.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    /// Where `/metrics` is answered.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// A handle that can poke from elsewhere, and outlives nothing.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops: no new work is begun, running work may come to an end for some seconds. Only then the Leases are let go,
    /// so that whoever takes over finds nobody at work.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let grace = self.context.options.shutdown_grace;
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            let seconds = grace.as_secs();
            tracing::warn!("work was still running after {seconds}s and is given up");
        }
        self.tasks.shutdown().await;
        self.resign.cancel();
        let resigned = async { while self.campaign.join_next().await.is_some() {} };
        if tokio::time::timeout(RESIGN, resigned).await.is_err() {
            tracing::warn!("the Leases could not be let go; they run out by themselves");
        }
    }
}

/// How long letting a Lease go may take.
const RESIGN: Duration = Duration::from_secs(5);

fn queues(options: &Options) -> Queues {
    // Flux's own limit of a quarter of an hour is for remote repositories; what is near is asked more often.
    let limits = |total: usize, per_lane: usize, minutes: u64| Limits {
        total,
        per_lane,
        backoff_max: Duration::from_mins(minutes),
        ..Limits::default()
    };
    Queues {
        sources: Queue::new(limits(16, 1, 15)),
        kustomizations: Queue::new(limits(
            options.concurrent.max(1),
            options.concurrent_per_cluster.max(1),
            1,
        )),
        clusters: Queue::new(limits(64, 1, 1)),
        fleets: Queue::new(limits(8, 1, 1)),
        pipelines: Queue::new(limits(8, 1, 1)),
        promotions: Queue::new(limits(32, 1, 1)),
        audits: Queue::new(limits(8, 1, 1)),
    }
}

impl Deref for Engine {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
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
        self.resign.cancel();
    }
}

/// What can be asked of a running engine; see [`Engine::handle`].
#[derive(Clone)]
pub struct Handle(Weak<Context>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("metrics", &self.metrics())
            .finish()
    }
}

impl Handle {
    /// Fetches the sources of a URL now (as their objects say it, or as it is fetched). Says how many there are; none once
    /// the engine is gone.
    pub fn poke(&self, url: &str) -> usize {
        self.context().map_or(0, |context| context.poke(Some(url)))
    }

    /// Fetches all sources now. Says how many there are.
    pub fn poke_all(&self) -> usize {
        self.context().map_or(0, |context| context.poke(None))
    }

    /// The numbers so far; zeroes once the engine is gone.
    pub fn metrics(&self) -> Snapshot {
        self.context()
            .map_or_else(Snapshot::default, |context| context.snapshot())
    }

    /// Looks at a check with the engine's connections; see [`crate::gates`]. Nothing once the engine is gone.
    pub async fn evaluate(
        &self,
        check: &fairway_types::Check,
        subject: &crate::gates::Subject,
        previous: Option<&fairway_types::Evidence>,
    ) -> Option<crate::gates::Evaluation> {
        let context = self.context()?;
        Some(crate::gates::evaluate(&context, check, subject, previous).await)
    }

    pub(crate) fn context(&self) -> Option<Arc<Context>> {
        self.0.upgrade()
    }
}

/// Listens to what is seen on a target.
pub(crate) fn listen_to(context: &Arc<Context>, target: &Arc<Target>) {
    tokio::spawn(cluster::listen(
        Arc::downgrade(context),
        Arc::downgrade(target),
    ));
}
