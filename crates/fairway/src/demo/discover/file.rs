//! `--clusters FILE`: the clusters of a repository, named by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use fairway_kustomize::{EntryKind, FileTree};
use serde::Deserialize;

use super::objects::{normalised, read_all};
use super::{Found, remotes};
use crate::exit::Hinted;

/// What an example file looks like.
pub(crate) const EXAMPLE: &str = "clusters:
  - name: production
    path: clusters/production
    labels: {environment: prod, region: eu-west-1}
  - name: staging
    path: clusters/staging
    labels: {environment: staging}
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clusters: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    path: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reads the file; every path must be a folder of the repository.
pub(crate) fn read(path: &Path, tree: &dyn FileTree) -> anyhow::Result<Vec<Found>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let file: File = fairway_yaml::from_str(&text).map_err(|error| {
        Hinted::new(
            format!("{}:{error}", path.display()),
            format!("it should look like this:\n{EXAMPLE}"),
        )
    })?;
    let mut names = BTreeSet::new();
    for entry in &file.clusters {
        let ok = !entry.name.is_empty()
            && entry.name.len() <= 50
            && entry.name.chars().all(|character| {
                character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
            })
            && entry.name != crate::demo::MANAGEMENT;
        if !ok || !names.insert(&entry.name) {
            return Err(Hinted::new(
                format!(
                    "{}: clusters: the name {:?} is not valid or not unique",
                    path.display(),
                    entry.name
                ),
                "lower-case letters, digits and dashes; `management` is taken",
            )
            .into());
        }
    }
    let objects = read_all(tree);
    let found = file.clusters.into_iter().map(|entry| {
        let folder = normalised(&entry.path);
        if !matches!(tree.kind(&folder), Ok(Some(EntryKind::Dir))) {
            return Err(Hinted::new(
                format!(
                    "{}: clusters: the repository has no folder {:?}",
                    path.display(),
                    entry.path
                ),
                "paths are those of the branch that is run, from its root",
            )
            .into());
        }
        Ok(Found {
            name: entry.name,
            labels: entry.labels,
            remotes: remotes(&objects, &folder),
            path: folder,
        })
    });
    found.collect()
}
