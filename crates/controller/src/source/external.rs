//! Sources that somebody else brings up to date: OCIRepositories, Buckets, ExternalArtifacts, and GitRepositories where
//! source-controller (or another shard) has them. What their `status.artifact` names is fetched and read.
//!
//! A kind is followed from the first time that a Kustomization refers to it; where nothing does, nothing is asked.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use fairway_git::{Reference, Revision};
use fairway_types::GitRepository;
use fairway_types::git_repository::Artifact;
use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::discovery::oneshot;
use kube::{Client, ResourceExt as _};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event};

use super::{Source, access};
use crate::artifact::FetchError;
use crate::context::{Context, key_of};
use crate::home::{Home, HomeId, Key};
use crate::queue::Outcome;

/// The kinds besides GitRepository, with their names in addresses.
const KINDS: [(&str, &str); 3] = [
    ("OCIRepository", "ocirepositories"),
    ("Bucket", "buckets"),
    ("ExternalArtifact", "externalartifacts"),
];

/// Where a kind is not served (yet), this long until it is asked for again.
const RETRY: Duration = Duration::from_secs(30);

/// The key of a source that is no GitRepository: its kind stands before its name. `None` for other kinds.
pub fn key(home: &HomeId, kind: &str, namespace: &str, name: &str) -> Option<Key> {
    let known = KINDS.iter().any(|(known, _)| *known == kind);
    known.then(|| Key::new(home, namespace, format!("{kind}/{name}")))
}

/// Whether a key is one of [`key`].
pub(crate) fn is_external(key: &Key) -> bool {
    key.name.contains('/')
}

/// Kind and name.
fn split(key: &Key) -> (&str, &str) {
    key.name
        .split_once('/')
        .unwrap_or(("GitRepository", &key.name))
}

/// Why there is nothing to build from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// There is no such object.
    #[error("{0}")]
    NotFound(String),
    /// It names no artifact, or the artifact is just being fetched.
    #[error("Source artifact not found")]
    NoArtifact,
    /// The artifact can't be had, or is not what it should be.
    #[error("{0}")]
    Unusable(String),
}

/// What is known of the sources of others.
#[derive(Debug, Default)]
pub struct Externals(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Kinds that are followed.
    followed: HashSet<(HomeId, &'static str)>,
    /// Kinds of which everything has been seen.
    synced: HashSet<(HomeId, &'static str)>,
    seen: HashMap<Key, Seen>,
    /// What went wrong with an artifact, by its digest.
    failures: HashMap<Key, (String, String)>,
}

#[derive(Debug, Clone)]
struct Seen {
    artifact: Option<Artifact>,
}

impl Externals {
    fn known<T>(&self, use_it: impl FnOnce(&mut Known) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn artifact(&self, key: &Key) -> Option<Artifact> {
        self.known(|known| known.seen.get(key)?.artifact.clone())
    }

    /// What went wrong with the artifact that a source of somebody else names now.
    pub(crate) fn failure(&self, key: &Key, artifact: &Artifact) -> Option<String> {
        self.known(|known| {
            let (digest, why) = known.failures.get(key)?;
            (*digest == artifact.digest).then(|| why.clone())
        })
    }
}

/// The current state of a source that is no GitRepository. The first look at a kind begins to follow it.
pub(crate) fn look_up(context: &Context, home: &Home, key: &Key) -> Result<Arc<Source>, Lack> {
    let (kind, name) = split(key);
    let Some((kind, plural)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        return Err(Lack::NotFound(format!("source kind '{kind}' is not known")));
    };
    let place = (key.home.clone(), *kind);
    let is_new = context
        .externals
        .known(|known| known.followed.insert(place.clone()));
    if is_new {
        let (context, client, stop) = (context.weak(), home.connection.client(), home.stop.clone());
        let place = place.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = follow_kind(context.clone(), client, place.clone()) => {}
                () = stop.cancelled() => {}
            }
            if let Some(context) = context.upgrade() {
                context.externals.known(|known| {
                    known.followed.remove(&place);
                    known.synced.remove(&place);
                });
            }
        });
    }
    let (seen, synced) = context
        .externals
        .known(|known| (known.seen.get(key).cloned(), known.synced.contains(&place)));
    let Some(seen) = seen else {
        return Err(if synced {
            Lack::NotFound(format!(
                "{plural}.source.toolkit.fluxcd.io \"{name}\" not found"
            ))
        } else {
            Lack::NoArtifact
        });
    };
    // What was fetched stays good until there is something newer.
    if let Some(source) = context.sources.get(key) {
        return Ok(source);
    }
    let artifact = seen.artifact.ok_or(Lack::NoArtifact)?;
    match context.externals.failure(key, &artifact) {
        Some(why) => Err(Lack::Unusable(why)),
        None => Err(Lack::NoArtifact),
    }
}

