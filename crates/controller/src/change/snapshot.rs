//! The files of one commit, as promotions see them: nothing is left out.

use fairway_git::{Oid, Repository, TreeEntry};

use super::error::Error;
use super::fault::Fault;
use super::image::{self, ImageVersion};
use super::{field::Field, reference};

/// The names that kustomize looks for.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A GitRepository's manifest is looked for in at most so many files.
const MOST_FILES: usize = 5_000;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'r> {
    repository: &'r Repository,
    commit: Oid,
}

impl<'r> Snapshot<'r> {
    /// The files of a commit.
    pub fn new(repository: &'r Repository, commit: Oid) -> Self {
        Self { repository, commit }
    }

    /// The commit.
    pub fn commit(&self) -> Oid {
        self.commit
    }

    pub(super) fn repository(&self) -> &'r Repository {
        self.repository
    }

    /// What is at a path.
    pub fn entry(&self, path: &str) -> Result<Option<TreeEntry>, Error> {
        Ok(self.repository.entry(self.commit, path)?)
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Result<String, Error> {
        let entry = self
            .entry(path)?
            .ok_or_else(|| Fault::new("there is no such file", "is the path right?").at(path))?;
        if !entry.is_file() {
            return Err(Fault::new(
                "it is no regular file",
                "promotions edit regular files only",
            )
            .at(path)
            .into());
        }
        let bytes = self.repository.blob(entry.id())?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let line = before.split(|byte| *byte == b'\n').count();
                let fault = Fault::new("it is not UTF-8 text", "save the file as UTF-8");
                Err(fault.on_line(line).at(path).into())
            }
        }
    }

    /// The path of the kustomization of a folder; a path that is a file counts as it.
    pub fn kustomization(&self, folder: &str) -> Result<String, Error> {
        let folder = folder.trim_start_matches("./").trim_end_matches('/');
        if !folder.is_empty() && self.entry(folder)?.is_some_and(TreeEntry::is_file) {
            return Ok(folder.to_owned());
        }
        let mut found = Vec::new();
        for name in KUSTOMIZATIONS {
            let path = within(folder, name);
            if self.entry(&path)?.is_some_and(TreeEntry::is_file) {
                found.push(path);
            }
        }
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => Err(Fault::new(
                "there is no kustomization.yaml",
                "is the path of the stage right? it names the overlay's folder",
            )
            .at(folder)
            .into()),
            _ => Err(Fault::new(
                format!("there is more than one kustomization: {}", found.join(", ")),
                "leave one of them",
            )
            .at(folder)
            .into()),
        }
    }

    /// The version that an overlay's kustomization sets for an image.
    pub fn image(&self, folder: &str, name: &str) -> Result<Option<ImageVersion>, Error> {
        let path = self.kustomization(folder)?;
        let read = image::read(&self.text(&path)?, name);
        read.map_err(|fault| fault.at(&path).into())
    }

    /// What an image of an overlay is called behind it, where a kustomization that takes the overlay in finds it.
    pub fn image_name(&self, folder: &str, name: &str) -> Result<String, Error> {
        let path = self.kustomization(folder)?;
        let read = image::name_behind(&self.text(&path)?, name);
        read.map_err(|fault| fault.at(&path).into())
    }

    /// One key of the reference of a GitRepository whose manifest is in a folder.
    pub fn reference(&self, folder: &str, name: &str, key: &str) -> Result<Option<String>, Error> {
        let path = self.manifest(folder, name)?;
        let read = Field::reference(name, key).read(&self.text(&path)?);
        read.map_err(|fault| fault.at(&path).into())
    }

    /// The file in a folder, or below it, that holds the manifest of a GitRepository.
    pub fn manifest(&self, folder: &str, name: &str) -> Result<String, Error> {
        let folder = folder.trim_start_matches("./").trim_end_matches('/');
        let mut files = Vec::new();
        self.collect(folder, &mut files)?;
        let mut found = Vec::new();
        for (path, entry) in files {
            let bytes = self.repository.blob(entry.id())?;
            let Ok(text) = std::str::from_utf8(&bytes) else {
                continue;
            };
            if reference::is_here(text, name).map_err(|fault| fault.at(&path))? {
                found.push(path);
            }
        }
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => Err(Fault::new(
                format!("there is no manifest of GitRepository {name}"),
                "is the path of the stage right, and the name?",
            )
            .at(folder)
            .into()),
            _ => Err(Fault::new(
                format!(
                    "GitRepository {name} is in more than one file: {}",
                    found.join(", ")
                ),
                "leave one of them",
            )
            .at(folder)
            .into()),
        }
    }

    fn collect(&self, folder: &str, files: &mut Vec<(String, TreeEntry)>) -> Result<(), Error> {
        for (name, entry) in self.repository.folder(self.commit, folder)? {
            let path = within(folder, &name);
            let extension = name.rsplit('.').next().unwrap_or_default();
            if entry.is_folder() {
                self.collect(&path, files)?;
            } else if entry.is_file() && matches!(extension, "yaml" | "yml" | "json") {
                files.push((path, entry));
            }
            if files.len() > MOST_FILES {
                return Err(Fault::new(
                    format!("there are more than {MOST_FILES} files"),
                    "name the folder that holds the manifest",
                )
                .at(folder)
                .into());
            }
        }
        Ok(())
    }
}

/// A path below a folder; the root is empty.
pub(super) fn within(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
