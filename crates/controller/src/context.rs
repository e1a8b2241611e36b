//! What all reconcilers share, and who is told when something changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use fairway_apply::{Connection, Owner};
use fairway_git::Mirrors;
use fairway_types::{
    Cluster, ClusterSelector, ConditionStatus, FleetKustomization, GitRepository, Kustomization, conditions, names,
};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::build::finish::Rendered;
use crate::build::{Builder, spec};
use crate::clock::Clock;
use crate::cluster::residents::resident;
use crate::cluster::{self, Connections, Target};
use crate::engine::listen_to;
use crate::events::Recorder;
use crate::home::{Home, HomeId, Homes, Key};
use crate::kustomization::{ALLOW_EMPTY, Memory};
use crate::metrics::Metrics;
use crate::objects::{Change, Name, Objects};
use crate::options::Options;
use crate::queue::{Lane, Priority, Queue};
use crate::source::{NOT_RUN, Sources};

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
    /// Events about fleet objects.
    pub fleet_events: Recorder,
    /// What sources are at.
    pub sources: Sources,
    /// Local copies of repositories.
    pub mirrors: Mirrors,
    /// Builds.
    pub builder: Arc<Builder>,
    /// Connections by kubeconfig.
    pub connections: Connections,
    /// Work to do.
    pub queues: Queues,
    /// What this process has applied.
    pub memory: Memory,
    /// Which target a Kustomization goes to.
    lanes: Mutex<HashMap<Key, (u64, Lane)>>,
    /// Deployments of Flux controllers that were scaled down, by home and Kustomization.
    superseded: Mutex<HashMap<Key, Vec<String>>>,
    /// Cancelled when the engine stops.
    pub stop: CancellationToken,
    me: Weak<Context>,
}

/// The parts that the engine brings.
pub(crate) struct Parts {
    pub options: Options,
    pub clock: Clock,
    pub mirrors: Mirrors,
    pub fleet_events: Recorder,
    pub queues: Queues,
    pub connections: Connections,
    pub stop: CancellationToken,
}

