//! Which reconcilers of this process lead, and what it means when somebody else does.

use std::sync::{Arc, Weak};

use fairway_apply::Connection;
use fairway_types::names::reason;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::lease::{self, Election, Standing};
use crate::options::{Controller, Options};
use crate::queue::Outcome;

/// What each reconciler of this process may do.
#[derive(Debug, Clone)]
pub struct Standings {
    /// Clusters and FleetKustomizations, Pipelines and Promotions.
    pub fleet: watch::Receiver<Standing>,
    /// GitRepositories.
    pub source: watch::Receiver<Standing>,
    /// Kustomizations.
    pub kustomize: watch::Receiver<Standing>,
    /// Notifications: always led, there is no Lease for them.
    pub notification: watch::Receiver<Standing>,
    leases: Vec<(String, Controller)>,
}

/// Another engine has a Lease that this one wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Name of the Lease.
    pub lease: String,
    /// Who holds it.
    pub holder: String,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "another engine leads: '{}' holds the Lease {}, and nothing is touched\n\
             hint: scale its Deployment to zero to take over, or leave the reconciler to it with --controllers",
            self.holder, self.lease
        )
    }
}

impl Standings {
    /// Everything is led: there are no elections.
    pub(crate) fn alone() -> Self {
        let leading = || watch::channel(Standing::Leading).1;
        Self {
            fleet: leading(),
            source: leading(),
            kustomize: leading(),
            notification: leading(),
            leases: Vec::new(),
        }
    }

    /// The standing of one reconciler.
    pub fn of(&self, controller: Controller) -> &watch::Receiver<Standing> {
        match controller {
            Controller::Fleet | Controller::Pipeline => &self.fleet,
            Controller::Source => &self.source,
            Controller::Kustomize => &self.kustomize,
            Controller::Notification => &self.notification,
        }
    }

    /// Whether a reconciler may touch anything.
    pub fn leads(&self, controller: Controller) -> bool {
        *self.of(controller).borrow() == Standing::Leading
    }

    /// The Leases and who has them.
    pub fn all(&self) -> Vec<(&str, Standing)> {
        self.leases
            .iter()
            .map(|(name, controller)| (name.as_str(), self.of(*controller).borrow().clone()))
            .collect()
    }

    /// Another engine than Fairway in place of this one.
    pub fn conflict(&self) -> Option<Conflict> {
        self.all()
            .into_iter()
            .find_map(|(lease, standing)| match standing {
                Standing::Following { holder } if !lease::is_fairway(&holder) => Some(Conflict {
                    lease: lease.to_owned(),
                    holder,
                }),
                _ => None,
            })
    }
}

/// Takes part in the elections that the options ask for, until `resign`. A controller that is left to somebody else
/// needs no Lease.
pub(crate) fn stand(
    tasks: &mut JoinSet<()>,
    hub: &Connection,
    options: &Options,
    resign: CancellationToken,
) -> std::io::Result<Standings> {
    let mut standings = Standings::alone();
    if !options.leader_election {
        return Ok(standings);
    }
    let leases = options.leases();
    let election = Election {
        names: leases.iter().map(|(_, name)| name.clone()).collect(),
        namespace: options.namespace.clone(),
        me: lease::identity(&options.data_dir)?,
        timing: options.lease_timing,
    };
    let (receivers, campaign) = lease::elect(hub.client(), election, resign);
    for ((controller, name), receiver) in leases.into_iter().zip(receivers) {
        match controller {
            Controller::Fleet | Controller::Pipeline => standings.fleet = receiver,
            Controller::Source => standings.source = receiver,
            Controller::Kustomize => standings.kustomize = receiver,
            Controller::Notification => standings.notification = receiver,
        }
        standings.leases.push((name, controller));
    }
    tasks.spawn(campaign);
    Ok(standings)
}

/// Begins when a reconciler of this process leads, and says so when it does not.
pub(crate) async fn hear(
    context: Weak<Context>,
    controller: Controller,
    mut standing: watch::Receiver<Standing>,
    stop: CancellationToken,
) {
    loop {
        let now = standing.borrow_and_update().clone();
        let Some(context) = context.upgrade() else {
            return;
        };
        match &now {
            Standing::Leading => {
                tracing::info!(controller = controller.name(), "leading");
                context.began_to_lead();
            }
            Standing::Following { holder } if lease::is_fairway(holder) => {
                tracing::info!(
                    controller = controller.name(),
                    holder,
                    "another replica leads"
                );
                context.stopped_leading(controller);
            }
            Standing::Following { holder } => {
                tracing::warn!(
                    controller = controller.name(),
                    holder,
                    reason = reason::ENGINE_CONFLICT,
                    "another engine leads, nothing is touched; hint: scale its Deployment to zero to take over"
                );
                context.stopped_leading(controller);
                context.enqueue_all_fleets();
            }
            Standing::Waiting => context.stopped_leading(controller),
        }
        drop(context);
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Does the work only while this process leads; it is given up where that ends.
pub(crate) async fn while_leading(
    mut standing: watch::Receiver<Standing>,
    work: impl Future<Output = Outcome>,
) -> Outcome {
    if *standing.borrow() != Standing::Leading {
        return Outcome::Done;
    }
    tokio::select! {
        outcome = work => outcome,
        () = lost(&mut standing) => Outcome::Done,
    }
}

/// Until this process leads no more. Without elections that never happens.
async fn lost(standing: &mut watch::Receiver<Standing>) {
    let changed = standing.wait_for(|standing| *standing != Standing::Leading);
    if changed.await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Context {
    /// What another engine does in place of this one.
    pub(crate) fn conflict(&self) -> Option<Conflict> {
        self.standings.conflict()
    }

    fn began_to_lead(self: &Arc<Self>) {
        self.enqueue_everything();
        self.enqueue_all_fleets();
        self.enqueue_all_pipelines();
    }

    /// Whoever leads now changes the clusters: what was known of them is not known any more.
    fn stopped_leading(&self, controller: Controller) {
        if controller == Controller::Kustomize {
            self.memory.clear();
        }
    }
}
