//! What all reconcilers share, and who is told when something changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use fairway_apply::Connection;
use fairway_git::Mirrors;
use fairway_types::reference::KubeConfigReference;
use fairway_types::{
    Approval, Cluster, ClusterSelector, FleetKustomization, GitRepository, Kustomization, Pipeline,
    Promotion, conditions, names,
};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::artifact::{Fetcher, Storage};
use crate::build::Builder;
use crate::clock::Clock;
use crate::cluster::{Connections, Target};
use crate::election::Standings;
use crate::engine::listen_to;
use crate::events::Recorder;
use crate::home::{Home, HomeId, Homes, Key};
use crate::kustomization::Memory;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::objects::{Name, Objects, name_of};
use crate::options::{Controller, Options};
use crate::outbound::Outbound;
use crate::promotion::{Versions, Whoami};
use crate::queue::{Lane, Priority, Queue};
use crate::rollout::{self, Gate};
use crate::source::external::{self, Externals};
use crate::source::{Apps, Sources};

/// The queues, one for each kind of work, so that none can hold up another.
#[derive(Debug)]
pub struct Queues {
    /// GitRepositories.
    pub sources: Arc<Queue<Key>>,
    /// Kustomizations.
    pub kustomizations: Arc<Queue<Key>>,
    /// Clusters of the hub.
    pub clusters: Arc<Queue<Name>>,
    /// FleetKustomizations of the hub.
    pub fleets: Arc<Queue<Name>>,
    /// Pipelines of the hub.
    pub pipelines: Arc<Queue<Name>>,
    /// Promotions of the hub.
    pub promotions: Arc<Queue<Name>>,
    /// Promotions with entries for the audit log.
    pub audits: Arc<Queue<Name>>,
}

/// See the module.
pub struct Context {
    /// What the engine was told.
    pub options: Options,
    /// The time of day.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// The hub and the synced clusters.
    pub homes: Homes,
    /// Clusters of the hub.
    pub clusters: Arc<Objects<Cluster>>,
    /// FleetKustomizations of the hub.
    pub fleets: Arc<Objects<FleetKustomization>>,
    /// Named rules of the hub.
    pub selectors: Arc<Objects<ClusterSelector>>,
    /// Pipelines of the hub.
    pub pipelines: Arc<Objects<Pipeline>>,
    /// Promotions of the hub.
    pub promotions: Arc<Objects<Promotion>>,
    /// Approvals of the hub.
    pub approvals: Arc<Objects<Approval>>,
    /// Versions at commits.
    pub(crate) versions: Versions,
    /// How many entries of each Promotion (by uid) are in the audit log.
    pub(crate) audited: Mutex<HashMap<String, i64>>,
    /// Who this process is to the hub.
    pub(crate) whoami: Whoami,
    /// Events about fleet objects.
    pub fleet_events: Recorder,
    /// What sources are at.
    pub sources: Sources,
    /// What sources of other controllers are at.
    pub externals: Externals,
    /// Tokens of GitHub Apps.
    pub apps: Apps,
    /// Local copies of repositories.
    pub mirrors: Mirrors,
    /// What is served to others.
    pub artifacts: Storage,
    /// Reads what others serve.
    pub fetcher: Fetcher,
    /// Is told of every event.
    pub notifier: Notifier,
    /// Asks servers of others: checks, notifications.
    pub outbound: Outbound,
    /// Builds.
    pub builder: Arc<Builder>,
    /// Connections by kubeconfig.
    pub connections: Connections,
    /// Work to do.
    pub queues: Queues,
    /// What this process has applied.
    pub memory: Memory,
    /// What children of rollouts may apply.
    pub gate: Gate,
    /// Which target a Kustomization goes to.
    pub(crate) lanes: Mutex<HashMap<Key, (u64, Lane)>>,
    /// Which target a Cluster leads to.
    pub(crate) cluster_targets: Mutex<HashMap<Name, u64>>,
    /// Deployments of Flux controllers that were scaled down, by home and Kustomization.
    pub(crate) superseded_by: Mutex<HashMap<Key, Vec<String>>>,
    /// Which reconcilers may touch anything.
    pub standings: Standings,
    /// Cancelled when the engine stops.
    pub stop: CancellationToken,
    me: Weak<Context>,
}

