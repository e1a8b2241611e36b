//! Finding the clusters that a Flux repository describes: a pure function of its files.
//!
//! In this order: the reference layout (`flux-manifests/`); Kustomizations whose `spec.path` holds their own file, as `flux
//! bootstrap` writes them; the topmost folders below `clusters/` with Flux objects; at last, folders with Kustomizations that
//! no other Kustomization applies. A cluster whose Kustomizations name kubeconfig Secrets is a hub, and each Secret one more
//! cluster.

mod file;
mod kinds;
mod objects;

use std::collections::{BTreeMap, BTreeSet};

use fairway_kustomize::FileTree;

pub(crate) use file::{EXAMPLE, read as clusters_file};
pub(crate) use kinds::definitions;
use objects::{FluxObject, read_all};

/// A cluster of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its name: the path with dashes, without `clusters/`.
    pub(crate) name: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The folder that a Flux bootstrapped there would sync.
    pub(crate) path: String,
    /// Secrets that its Kustomizations name, as (namespace, name, key): each stands for one more cluster.
    pub(crate) remotes: BTreeSet<(String, String, Option<String>)>,
}

/// How a repository is laid out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The reference layout, with the clusters that it registers.
    Reference(Vec<Found>),
    /// Clusters that are each bootstrapped at a path.
    Bootstrapped(Vec<Found>),
}

/// Nothing was found; the message says what was looked for.
#[derive(Debug, thiserror::Error)]
#[error("found no cluster in the repository; looked for: {}", .looked.join("; "))]
pub(crate) struct NothingFound {
    looked: Vec<String>,
}

/// Finds the clusters.
pub(crate) fn discover(tree: &dyn FileTree) -> Result<Layout, NothingFound> {
    let objects = read_all(tree);
    let mut looked =
        vec!["flux-manifests/ with FleetKustomizations (the reference layout)".to_owned()];
    let fleets = objects.iter().any(|object| {
        object.kind == "FleetKustomization" && object.file.starts_with("flux-manifests/")
    });
    if fleets {
        let clusters = objects
            .iter()
            .filter(|object| {
                object.kind == "Cluster" && object.group == fairway_types::names::FLEET_GROUP
            })
            .map(|object| Found {
                name: object.name.clone(),
                labels: object.labels.clone(),
                path: String::new(),
                remotes: BTreeSet::new(),
            })
            .collect();
        return Ok(Layout::Reference(clusters));
    }
    looked.push("Kustomizations whose spec.path is a folder that holds their own file (as `flux bootstrap` writes gotk-sync.yaml)".into());
    let mut paths: BTreeSet<String> = objects
        .iter()
        .filter_map(|object| own_folder(object, &objects))
        .map(str::to_owned)
        .collect();
    if paths.is_empty() {
        looked.push("the topmost folders below clusters/ that hold Flux objects".into());
        paths =
            topmost(objects.iter().filter(|object| {
                object.is_kustomization() && object.file.starts_with("clusters/")
            }));
        paths.remove("clusters");
    }
    if paths.is_empty() {
        looked.push("folders with Kustomizations that no other Kustomization applies".into());
        paths = topmost(entries(&objects));
        if paths.len() > MOST_ENTRIES || paths.contains("") {
            paths.clear();
        }
    }
    if paths.is_empty() {
        return Err(NothingFound { looked });
    }
    let names = names(&paths);
    let found = paths
        .into_iter()
        .map(|path| Found {
            name: names[&path].clone(),
            labels: labels(&path),
            remotes: remotes(&objects, &path),
            path,
        })
        .collect();
    Ok(Layout::Bootstrapped(found))
}

/// The folder that an object makes its own cluster follow.
fn own_folder<'o>(object: &'o FluxObject, objects: &[FluxObject]) -> Option<&'o str> {
    if !object.is_sync() {
        return None;
    }
    let path = object.path.as_deref()?;
    if !contains(path, &object.file) {
        return None;
    }
    if !path.is_empty() || object.is_instance() {
        return Some(path);
    }
    // The root of what: other repositories are often read from their root. Bootstrap writes both into one file, and calls
    // them like their namespace.
    let source = object.source.as_deref()?;
    let is_own = source == fairway_types::names::SYSTEM_NAMESPACE
        || objects.iter().any(|other| {
            other.kind == "GitRepository"
                && other.file == object.file
                && other.name == source
                && other.namespace == source
        });
    is_own.then_some(path)
}

/// The branches of the repository itself that its GitRepositories follow.
pub(crate) fn own_branches(tree: &dyn FileTree, urls: &BTreeSet<String>) -> BTreeSet<String> {
    read_all(tree)
        .into_iter()
        .filter(|object| {
            object.kind == "GitRepository"
                && object.url.as_ref().is_some_and(|url| urls.contains(url))
        })
        .filter_map(|object| object.branch)
        .collect()
}

