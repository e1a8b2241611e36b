//! Which clusters to start for a repository, how each is run, and what they are to reach.

use std::collections::{BTreeMap, BTreeSet};

use fairway_controller::build::tree::CommitTree;
use fairway_controller::{Profile, Remotes};

use serde_json::Value;

use super::MANAGEMENT;
use super::clusters;
use super::discover::{self, Found, Layout};
use super::goal::Goal;
use super::origin::Origin;
use super::place::Memory;
use crate::args::DemoArgs;
use crate::exit::Hinted;
use crate::setup::Registration;

/// Which clusters to start, and how they are run.
pub(crate) struct Plan {
    layout: Layout,
    /// Whether the repository is the person's own (`--repo`).
    is_foreign: bool,
    registrations: Vec<Registration>,
    remotes: BTreeMap<String, Remote>,
    /// URLs by which objects name the repository.
    urls: BTreeSet<String>,
    /// Resource definitions for kinds that the repository uses and does not define.
    definitions: Vec<Value>,
}

/// A kubeconfig Secret that a hub of the repository expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The cluster that is the hub.
    pub(crate) hub: String,
    /// The Secret's namespace there.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) secret: String,
    /// Its key.
    pub(crate) key: Option<String>,
}

impl Plan {
    /// The nine clusters of the reference architecture, or those that `--repo` describes.
    pub(crate) fn of(origin: &Origin, args: &DemoArgs, memory: &Memory) -> anyhow::Result<Self> {
        let mut urls = memory.urls.clone();
        urls.insert(origin.url());
        if args.repo.is_none() {
            return Ok(Self {
                layout: Layout::Reference(Vec::new()),
                is_foreign: false,
                registrations: clusters::registrations(),
                remotes: BTreeMap::new(),
                urls,
                definitions: Vec::new(),
            });
        }
        let tree = CommitTree(origin.files()?);
        urls.extend(discover::own_urls(&tree, origin.names()));
        let mut trees = Vec::new();
        for branch in discover::own_branches(&tree, &urls) {
            trees.extend(origin.files_of(&branch)?.map(CommitTree));
        }
        let layout = match &args.clusters {
            Some(file) => Layout::Bootstrapped(discover::clusters_file(file, &tree)?),
            None => discover::discover(&tree).map_err(|error| {
                Hinted::new(
                    error.to_string(),
                    format!(
                        "name the clusters with --clusters FILE, for example:\n\n{}",
                        discover::EXAMPLE
                    ),
                )
            })?,
        };
        trees.push(tree);
        let (Layout::Reference(found) | Layout::Bootstrapped(found)) = &layout;
        let remotes = remotes(found);
        let synced = found
            .iter()
            .map(|found| registration(&found.name, found.labels.clone()));
        let far = remotes
            .keys()
            .map(|name| registration(name, BTreeMap::new()));
        let registrations = synced.chain(far).collect();
        Ok(Self {
            registrations,
            layout,
            is_foreign: true,
            remotes,
            definitions: discover::definitions(&trees),
            urls,
        })
    }

    /// What everything is to reach.
    pub(crate) async fn goal(&self, origin: &Origin) -> anyhow::Result<Goal> {
        let synced = self.synced();
        let homes = if synced.is_empty() {
            BTreeSet::from([MANAGEMENT.to_owned()])
        } else {
            synced.into_iter().map(str::to_owned).collect()
        };
        Ok(Goal {
            urls: self.urls.clone(),
            heads: origin.heads().await?,
            homes,
            is_reference: !self.is_foreign,
        })
    }

    /// Every cluster, the hub first.
    pub(crate) fn names(&self) -> Vec<String> {
        std::iter::once(MANAGEMENT.to_owned())
            .chain(self.registrations.iter().map(|one| one.name.clone()))
            .collect()
    }

    /// The workload clusters.
    pub(crate) fn registrations(&self) -> &[Registration] {
        &self.registrations
    }

