//! A kustomization and where it stands: found, read, and edited as a Flux Kustomization asks.

use crate::error::{Error, ErrorKind, Place, Result};
use crate::flux;
use crate::kustomization::{FILE_NAMES, Kustomization, PatchEntry, Text};
use crate::load::Loader;
use crate::options::{Options, RootEdits};
use crate::origin::Origin;
use crate::tree::{self, EntryKind};

/// A kustomization and where it stands.
pub(crate) struct Target<'t> {
    pub(crate) loader: Loader<'t>,
    pub(crate) kustomization: Kustomization,
    /// The path of its file in the tree.
    pub(crate) file: String,
    /// Where it comes from, if origins are written down.
    pub(crate) origin: Option<Origin>,
}

impl<'t> Target<'t> {
    /// The kustomization that the build starts from, with the edits that were asked for.
    pub(crate) fn root(loader: Loader<'t>, options: &Options) -> Result<Self> {
        let found = find_file(&loader)?;
        let (file, mut kustomization) = match found {
            Some(file) => {
                let kustomization = read_kustomization(&loader, &file)?;
                (file, kustomization)
            }
            None if options.generate => {
                let (file, generated) = flux::generated(&loader)?;
                if generated.resources.is_empty() && options.root == RootEdits::default() {
                    return Err(Error::missing(format!(
                        "there is neither a kustomization nor any YAML file in directory '{}'",
                        loader.tree.shown(&loader.root)
                    ))
                    .hint("is the path the right one?"));
                }
                (file, generated)
            }
            None => return Err(no_kustomization(&loader)),
        };
        edit(&mut kustomization, &options.root, &loader)?;
        let origin = (!kustomization.build_metadata.is_empty()).then(Origin::default);
        Ok(Self {
            loader,
            kustomization,
            file,
            origin,
        })
    }

    /// A base or a component.
    pub(crate) fn nested(&self, path: &Text) -> Result<Self> {
        let loader = self
            .loader
            .enter(&path.content)
            .map_err(|error| self.place(error, path))?;
        self.inside(loader, path)
    }

    /// The kustomization of a directory that `path` names.
    pub(crate) fn inside<'o>(&self, loader: Loader<'o>, path: &Text) -> Result<Target<'o>> {
        let Some(file) = find_file(&loader)? else {
            return Err(self.place(no_kustomization(&loader), path));
        };
        let mut kustomization = read_kustomization(&loader, &file)?;
        kustomization
            .build_metadata
            .clone_from(&self.kustomization.build_metadata);
        let origin = self
            .origin
            .as_ref()
            .map(|origin| origin.append(&path.content));
        Ok(Target {
            loader,
            kustomization,
            file,
            origin,
        })
    }

    /// The name of the file without its directory.
    pub(crate) fn file_name(&self) -> &str {
        tree::file_name(&self.file)
    }

    /// An error about a path that the kustomization names.
    pub(crate) fn place(&self, error: Error, path: &Text) -> Error {
        error
            .in_field(path.field.clone())
            .at(&self.file, path.place)
    }
}

/// The kustomization file of a directory.
pub(crate) fn find_file(loader: &Loader<'_>) -> Result<Option<String>> {
    let mut found = None;
    for name in FILE_NAMES {
        let path = tree::join(&loader.root, name).unwrap_or_default();
        if loader.tree.kind(&path)? == Some(EntryKind::File) {
            if found.is_some() {
                return Err(Error::conflict(format!(
                    "Found multiple kustomization files under: {}",
                    loader.tree.shown(&loader.root)
                ))
                .hint("keep one of kustomization.yaml, kustomization.yml and Kustomization"));
            }
            found = Some(path);
        }
    }
    Ok(found)
}

fn read_kustomization(loader: &Loader<'_>, file: &str) -> Result<Kustomization> {
    let bytes = loader.load(&format!("./{}", tree::file_name(file)))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::new(ErrorKind::Syntax, "the file is not UTF-8 text").in_file(file))?;
    Kustomization::parse(file, text)
}

fn no_kustomization(loader: &Loader<'_>) -> Error {
    Error::missing(format!(
        "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
        loader.tree.shown(&loader.root)
    ))
}

/// Makes the changes that a Flux Kustomization asks for.
fn edit(kustomization: &mut Kustomization, edits: &RootEdits, loader: &Loader<'_>) -> Result<()> {
    for (field, value) in [
        (&mut kustomization.namespace, &edits.namespace),
        (&mut kustomization.name_prefix, &edits.name_prefix),
        (&mut kustomization.name_suffix, &edits.name_suffix),
    ] {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    for (at, patch) in edits.patches.iter().enumerate() {
        kustomization.patches.push(PatchEntry {
            patch: patch.patch.clone(),
            target: patch.target.clone(),
            field: format!("spec.patches[{at}]"),
            ..PatchEntry::default()
        });
    }
    for image in &edits.images {
        match kustomization
            .images
            .iter_mut()
            .find(|have| have.name == image.name)
        {
            Some(have) => have.clone_from(image),
            None => kustomization.images.push(image.clone()),
        }
    }
    for (at, path) in edits.components.iter().enumerate() {
        let field = format!("spec.components[{at}]");
        if path.contains("://") || path.starts_with('/') {
            return Err(Error::refused(format!(
                "component path '{path}' must be local and relative"
            ))
            .in_field(field));
        }
        if edits.ignore_missing_components && loader.find(path)?.is_none() {
            continue;
        }
        kustomization.components.push(Text {
            content: path.clone(),
            place: Place::default(),
            field,
        });
    }
    if !edits.build_metadata.is_empty() {
        kustomization
            .build_metadata
            .clone_from(&edits.build_metadata);
    }
    Ok(())
}