/// The URLs by which the repository's objects name it: those of a source that a Kustomization with its own file below its path
/// reads, those of GitRepositories called `flux-system`, and other spellings of these and of `known` (where the repository
/// comes from).
pub(crate) fn own_urls(tree: &dyn FileTree, known: &BTreeSet<String>) -> BTreeSet<String> {
    let objects = read_all(tree);
    let mut names: BTreeSet<&str> = objects
        .iter()
        .filter(|object| own_folder(object, &objects).is_some())
        .filter_map(|object| object.source.as_deref())
        .collect();
    names.insert(fairway_types::names::SYSTEM_NAMESPACE);
    let repositories = || {
        objects
            .iter()
            .filter(|object| object.kind == "GitRepository")
    };
    let same: BTreeSet<String> = repositories()
        .filter(|object| names.contains(object.name.as_str()))
        .chain(objects.iter().filter(|object| object.is_instance()))
        .filter_map(|object| object.url.as_deref())
        .chain(known.iter().map(String::as_str))
        .map(spelling)
        .collect();
    repositories()
        .filter_map(|object| object.url.clone())
        .filter(|url| same.contains(&spelling(url)))
        .collect()
}

/// What is the same for the ways to write a repository's URL: `https://host/a/b.git`, `ssh://git@host/a/b`, `git@host:a/b`.
fn spelling(url: &str) -> String {
    let (is_url, rest) = match url.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, url),
    };
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let rest = if is_url {
        rest.to_owned()
    } else {
        rest.replacen(':', "/", 1)
    };
    let rest = rest.trim_end_matches('/');
    rest.strip_suffix(".git").unwrap_or(rest).to_lowercase()
}

/// Whether a file lies in or below a folder.
fn contains(folder: &str, file: &str) -> bool {
    folder.is_empty()
        || file
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The topmost folders of files, siblings kept apart: where `clusters/prod` only holds further folders, those are the clusters.
fn topmost<'o>(objects: impl Iterator<Item = &'o FluxObject>) -> BTreeSet<String> {
    let mut folders: Vec<&str> = objects
        .map(|object| {
            object
                .file
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder)
        })
        .map(|folder| folder.strip_suffix("/flux-system").unwrap_or(folder))
        .collect();
    folders.sort_unstable();
    let mut top = BTreeSet::new();
    for folder in folders {
        if !top
            .iter()
            .any(|above: &String| above == folder || contains(above, folder))
        {
            top.insert(folder.to_owned());
        }
    }
    top
}

/// More than these are no clusters, but examples or templates.
const MOST_ENTRIES: usize = 9;

/// Kustomizations that no other one applies.
fn entries(objects: &[FluxObject]) -> impl Iterator<Item = &FluxObject> {
    let is_kustomization = |object: &&FluxObject| object.is_kustomization();
    objects
        .iter()
        .filter(is_kustomization)
        .filter(move |entry| {
            !objects.iter().filter(is_kustomization).any(|other| {
                other
                    .path
                    .as_deref()
                    .is_some_and(|path| contains(path, &entry.file))
            })
        })
}

/// Names from paths; where the last segments are not unique, longer ones.
fn names(paths: &BTreeSet<String>) -> BTreeMap<String, String> {
    paths
        .iter()
        .map(|path| {
            let trimmed = path.strip_prefix("clusters/").unwrap_or(path);
            let trimmed = trimmed.strip_suffix("/flux-system").unwrap_or(trimmed);
            let name: String = trimmed
                .to_lowercase()
                .chars()
                .map(|character| {
                    if character.is_ascii_alphanumeric() {
                        character
                    } else {
                        '-'
                    }
                })
                .collect();
            let name = name.trim_matches('-');
            let name = if name.is_empty() || name == super::MANAGEMENT {
                "cluster"
            } else {
                name
            };
            (
                path.clone(),
                name.chars()
                    .take(50)
                    .collect::<String>()
                    .trim_end_matches('-')
                    .to_owned(),
            )
        })
        .collect()
}

/// `environment` where a segment of the path is a usual name of one.
fn labels(path: &str) -> BTreeMap<String, String> {
    const ENVIRONMENTS: [&str; 8] = [
        "dev",
        "development",
        "test",
        "qa",
        "staging",
        "stage",
        "prod",
        "production",
    ];
    path.split('/')
        .find(|segment| ENVIRONMENTS.contains(segment))
        .map(|environment| ("environment".to_owned(), environment.to_owned()))
        .into_iter()
        .collect()
}