async fn follow_kind(context: Weak<Context>, client: Client, (home, kind): (HomeId, &'static str)) {
    let resource = loop {
        if let Some(resource) = served(&client, kind).await {
            break resource;
        }
        let Some(context) = context.upgrade() else {
            return;
        };
        context
            .externals
            .known(|known| known.synced.insert((home.clone(), kind)));
        drop(context);
        tokio::time::sleep(RETRY).await;
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut stream = Box::pin(watcher::watcher(api, watcher::Config::default()).default_backoff());
    let mut listed: HashSet<Key> = HashSet::new();
    while let Some(event) = stream.next().await {
        let Some(context) = context.upgrade() else {
            return;
        };
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => listed.extend(heard(&context, &home, kind, &object)),
            Ok(Event::InitDone) => {
                all_seen(&context, &home, kind);
                let known: Vec<Key> = context
                    .externals
                    .known(|known| known.seen.keys().cloned().collect());
                let of_kind = |key: &&Key| key.home == home && split(key).0 == kind;
                for key in known
                    .iter()
                    .filter(of_kind)
                    .filter(|key| !listed.contains(key))
                {
                    gone(&context, key);
                }
            }
            Ok(Event::Apply(object)) => {
                heard(&context, &home, kind, &object);
            }
            Ok(Event::Delete(object)) => {
                let namespace = object.namespace().unwrap_or_default();
                if let Some(key) = key(&home, kind, &namespace, &object.name_any()) {
                    gone(&context, &key);
                }
            }
            Err(error) => tracing::debug!(kind, %error, "watch of a source kind failed"),
        }
    }
}

/// The version in which a kind is served.
async fn served(client: &Client, kind: &str) -> Option<ApiResource> {
    let group = oneshot::group(client, fairway_types::names::SOURCE_GROUP)
        .await
        .ok()?;
    group.recommended_kind(kind).map(|(resource, _)| resource)
}

/// What is not known of a kind by now is not there: who refers to it is to hear that.
fn all_seen(context: &Context, home: &HomeId, kind: &'static str) {
    let is_new = context
        .externals
        .known(|known| known.synced.insert((home.clone(), kind)));
    let Some(home) = context.homes.get(home).filter(|_| is_new) else {
        return;
    };
    for object in home.kustomizations.all() {
        if object.spec.source_ref.kind == kind {
            context.enqueue_kustomization(key_of(&home.id, &*object));
        }
    }
}

fn heard(context: &Context, home: &HomeId, kind: &str, object: &DynamicObject) -> Option<Key> {
    let key = key(
        home,
        kind,
        &object.namespace().unwrap_or_default(),
        &object.name_any(),
    )?;
    let artifact: Option<Artifact> = object
        .data
        .pointer("/status/artifact")
        .and_then(|artifact| serde_json::from_value(artifact.clone()).ok());
    let before = context.externals.known(|known| {
        let seen = Seen {
            artifact: artifact.clone(),
        };
        known.seen.insert(key.clone(), seen)
    });
    let is_news = before
        .as_ref()
        .is_none_or(|before| before.artifact != artifact);
    if is_news && artifact.is_some() {
        context.enqueue_source(key.clone());
    } else if before.is_none() {
        context.notify_source(&key);
    }
    Some(key)
}

fn gone(context: &Context, key: &Key) {
    context.externals.known(|known| {
        known.seen.remove(key);
        known.failures.remove(key);
    });
    context.sources.remove(key);
    context.queues.sources.forget(key);
    context.notify_source(key);
}

/// Fetches what a source of another kind names now.
pub(super) async fn reconcile(context: &Context, key: &Key) -> Outcome {
    let Some(artifact) = context.externals.artifact(key) else {
        return Outcome::Done;
    };
    match bring(context, key, &artifact).await {
        Ok(()) => Outcome::Done,
        Err(_) => Outcome::Backoff,
    }
}

/// Reads a GitRepository that somebody else has. Where its artifact is not served, the revision is fetched from Git;
/// nothing is written either way.
pub(super) async fn follow(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    object: &GitRepository,
) -> Outcome {
    let artifact = object
        .status
        .as_ref()
        .and_then(|status| status.artifact.as_ref());
    let Some(artifact) = artifact else {
        return Outcome::Done;
    };
    let is_served = !artifact.url.contains('#');
    if is_served && !context.options.remotes.is_limited() {
        return match bring(context, key, artifact).await {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Backoff,
        };
    }
    let Some(revision) = Revision::parse(&artifact.revision) else {
        return Outcome::Done;
    };
    let Ok(mirror) = access::mirror(context, home, key, object).await else {
        return Outcome::Backoff;
    };
    let branch = object
        .spec
        .reference
        .as_ref()
        .and_then(|reference| reference.branch.clone());
    let exactly = Reference::Commit {
        commit: revision.commit(),
        branch,
    };
    let fetched = mirror.fetch(&exactly, object.spec.timeout().get()).await;
    if let Err(error) = fetched {
        tracing::warn!(%key, %error, "the revision of the source's owner cannot be fetched");
        return Outcome::Backoff;
    }
    super::reconcile::restore(context, home, key, object).await;
    Outcome::Done
}

/// Fetches an artifact and publishes it, unless that was done.
async fn bring(context: &Context, key: &Key, artifact: &Artifact) -> Result<(), FetchError> {
    let current = context.sources.get(key);
    if current.is_some_and(|source| {
        source.commit == artifact.digest && source.revision == artifact.revision
    }) {
        return Ok(());
    }
    match context.fetcher.fetch(artifact).await {
        Ok(tree) => {
            context.externals.known(|known| known.failures.remove(key));
            let source = Source {
                revision: artifact.revision.clone(),
                commit: artifact.digest.clone(),
                tree,
                repository: format!("artifact:{key}"),
                view: String::new(),
                mirror: None,
            };
            if context.sources.set(key, source) {
                context.notify_source(key);
            }
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%key, %error, "an artifact cannot be had");
            let failure = (artifact.digest.clone(), error.to_string());
            let before = context
                .externals
                .known(|known| known.failures.insert(key.clone(), failure.clone()));
            if before != Some(failure) {
                context.notify_source(key);
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_before_names() {
        let key = key(&HomeId::Hub, "Bucket", "ns", "a").unwrap();
        assert!(is_external(&key));
        assert_eq!(split(&key), ("Bucket", "a"));
        assert_eq!(super::key(&HomeId::Hub, "GitRepository", "ns", "a"), None);
        assert_eq!(super::key(&HomeId::Hub, "HelmRepository", "ns", "a"), None);
        assert!(!is_external(&Key::new(&HomeId::Hub, "ns", "a")));
    }
}
