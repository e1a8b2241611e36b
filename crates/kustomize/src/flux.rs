//! The kustomization that Flux makes up for a directory that has none.

use crate::error::{Error, ErrorKind, Place, Result};
use crate::kustomization::{FILE_NAMES, Kustomization, Text};
use crate::load::Loader;
use crate::read;
use crate::tree::{self, EntryKind};

/// Directories inside each other.
const MAX_DEPTH: usize = 128;

/// All YAML files below the loader's directory; a directory with a kustomization of its own counts as one resource.
pub(crate) fn generated(loader: &Loader<'_>) -> Result<(String, Kustomization)> {
    let mut paths = Vec::new();
    collect(loader, &loader.root, 0, &mut paths)?;
    let resources = paths
        .into_iter()
        .map(|path| Text {
            content: tree::relative(&loader.root, &path),
            place: Place::default(),
            field: "resources".to_owned(),
        })
        .collect();
    let file = tree::join(&loader.root, FILE_NAMES[0]).unwrap_or_default();
    Ok((
        file,
        Kustomization {
            resources,
            ..Kustomization::default()
        },
    ))
}

fn collect(loader: &Loader<'_>, dir: &str, depth: usize, out: &mut Vec<String>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("directories are nested more than {MAX_DEPTH} deep"),
        ));
    }
    let entries = loader.tree.list(dir)?;
    let has_own = |entries: &[(String, EntryKind)]| {
        entries
            .iter()
            .any(|(name, kind)| *kind == EntryKind::File && FILE_NAMES.contains(&name.as_str()))
    };
    for (name, kind) in entries {
        let path = tree::join(dir, &name).unwrap_or_default();
        match kind {
            EntryKind::Dir if name == ".git" => {}
            EntryKind::Dir => {
                if has_own(&loader.tree.list(&path)?) {
                    out.push(path);
                } else {
                    collect(loader, &path, depth + 1, out)?;
                }
            }
            EntryKind::File => {
                let is_yaml = [".yaml", ".yml"]
                    .iter()
                    .any(|ending| name.ends_with(ending));
                if is_yaml && !FILE_NAMES.contains(&name.as_str()) {
                    // Flux refuses what is not a list of resources, and does not leave it out.
                    read::resources(&path, &loader.tree.read(&path)?)?;
                    out.push(path);
                }
            }
        }
    }
    Ok(())
}
