//! A commit's files as the tree that kustomize builds from.

use std::sync::Arc;

use fairway_git::TreeView;
use fairway_kustomize::{EntryKind, FileTree, Fingerprint, TreeError};

/// See the module.
#[derive(Clone)]
pub struct CommitTree(pub TreeView);

fn kind(kind: fairway_git::EntryKind) -> EntryKind {
    match kind {
        fairway_git::EntryKind::File => EntryKind::File,
        fairway_git::EntryKind::Dir => EntryKind::Dir,
    }
}

fn error(error: fairway_git::TreeError) -> TreeError {
    use fairway_git::TreeError as E;
    match error {
        E::NotFound { path } => TreeError::NotFound { path },
        E::IsDir { path } => TreeError::WrongKind {
            path,
            expected: "file",
        },
        E::NotDir { path } => TreeError::WrongKind {
            path,
            expected: "directory",
        },
        E::Outside { path } => TreeError::Outside { path },
        E::Unreadable { path, detail } => TreeError::Store {
            path,
            message: detail,
        },
        other => TreeError::Store {
            path: String::new(),
            message: other.to_string(),
        },
    }
}

impl FileTree for CommitTree {
    fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError> {
        Ok(self.0.kind(path).map_err(error)?.map(kind))
    }

    fn read(&self, path: &str) -> Result<Arc<[u8]>, TreeError> {
        self.0.read(path).map_err(error)
    }

    fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError> {
        Ok(self
            .0
            .list(path)
            .map_err(error)?
            .into_iter()
            .map(|(name, what)| (name, kind(what)))
            .collect())
    }

    fn fingerprint(&self, path: &str) -> Result<Option<Fingerprint>, TreeError> {
        self.0.blob_id(path).map_err(error)
    }
}
