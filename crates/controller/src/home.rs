//! A home is a cluster whose own Flux objects are reconciled here: the hub, and each cluster with `spec.sync`.
//!
//! Reconcilers are the same for all of them. A home brings its connection, what is known of its objects, and where its
//! events go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use fairway_apply::Connection;
use fairway_types::{Alert, GitRepository, Kustomization, Provider};
use tokio_util::sync::CancellationToken;

use crate::cluster::Target;
use crate::events::Recorder;
use crate::notify::Notifier;
use crate::objects::{Name, Objects};

/// Which home.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HomeId {
    /// The cluster that the engine was started with.
    Hub,
    /// A cluster with `spec.sync`, by namespace and name of the Cluster on the hub.
    Cluster(Name),
}

impl fmt::Display for HomeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("hub"),
            Self::Cluster((namespace, name)) => write!(f, "{namespace}/{name}"),
        }
    }
}

/// An object of a home.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The home.
    pub home: HomeId,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// The key of an object of this home.
    pub fn new(home: &HomeId, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            home: home.clone(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.home {
            HomeId::Hub => write!(f, "{}/{}", self.namespace, self.name),
            home @ HomeId::Cluster(_) => write!(f, "{home}:{}/{}", self.namespace, self.name),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Home {
    /// Which one.
    pub id: HomeId,
    /// How it is reached, with the engine's own credentials.
    pub connection: Connection,
    /// The same cluster as one that is applied to.
    pub target: Arc<Target>,
    /// Its GitRepositories.
    pub repositories: Arc<Objects<GitRepository>>,
    /// Its Kustomizations.
    pub kustomizations: Arc<Objects<Kustomization>>,
    /// Its Alerts.
    pub alerts: Arc<Objects<Alert>>,
    /// Its Providers.
    pub providers: Arc<Objects<Provider>>,
    /// Cancelled where Alerts were not served when they were looked for.
    pub no_alerts: CancellationToken,
    /// Where events about its sources go.
    pub source_events: Recorder,
    /// Where events about its Kustomizations go.
    pub kustomize_events: Recorder,
    /// Cancelled when the home is given up.
    pub stop: CancellationToken,
}

impl Home {
    /// A home of which nothing is known yet.
    pub fn new(
        id: HomeId,
        target: Arc<Target>,
        notifier: &Notifier,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let connection = target.connection.clone();
        let recorder = |component| {
            let teller = notifier.about(id.clone(), component);
            Recorder::start(connection.client(), teller, stop.clone())
        };
        Arc::new(Self {
            source_events: recorder(fairway_types::names::SOURCE_CONTROLLER),
            kustomize_events: recorder(fairway_types::names::KUSTOMIZE_CONTROLLER),
            id,
            connection,
            target,
            repositories: Arc::default(),
            kustomizations: Arc::default(),
            alerts: Arc::default(),
            providers: Arc::default(),
            no_alerts: stop.child_token(),
            stop,
        })
    }
}

/// All homes.
#[derive(Debug, Default)]
pub struct Homes(RwLock<BTreeMap<HomeId, Arc<Home>>>);

impl Homes {
    /// The home of this id.
    pub fn get(&self, id: &HomeId) -> Option<Arc<Home>> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// All homes, the hub first.
    pub fn all(&self) -> Vec<Arc<Home>> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Adds or replaces a home; the one that was there before is stopped.
    pub fn set(&self, home: Arc<Home>) {
        let old = self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(home.id.clone(), home);
        if let Some(old) = old {
            old.stop.cancel();
        }
    }

    /// Stops a home and forgets it.
    pub fn remove(&self, id: &HomeId) -> Option<Arc<Home>> {
        let old = self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(id);
        if let Some(old) = &old {
            old.stop.cancel();
        }
        old
    }
}