/// The kubeconfig Secrets that Kustomizations below the path, or below paths that those apply, name.
fn remotes(objects: &[FluxObject], path: &str) -> BTreeSet<(String, String, Option<String>)> {
    let mut reached = BTreeSet::from([path.to_owned()]);
    loop {
        let more: Vec<String> = objects
            .iter()
            .filter(|object| {
                object.is_kustomization()
                    && reached.iter().any(|folder| contains(folder, &object.file))
            })
            .filter_map(|object| object.path.clone())
            .filter(|folder| !reached.contains(folder))
            .collect();
        if more.is_empty() {
            break;
        }
        reached.extend(more);
    }
    objects
        .iter()
        .filter(|object| {
            object.is_kustomization() && reached.iter().any(|folder| contains(folder, &object.file))
        })
        .filter_map(|object| {
            let (name, key) = object.kubeconfig.clone()?;
            Some((object.namespace.clone(), name, key))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fairway_kustomize::MemoryTree;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        let mut tree = MemoryTree::new();
        for (path, text) in files {
            tree.insert(*path, text);
        }
        tree
    }

    fn kustomization(name: &str, path: &str, more: &str) -> String {
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: {name}\n  namespace: flux-system\n\
             spec:\n  path: {path}\n{more}"
        )
    }

    #[test]
    fn gotk_sync_comes_before_folders() {
        let sync = kustomization("flux-system", "./clusters/production", "");
        let apps = kustomization("apps", "./apps/production", "");
        let tree = tree(&[
            ("clusters/production/flux-system/gotk-sync.yaml", &sync),
            ("clusters/production/apps.yaml", &apps),
            ("clusters/staging/apps.yaml", &apps),
        ]);
        let Layout::Bootstrapped(found) = discover(&tree).unwrap() else {
            panic!("not the reference layout")
        };
        let names: Vec<_> = found
            .iter()
            .map(|found| (found.name.as_str(), found.path.as_str()))
            .collect();
        assert_eq!(names, [("production", "clusters/production")]);
        assert_eq!(found[0].labels["environment"], "production");
    }

    #[test]
    fn the_root_of_something_else_is_not_the_root_of_this() {
        let other = kustomization(
            "kyverno",
            "./",
            "  sourceRef: {kind: GitRepository, name: kyverno}\n",
        );
        let apps = kustomization("apps", "./apps", "");
        let tree = tree(&[
            ("infrastructure/sync.yaml", &other),
            ("clusters/staging/apps.yaml", &apps),
        ]);
        let Layout::Bootstrapped(found) = discover(&tree).unwrap() else {
            panic!("not the reference layout")
        };
        assert_eq!(found[0].path, "clusters/staging");
    }

    #[test]
    fn folders_below_clusters() {
        let apps = kustomization("apps", "./apps", "");
        let tree = tree(&[
            ("clusters/production/infra/a.yaml", &apps),
            ("clusters/production/apps.yaml", &apps),
            ("clusters/eu/staging/flux-system/apps.yaml", &apps),
        ]);
        let Layout::Bootstrapped(found) = discover(&tree).unwrap() else {
            panic!("not the reference layout")
        };
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["eu-staging", "production"]);
    }

    #[test]
    fn a_hub_brings_its_remote_clusters() {
        let sync = kustomization("flux-system", "./hub", "");
        let tenants = kustomization("tenants", "./tenants", "");
        let remote = kustomization(
            "apps",
            "./apps",
            "  kubeConfig:\n    secretRef:\n      name: stage-kubeconfig\n",
        );
        let tree = tree(&[
            ("hub/gotk-sync.yaml", &sync),
            ("hub/t.yaml", &tenants),
            ("tenants/stage.yaml", &remote),
        ]);
        let Layout::Bootstrapped(found) = discover(&tree).unwrap() else {
            panic!("not the reference layout")
        };
        assert_eq!(
            found[0].remotes,
            BTreeSet::from([("flux-system".into(), "stage-kubeconfig".into(), None)])
        );
    }

    #[test]
    fn what_no_other_kustomization_applies_is_where_a_cluster_begins() {
        let apps = kustomization("cluster-apps", "./kubernetes/apps", "");
        let one = kustomization("one", "./kubernetes/apps/one/app", "");
        let tree = tree(&[
            ("kubernetes/flux/cluster/ks.yaml", &apps),
            ("kubernetes/apps/one/ks.yaml", &one),
        ]);
        let Layout::Bootstrapped(found) = discover(&tree).unwrap() else {
            panic!("not the reference layout")
        };
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "kubernetes/flux/cluster");
    }

    #[test]
    fn the_repository_is_known_by_every_spelling_of_its_url() {
        let source = |name: &str, url: &str| {
            format!(
                "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: {name}}}\nspec: {{url: '{url}'}}\n"
            )
        };
        let tree = tree(&[
            ("a.yaml", &source("team", "https://github.com/Org/fleet")),
            (
                "b.yaml",
                &source("ssh", "ssh://git@github.com/org/fleet.git"),
            ),
            ("c.yaml", &source("other", "https://github.com/org/other")),
        ]);
        let known = BTreeSet::from(["git@github.com:org/fleet.git".to_owned()]);
        let urls: Vec<String> = own_urls(&tree, &known).into_iter().collect();
        assert_eq!(
            urls,
            [
                "https://github.com/Org/fleet",
                "ssh://git@github.com/org/fleet.git"
            ]
        );
        assert!(own_urls(&tree, &BTreeSet::new()).is_empty());
    }

    #[test]
    fn nothing_found_says_what_was_looked_for() {
        let error = discover(&tree(&[("README.md", "x"), ("bad.yaml", "a: [")])).unwrap_err();
        assert!(error.to_string().contains("flux-manifests/"), "{error}");
        assert!(error.to_string().contains("clusters/"), "{error}");
    }
}