impl Context {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let builder = Builder::new(parts.options.concurrent_builds, parts.options.build_cache_bytes);
        Arc::new_cyclic(|me| Self {
            options: parts.options,
            clock: parts.clock,
            metrics: Metrics::default(),
            homes: Homes::default(),
            clusters: Arc::default(),
            fleets: Arc::default(),
            selectors: Arc::default(),
            fleet_events: parts.fleet_events,
            sources: Sources::default(),
            mirrors: parts.mirrors,
            builder,
            connections: parts.connections,
            queues: parts.queues,
            memory: Memory::default(),
            lanes: Mutex::default(),
            superseded: Mutex::default(),
            stop: parts.stop,
            me: me.clone(),
        })
    }

    /// The home that the engine was started with.
    pub fn hub(&self) -> Option<Arc<Home>> {
        self.homes.get(&HomeId::Hub)
    }

    /// Wraps a connection as a target that wakes its Kustomizations when it answers again.
    pub(crate) fn target(&self, connection: Connection) -> Arc<Target> {
        let me = self.me.clone();
        let on_up = Arc::new(move |target: &Target| {
            if let Some(context) = me.upgrade() {
                context.target_came_up(target);
            }
        });
        let target = Target::new(connection, self.stop.child_token(), on_up);
        if let Some(me) = self.me.upgrade() {
            listen_to(&me, &target);
        }
        target
    }

    /// The Kustomizations that go to a target.
    pub(crate) fn keys_of(&self, target: &Target) -> Vec<Key> {
        self.lanes().iter().filter(|(_, (id, _))| *id == target.id).map(|(key, _)| key.clone()).collect()
    }

    /// Every target there is.
    fn targets(&self) -> Vec<Arc<Target>> {
        let mut targets = self.connections.all();
        targets.extend(self.homes.all().into_iter().map(|home| home.target.clone()));
        targets
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Key, (u64, Lane)>> {
        self.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers where a Kustomization is applied to.
    pub(crate) fn goes_to(&self, key: &Key, target: &Target) {
        self.lanes().insert(key.clone(), (target.id, target.lane.clone()));
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
            .and_then(|object| object.spec.kube_config.as_ref()?.secret_ref.as_ref().map(|secret| secret.name.clone()));
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
        self.queues.kustomizations.add_with(key, lane, after, priority);
    }

    /// Asks for a run over a Cluster of the hub.
    pub fn enqueue_cluster(&self, name: Name) {
        let lane = Lane::from(name.1.as_str());
        self.queues.clusters.add(name, lane);
    }

    /// Asks for a run over a FleetKustomization of the hub. Changes of many children are taken together.
    pub(crate) fn enqueue_fleet(&self, name: Name, after: Duration) {
        let lane = Lane::from(format!("{}/{}", name.0, name.1));
        self.queues.fleets.add_with(name, lane, after, Priority::Normal);
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
        let Some(home) = self.homes.get(&source.home) else { return };
        for object in home.kustomizations.all() {
            if source_key(&home.id, &object).as_ref() == Some(source) {
                self.enqueue_kustomization(key_of(&home.id, &*object));
            }
        }
    }

    /// A Kustomization is ready: who waited for that looks again.
    fn notify_dependents(&self, dependency: &Key) {
        let Some(home) = self.homes.get(&dependency.home) else { return };
        for object in home.kustomizations.all() {
            let namespace = object.namespace().unwrap_or_default();
            let depends = object.spec.depends_on.iter().any(|reference| {
                reference.name == dependency.name
                    && *reference.namespace.as_ref().unwrap_or(&namespace) == dependency.namespace
            });
            if depends && !self.is_settled(&home.id, &object) {
                self.enqueue_kustomization(key_of(&home.id, &*object));
            }
        }
    }

    /// Whether a Kustomization is ready at the newest revision, so that nothing else can help it.
    fn is_settled(&self, home: &HomeId, object: &Kustomization) -> bool {
        let Some(status) = &object.status else { return false };
        let source = source_key(home, object).and_then(|key| self.sources.get(&key));
        conditions::is_true(&status.conditions, names::READY)
            && status.observed_generation == object.metadata.generation
            && source.is_some_and(|source| status.last_applied_revision.as_deref() == Some(&source.revision))
    }

    /// A Secret or ConfigMap of a home has changed.
    pub(crate) fn notify_config(&self, home: &Home, kind: &str, namespace: &str, name: &str, watched: bool) {
        if kind == "Secret" {
            self.connections.invalidate(&home.id, namespace, name);
            if home.id == HomeId::Hub {
                for cluster in self.clusters.all() {
                    let refers = cluster.spec.kube_config.as_ref().is_some_and(|kc| kc.secret_ref.name == name);
                    if refers && cluster.namespace().as_deref() == Some(namespace) {
                        self.enqueue_cluster((namespace.to_owned(), cluster.name_any()));
                    }
                }
            }
        }
        for object in home.kustomizations.all() {
            if object.namespace().as_deref() != Some(namespace) {
                continue;
            }
            let spec = &object.spec;
            let is_kubeconfig = kind == "Secret"
                && spec.kube_config.iter().filter_map(|kc| kc.secret_ref.as_ref()).any(|secret| secret.name == name);
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
                let refers = object.spec.secret_ref.as_ref().is_some_and(|secret| secret.name == name);
                if refers && object.namespace().as_deref() == Some(namespace) {
                    self.enqueue_source(key_of(&home.id, &*object));
                }
            }
        }
    }

    /// What a change of a GitRepository means.
    pub(crate) fn repository_changed(&self, home: &HomeId, change: &Change<GitRepository>) {
        match change {
            Change::Set { old, new } => {
                if needs_run(old.as_deref(), &**new) {
                    self.enqueue_source(key_of(home, &**new));
                }
                let ready = |object: &GitRepository| {
                    let status = object.status.as_ref()?;
                    Some(conditions::get(&status.conditions, names::READY)?.reason.clone())
                };
                // Kustomizations that were told there is no such source, or that it is not run.
                if old.is_none() || old.as_deref().and_then(ready) != ready(new) {
                    self.notify_source(&key_of(home, &**new));
                }
            }
            Change::Gone(object) => {
                let key = key_of(home, &**object);
                self.sources.remove(&key);
                self.queues.sources.forget(&key);
                self.notify_source(&key);
            }
        }
    }

    /// What a change of a Kustomization means.
    pub(crate) fn kustomization_changed(&self, home: &HomeId, change: &Change<Kustomization>) {
        let object = match change {
            Change::Set { old, new } => {
                if needs_run(old.as_deref(), &**new) {
                    self.enqueue_kustomization(key_of(home, &**new));
                }
                let seen = |object: &Kustomization| {
                    let status = object.status.as_ref()?;
                    let ready = conditions::get(&status.conditions, names::READY)?;
                    let reason = ready.reason.clone();
                    Some((ready.status, reason, status.last_applied_revision.clone(), status.observed_generation))
                };
                let (before, after) = (old.as_deref().and_then(seen), seen(new));
                if before == after && old.is_some() {
                    return;
                }
                if let Some((status, reason, ..)) = after
                    && (status == ConditionStatus::True || reason == NOT_RUN)
                {
                    self.notify_dependents(&key_of(home, &**new));
                }
                new
            }
            Change::Gone(object) => {
                let key = key_of(home, &**object);
                self.queues.kustomizations.forget(&key);
                self.memory.forget(&key);
                let went_to = self.lanes().remove(&key);
                if let Some((id, _)) = went_to {
                    let owner = Owner { name: key.name.clone(), namespace: key.namespace.clone() };
                    for target in self.targets().iter().filter(|target| target.id == id) {
                        target.observer.forget(&owner);
                    }
                }
                self.superseded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&key);
                object
            }
        };
        if *home == HomeId::Hub
            && let Some(fleet) = object.labels().get(names::FLEET_NAME)
        {
            let pause = Duration::from_millis(150) + Duration::from_millis(1) * self.clusters.len() as u32;
            self.enqueue_fleet((object.namespace().unwrap_or_default(), fleet.clone()), pause);
        }
    }

    /// What a change of a Cluster means.
    pub(crate) fn cluster_changed(&self, change: &Change<Cluster>) {
        match change {
            Change::Set { old, new } => {
                let name = (new.namespace().unwrap_or_default(), new.name_any());
                if needs_run(old.as_deref(), &**new) {
                    self.enqueue_cluster(name);
                }
                let selects = |cluster: &Cluster| {
                    (cluster.labels().clone(), cluster.metadata.generation, cluster.metadata.uid.clone())
                };
                if old.as_deref().map(selects) != Some(selects(new)) {
                    self.enqueue_fleets_of(&new.namespace().unwrap_or_default());
                }
            }
            Change::Gone(cluster) => {
                self.enqueue_cluster((cluster.namespace().unwrap_or_default(), cluster.name_any()));
                self.enqueue_fleets_of(&cluster.namespace().unwrap_or_default());
            }
        }
    }

    /// What a change of a FleetKustomization means.
    pub(crate) fn fleet_changed(&self, change: &Change<FleetKustomization>) {
        match change {
            Change::Set { old, new } => {
                if needs_run(old.as_deref(), &**new) {
                    self.enqueue_fleet((new.namespace().unwrap_or_default(), new.name_any()), Duration::ZERO);
                }
            }
            Change::Gone(fleet) => {
                self.queues.fleets.forget(&(fleet.namespace().unwrap_or_default(), fleet.name_any()));
            }
        }
    }

    /// What a change of a named rule means.
    pub(crate) fn selector_changed(&self, change: &Change<ClusterSelector>) {
        let (Change::Set { new: rule, .. } | Change::Gone(rule)) = change;
        self.enqueue_fleets_of(&rule.namespace().unwrap_or_default());
    }

    /// In a synced cluster Flux's own controllers are scaled down: this engine is in their place.
    pub(crate) fn stand_in(&self, key: &Key, rendered: Arc<Rendered>) -> Arc<Rendered> {
        let HomeId::Cluster(name) = &key.home else { return rendered };
        let mut objects = rendered.objects.clone();
        let superseded = cluster::supersede(&mut objects);
        let mut known = self.superseded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if superseded.is_empty() {
            known.remove(key);
            return rendered;
        }
        if known.insert(key.clone(), superseded.clone()).as_ref() != Some(&superseded) {
            self.enqueue_cluster(name.clone());
        }
        Arc::new(Rendered { objects, digest: rendered.digest.clone() })
    }

    /// What [`Self::stand_in`] scaled down in a home.
    pub(crate) fn superseded(&self, home: &HomeId) -> Vec<String> {
        let known = self.superseded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut list: Vec<String> =
            known.iter().filter(|(key, _)| key.home == *home).flat_map(|(_, names)| names.clone()).collect();
        list.sort();
        list
    }

    /// Another owner of the same path on the same cluster: a Kustomization that lives there, for one that a fleet
    /// points there, and the other way round.
    pub(crate) fn owner_conflict(&self, object: &Kustomization, key: &Key, target: &Target) -> Option<String> {
        let path = spec::path(&object.spec);
        let hint = "hint: take the cluster out of the fleet's selection, or take its own Flux objects and spec.sync away";
        if key.home == HomeId::Hub {
            let (fleet, cluster) =
                (object.labels().get(names::FLEET_NAME)?, object.labels().get(names::CLUSTER_NAME)?);
            let id = HomeId::Cluster((key.namespace.clone(), cluster.clone()));
            let resident = match self.homes.get(&id) {
                Some(home) => home
                    .kustomizations
                    .all()
                    .iter()
                    .filter_map(|object| resident(object))
                    .find(|resident| resident.path == path),
                None => target.residents.at(&path),
            }?;
            return Some(format!(
                "cluster '{cluster}' has two owners for path './{path}': FleetKustomization '{}/{fleet}' by this \
                 Kustomization, and Kustomization '{}/{}' that lives in the cluster; nothing is applied\n{hint}",
                key.namespace, resident.namespace, resident.name
            ));
        }
        let HomeId::Cluster((namespace, cluster)) = &key.home else { return None };
        if object.spec.kube_config.is_some() {
            return None;
        }
        let hub = self.hub()?;
        let other = hub.kustomizations.all().into_iter().find(|other| {
            other.namespace().as_ref() == Some(namespace)
                && other.labels().get(names::CLUSTER_NAME) == Some(cluster)
                && other.labels().contains_key(names::FLEET_NAME)
                && !other.spec.suspend
                && other.metadata.deletion_timestamp.is_none()
                && spec::path(&other.spec) == path
        })?;
        Some(format!(
            "cluster '{cluster}' has two owners for path './{path}': Cluster '{namespace}/{cluster}' with spec.sync by \
             this Kustomization, and Kustomization '{namespace}/{}' of FleetKustomization '{}' on the hub; nothing is \
             applied\n{hint}",
            other.name_any(),
            other.labels().get(names::FLEET_NAME).map_or("", String::as_str),
        ))
    }

    fn target_came_up(&self, target: &Target) {
        for key in self.keys_of(target) {
            self.enqueue_kustomization(key);
        }
        for cluster in self.clusters.all() {
            self.enqueue_cluster((cluster.namespace().unwrap_or_default(), cluster.name_any()));
        }
    }

    /// The credential of the hub's source for a synced cluster's source of the same URL: what bootstrap would have
    /// copied into the cluster.
    pub(crate) async fn bootstrap_credentials(&self, key: &Key, url: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let HomeId::Cluster((namespace, name)) = &key.home else { return None };
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
        Some(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    /// Fetches now what has this URL, whatever its interval; `None` fetches everything. Says how many sources that is.
    pub fn poke(&self, url: Option<&str>) -> usize {
        let same = |a: &str, b: &str| a.trim_end_matches('/').trim_end_matches(".git") == b.trim_end_matches('/').trim_end_matches(".git");
        let fetched_from = |written: &str| match &self.options.remotes {
            crate::options::Remotes::Only(served) => served.get(written).cloned(),
            crate::options::Remotes::All => None,
        };
        let mut count = 0;
        for home in self.homes.all() {
            for object in home.repositories.all() {
                let wanted = url.is_none_or(|url| {
                    same(url, &object.spec.url) || fetched_from(&object.spec.url).is_some_and(|from| same(url, &from))
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
    Key::new(home, object.namespace().unwrap_or_default(), object.name_any())
}

/// The GitRepository that a Kustomization is built from.
pub(crate) fn source_key(home: &HomeId, object: &Kustomization) -> Option<Key> {
    let reference = &object.spec.source_ref;
    if reference.kind != "GitRepository" {
        return None;
    }
    let namespace = reference.namespace.clone().or_else(|| object.namespace()).unwrap_or_default();
    Some(Key::new(home, namespace, &reference.name))
}

/// Whether an object is to be looked at: it is new, its spec or a request of the user has changed, or it is to go.
/// What we write ourselves into a status is not.
pub(crate) fn needs_run<K: kube::Resource>(old: Option<&K>, new: &K) -> bool {
    let Some(old) = old else { return true };
    old.meta().uid != new.meta().uid
        || old.meta().generation != new.meta().generation
        || old.annotations().get(names::REQUESTED_AT) != new.annotations().get(names::REQUESTED_AT)
        || old.annotations().get(ALLOW_EMPTY) != new.annotations().get(ALLOW_EMPTY)
        || old.meta().deletion_timestamp != new.meta().deletion_timestamp
}

/// Whether what a user asks for with the annotation is still to be done.
pub(crate) fn is_requested<K: kube::Resource>(object: &K, handled: Option<&str>) -> bool {
    object.annotations().get(names::REQUESTED_AT).is_some_and(|at| Some(at.as_str()) != handled)
}