    /// Resource definitions for kinds that the repository uses and does not define.
    pub(crate) fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    /// Whether the repository is the person's own.
    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Whether the hub is set up by the repository's `flux-manifests/`.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.layout, Layout::Reference(_))
    }

    /// The clusters that are run by `spec.sync`.
    pub(crate) fn synced(&self) -> Vec<&str> {
        match &self.layout {
            Layout::Bootstrapped(found) => found.iter().map(|found| found.name.as_str()).collect(),
            Layout::Reference(_) => Vec::new(),
        }
    }

    /// The folder that such a cluster follows.
    pub(crate) fn sync_path(&self, name: &str) -> Option<&str> {
        match &self.layout {
            Layout::Bootstrapped(found) => found
                .iter()
                .find(|found| found.name == name)
                .map(|found| found.path.as_str()),
            Layout::Reference(_) => None,
        }
    }

    /// The Secret by which a hub of the repository reaches a cluster.
    pub(crate) fn remote(&self, name: &str) -> Option<&Remote> {
        self.remotes.get(name)
    }

    /// All of these, as (hub, namespace, secret) → cluster.
    pub(crate) fn remotes(&self) -> BTreeMap<(String, String, String), String> {
        self.remotes
            .iter()
            .map(|(name, remote)| {
                let remote = remote.clone();
                ((remote.hub, remote.namespace, remote.secret), name.clone())
            })
            .collect()
    }

    /// How strict the reconcilers are.
    pub(crate) fn profile(&self) -> Profile {
        if self.is_reference() {
            Profile::Locked
        } else {
            Profile::Flux
        }
    }

    /// What is fetched: of a repository of the person's own, nothing but that.
    pub(crate) fn fetched(&self, origin: &Origin) -> Remotes {
        if !self.is_foreign {
            return Remotes::All;
        }
        let url = origin.url();
        Remotes::Only(
            self.urls
                .iter()
                .map(|own| (own.clone(), url.clone()))
                .collect(),
        )
    }
}

fn registration(name: &str, labels: BTreeMap<String, String>) -> Registration {
    Registration {
        name: name.to_owned(),
        namespace: fairway_types::names::SYSTEM_NAMESPACE.into(),
        labels,
    }
}

/// A name for each Secret that a hub expects: `stage-kubeconfig` → `stage`; where several namespaces have one of that name,
/// the namespace.
fn remotes(hubs: &[Found]) -> BTreeMap<String, Remote> {
    let mut remotes = BTreeMap::new();
    for hub in hubs {
        for (namespace, secret, key) in &hub.remotes {
            let is_shared = hub
                .remotes
                .iter()
                .any(|(other, name, _)| name == secret && other != namespace);
            let name = if is_shared { namespace } else { secret };
            let name = name.trim_end_matches("-kubeconfig").replace('.', "-");
            let is_free = |name: &String| {
                name != MANAGEMENT
                    && !remotes.contains_key(name)
                    && hubs.iter().all(|hub| hub.name != *name)
            };
            let mut free = name.clone();
            let mut number = 1;
            while !is_free(&free) {
                free = format!("{}-{name}-{number}", hub.name);
                number += 1;
            }
            let remote = Remote {
                hub: hub.name.clone(),
                namespace: namespace.clone(),
                secret: secret.clone(),
                key: key.clone(),
            };
            remotes.insert(free, remote);
        }
    }
    remotes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(remotes: &[(&str, &str)]) -> Found {
        Found {
            name: "hub".into(),
            labels: BTreeMap::new(),
            path: "hub".into(),
            remotes: remotes
                .iter()
                .map(|(namespace, secret)| ((*namespace).into(), (*secret).into(), None))
                .collect(),
        }
    }

    #[test]
    fn clusters_are_called_like_their_secrets_or_namespaces() {
        let names = |secrets: &[(&str, &str)]| -> Vec<String> {
            remotes(&[hub(secrets)]).into_keys().collect()
        };
        assert_eq!(names(&[("flux-system", "stage-kubeconfig")]), ["stage"]);
        assert_eq!(
            names(&[
                ("prod", "cluster-kubeconfig"),
                ("stage", "cluster-kubeconfig")
            ]),
            ["prod", "stage"]
        );
        assert_eq!(names(&[("a", "hub-kubeconfig")]), ["hub-hub-1"]);
    }
}