/// The parts that the engine brings.
pub(crate) struct Parts {
    pub options: Options,
    pub clock: Clock,
    pub mirrors: Mirrors,
    pub artifacts: Storage,
    pub fetcher: Fetcher,
    pub notifier: Notifier,
    pub fleet_events: Recorder,
    pub queues: Queues,
    pub connections: Connections,
    pub standings: Standings,
    pub stop: CancellationToken,
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let builder = Builder::new(
            parts.options.concurrent_builds,
            parts.options.build_cache_bytes,
        );
        Arc::new_cyclic(|me| Self {
            notifier: parts.notifier,
            outbound: Outbound::new(parts.options.allow_link_local_urls),
            options: parts.options,
            clock: parts.clock,
            metrics: Metrics::default(),
            homes: Homes::default(),
            clusters: Arc::default(),
            fleets: Arc::default(),
            selectors: Arc::default(),
            pipelines: Arc::default(),
            promotions: Arc::default(),
            approvals: Arc::default(),
            versions: Versions::default(),
            audited: Mutex::default(),
            whoami: Whoami::default(),
            fleet_events: parts.fleet_events,
            sources: Sources::default(),
            externals: Externals::default(),
            apps: Apps::default(),
            mirrors: parts.mirrors,
            artifacts: parts.artifacts,
            fetcher: parts.fetcher,
            builder,
            connections: parts.connections,
            queues: parts.queues,
            memory: Memory::default(),
            gate: Gate::default(),
            lanes: Mutex::default(),
            cluster_targets: Mutex::default(),
            superseded_by: Mutex::default(),
            standings: parts.standings,
            stop: parts.stop,
            me: me.clone(),
        })
    }

    /// Everything is looked at: this process leads from now on.
    pub(crate) fn enqueue_everything(&self) {
        for home in self.homes.all() {
            for object in home.repositories.all() {
                self.enqueue_source(key_of(&home.id, &*object));
            }
            for object in home.kustomizations.all() {
                self.enqueue_kustomization(key_of(&home.id, &*object));
            }
        }
    }

    /// Whether a source is fetched and its status written here. What others have is only read: of another shard, of a
    /// controller that is left to Flux, or of one that Flux leads just now.
    pub(crate) fn owns_source(&self, object: &GitRepository) -> bool {
        self.options.controllers.contains(&Controller::Source)
            && self.standings.leads(Controller::Source)
            && self.options.selects(object.labels())
    }

    /// For what must not keep the engine alive.
    pub(crate) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    /// The home that the engine was started with.
    pub fn hub(&self) -> Option<Arc<Home>> {
        self.homes.get(&HomeId::Hub)
    }

    /// Wraps a connection as a target that wakes its Kustomizations when it answers again.
    pub(crate) fn target(&self, connection: Connection) -> Arc<Target> {
        let me = self.me.clone();
        let on_turn = Arc::new(move |target: &Target| {
            if let Some(context) = me.upgrade() {
                context.target_turned(target);
            }
        });
        let target = Target::new(connection, self.stop.child_token(), on_turn);
        if let Some(me) = self.me.upgrade() {
            listen_to(&me, &target);
        }
        target
    }

    /// The Kustomizations that go to a target.
    pub(crate) fn keys_of(&self, target: &Target) -> Vec<Key> {
        self.lanes()
            .iter()
            .filter(|(_, (id, _))| *id == target.id)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Every target there is.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        let mut targets = self.connections.all();
        targets.extend(self.homes.all().into_iter().map(|home| home.target.clone()));
        targets
    }

    pub(crate) fn lanes(&self) -> MutexGuard<'_, HashMap<Key, (u64, Lane)>> {
        self.lanes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers where a Kustomization is applied to.
    pub(crate) fn goes_to(&self, key: &Key, target: &Target) {
        self.lanes()
            .insert(key.clone(), (target.id, target.lane.clone()));
    }

    /// The lane of a Kustomization: its cluster where that is known, else what its spec says.
    fn lane(&self, key: &Key) -> Lane {
        if let Some((_, lane)) = self.lanes().get(key) {
            return lane.clone();
        }
        let secret = self
            .homes
            .get(&key.home)
            .and_then(|home| home.kustomizations.get(&key.namespace, &key.name))
            .and_then(|object| {
                let reference = object.spec.kube_config.as_ref()?;
                let secret = reference.secret_ref.as_ref().map(|secret| &secret.name);
                let map = reference.config_map_ref.as_ref().map(|map| &map.name);
                secret.or(map).cloned()
            });
        Lane::from(match secret {
            Some(secret) => format!("{}/{}/{secret}", key.home, key.namespace),
            None => key.home.to_string(),
        })
    }

    /// Asks for a run over a source.
    pub fn enqueue_source(&self, key: Key) {
        let lane = Lane::from(key.to_string());
        self.queues.sources.add(key, lane);
    }

    /// Asks for a run over a Kustomization.
    pub fn enqueue_kustomization(&self, key: Key) {
        self.enqueue_kustomization_with(key, Duration::ZERO, Priority::Normal);
    }

    /// Asks for a run over a Kustomization later, or when there is nothing better to do.
    pub(crate) fn enqueue_kustomization_with(&self, key: Key, after: Duration, priority: Priority) {
        let lane = self.lane(&key);
        self.queues
            .kustomizations
            .add_with(key, lane, after, priority);
    }

    /// Asks for a run over a Cluster of the hub.
    pub fn enqueue_cluster(&self, name: Name) {
        let lane = Lane::from(name.1.as_str());
        self.queues.clusters.add(name, lane);
    }

    /// Asks for a run over a FleetKustomization of the hub. Changes of many children are taken together.
    pub(crate) fn enqueue_fleet(&self, name: Name, after: Duration) {
        let lane = Lane::from(format!("{}/{}", name.0, name.1));
        self.queues
            .fleets
            .add_with(name, lane, after, Priority::Normal);
    }

    /// Asks for a run over every Cluster and FleetKustomization.
    pub(crate) fn enqueue_all_fleets(&self) {
        for cluster in self.clusters.all() {
            self.enqueue_cluster((cluster.namespace().unwrap_or_default(), cluster.name_any()));
        }
        for fleet in self.fleets.all() {
            let name = (fleet.namespace().unwrap_or_default(), fleet.name_any());
            self.enqueue_fleet(name, Duration::ZERO);
        }
    }

    /// Asks for a run over all FleetKustomizations of a namespace.
    pub(crate) fn enqueue_fleets_of(&self, namespace: &str) {
        for fleet in self.fleets.all() {
            if fleet.namespace().as_deref() == Some(namespace) {
                self.enqueue_fleet((namespace.to_owned(), fleet.name_any()), Duration::ZERO);
            }
        }
    }

    /// A source has a new revision: everything that is built from it is looked at.
    pub(crate) fn notify_source(&self, source: &Key) {
        let Some(home) = self.homes.get(&source.home) else {
            return;
        };
        for object in home.kustomizations.all() {
            if source_key(&home.id, &object).as_ref() == Some(source) {
                self.enqueue_kustomization(key_of(&home.id, &*object));
            }
        }
        if home.id == HomeId::Hub {
            let name = source.name.rsplit('/').next().unwrap_or_default();
            for fleet in self.fleets.all() {
                if rollout::may_use(fleet.spec.rollout.as_ref(), &fleet, name) {
                    self.enqueue_fleet(name_of(&*fleet), Duration::ZERO);
                }
            }
        }
        self.notify_pipelines_of_source(source);
    }

    /// A source says something new of itself: who may wait for that looks again. Who is at work has its revision.
    pub(crate) fn notify_waiting(&self, source: &Key) {
        let Some(home) = self.homes.get(&source.home) else {
            return;
        };
        for object in home.kustomizations.all() {
            let key = key_of(&home.id, &*object);
            if source_key(&home.id, &object).as_ref() == Some(source)
                && !self.memory.has_begun(&key)
            {
                self.enqueue_kustomization(key);
            }
        }
    }

    /// A Kustomization is ready: who waited for that looks again. Where it has only changed, who asks for more than that
    /// by an expression does.
    pub(crate) fn notify_dependents(&self, dependency: &Key, is_ready: bool) {
        let Some(home) = self.homes.get(&dependency.home) else {
            return;
        };
        for object in home.kustomizations.all() {
            let depends = object.spec.depends_on.iter().any(|reference| {
                let namespace = reference.namespace.as_deref();
                let namespace = namespace.or(object.metadata.namespace.as_deref());
                (is_ready || reference.ready_expr.is_some())
                    && reference.name == dependency.name
                    && namespace == Some(&dependency.namespace)
            });
            if !depends {
                continue;
            }
            let key = key_of(&home.id, &*object);
            // Who is past its own look at dependencies would only be interrupted.
            if !self.memory.has_begun(&key) && !self.is_settled(&home.id, &object) {
                self.enqueue_kustomization(key);
            }
        }
    }

    /// Whether a Kustomization is ready at the newest revision, so that nothing else can help it.
    fn is_settled(&self, home: &HomeId, object: &Kustomization) -> bool {
        let Some(status) = &object.status else {
            return false;
        };
        let source = source_key(home, object).and_then(|key| self.sources.get(&key));
        conditions::is_true(&status.conditions, names::READY)
            && status.observed_generation == object.metadata.generation
            && source.is_some_and(|source| {
                status.last_applied_revision.as_deref() == Some(&source.revision)
            })
    }

    /// A Secret or ConfigMap of a home has changed.
    pub(crate) fn notify_config(
        &self,
        home: &Home,
        kind: &str,
        namespace: &str,
        name: &str,
        watched: bool,
    ) {
        self.connections.invalidate(&home.id, kind, namespace, name);
        let leads_there = |reference: &KubeConfigReference| {
            let secret = reference.secret_ref.as_ref().map(|secret| &secret.name);
            let map = reference.config_map_ref.as_ref().map(|map| &map.name);
            (kind == "Secret" && secret.is_some_and(|found| found == name))
                || (kind == "ConfigMap" && map.is_some_and(|found| found == name))
        };
        if home.id == HomeId::Hub {
            for cluster in self.clusters.all() {
                let refers = cluster.spec.kube_config.as_ref().is_some_and(leads_there);
                if refers && cluster.namespace().as_deref() == Some(namespace) {
                    self.enqueue_cluster((namespace.to_owned(), cluster.name_any()));
                }
            }
        }
        for object in home.kustomizations.all() {
            if object.namespace().as_deref() != Some(namespace) {
                continue;
            }
            let spec = &object.spec;
            let is_kubeconfig = spec.kube_config.as_ref().is_some_and(leads_there);
            let is_variable = watched
                && spec
                    .post_build
                    .iter()
                    .flat_map(|post_build| &post_build.substitute_from)
                    .any(|reference| reference.kind == kind && reference.name == name);
            if is_kubeconfig || is_variable {
                self.enqueue_kustomization(key_of(&home.id, &*object));
            }
        }
        if kind == "Secret" {
            for object in home.repositories.all() {
                let spec = &object.spec;
                let verification = spec.verification.as_ref().map(|verify| &verify.secret_ref);
                let refers = [
                    spec.secret_ref.as_ref(),
                    spec.proxy_secret_ref.as_ref(),
                    verification,
                ]
                .into_iter()
                .flatten()
                .any(|secret| secret.name == name);
                if refers && object.namespace().as_deref() == Some(namespace) {
                    self.enqueue_source(key_of(&home.id, &*object));
                }
            }
        }
    }

    /// A target has stopped answering, or answers again.
    fn target_turned(&self, target: &Target) {
        if target.why_down().is_none() {
            for key in self.keys_of(target) {
                self.enqueue_kustomization(key);
            }
        }
        let clusters = self
            .cluster_targets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let names: Vec<Name> = clusters
            .iter()
            .filter(|(_, id)| **id == target.id)
            .map(|(name, _)| name.clone())
            .collect();
        drop(clusters);
        for name in names {
            self.enqueue_cluster(name);
        }
    }

    /// Remembers which target a Cluster leads to.
    pub(crate) fn cluster_leads_to(&self, name: Name, target: &Target) {
        let mut clusters = self
            .cluster_targets
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        clusters.insert(name, target.id);
    }

    /// The credential of the hub's source for a synced cluster's source of the same URL: what bootstrap would have
    /// copied into the cluster.
    pub(crate) async fn bootstrap_credentials(
        &self,
        key: &Key,
        url: &str,
    ) -> Option<BTreeMap<String, Vec<u8>>> {
        let HomeId::Cluster((namespace, name)) = &key.home else {
            return None;
        };
        let cluster = self.clusters.get(namespace, name)?;
        let reference = &cluster.spec.sync.as_ref()?.source_ref;
        let hub = self.hub()?;
        let source_namespace = reference.namespace.as_deref().unwrap_or(namespace);
        let source = hub.repositories.get(source_namespace, &reference.name)?;
        if source.spec.url != url {
            return None;
        }
        let secret = source.spec.secret_ref.as_ref()?;
        let api: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::namespaced(hub.connection.client(), source_namespace);
        let secret = api.get_opt(&secret.name).await.ok()??;
        Some(
            secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect(),
        )
    }

    /// Fetches now what has this URL, whatever its interval; `None` fetches everything. Says how many sources that is.
    pub fn poke(&self, url: Option<&str>) -> usize {
        let same = |a: &str, b: &str| {
            a.trim_end_matches('/').trim_end_matches(".git")
                == b.trim_end_matches('/').trim_end_matches(".git")
        };
        let fetched_from = |written: &str| match &self.options.remotes {
            crate::options::Remotes::Only(served) => served.get(written).cloned(),
            crate::options::Remotes::All => None,
        };
        let mut count = 0;
        for home in self.homes.all() {
            for object in home.repositories.all() {
                let wanted = url.is_none_or(|url| {
                    same(url, &object.spec.url)
                        || fetched_from(&object.spec.url).is_some_and(|from| same(url, &from))
                });
                if wanted && !object.spec.suspend {
                    self.enqueue_source(key_of(&home.id, &*object));
                    count += 1;
                }
            }
        }
        count
    }
}

/// The key of an object of a home.
pub(crate) fn key_of<K: kube::Resource>(home: &HomeId, object: &K) -> Key {
    Key::new(
        home,
        object.namespace().unwrap_or_default(),
        object.name_any(),
    )
}

/// The source that a Kustomization is built from; `None` for a kind that is not known.
pub(crate) fn source_key(home: &HomeId, object: &Kustomization) -> Option<Key> {
    let reference = &object.spec.source_ref;
    let namespace = reference
        .namespace
        .clone()
        .or_else(|| object.namespace())
        .unwrap_or_default();
    if reference.kind != "GitRepository" {
        return external::key(home, &reference.kind, &namespace, &reference.name);
    }
    Some(Key::new(home, namespace, &reference.name))
}

/// Whether what a user asks for with the annotation is still to be done.
pub(crate) fn is_requested<K: kube::Resource>(object: &K, handled: Option<&str>) -> bool {
    object
        .annotations()
        .get(names::REQUESTED_AT)
        .is_some_and(|at| Some(at.as_str()) != handled)
}
