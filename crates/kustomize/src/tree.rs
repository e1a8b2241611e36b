//! The files that a build reads: a [`FileTree`] of one commit, one directory or one test, and the [`ReadSet`] that
//! says which of its answers a build depended on.

mod disk;
mod memory;
mod path;
mod recorder;

use std::sync::Arc;

pub use disk::DiskTree;
pub use memory::MemoryTree;
pub(crate) use path::within;
pub use path::{file_name, join, parent, relative};
pub use recorder::{ReadSet, Recorder};
use sha1::{Digest as _, Sha1};

/// A Git blob id: the SHA-1 over `blob <length>\0<bytes>`.
pub type Fingerprint = [u8; 20];

/// What a path of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A regular file, or a link that leads to one.
    File,
    /// A directory, or a link that leads to one.
    Dir,
}

/// Why a tree could not answer.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There is no file at the path.
    #[error("{path}: no such file")]
    NotFound {
        /// The path asked for, relative to the root.
        path: String,
    },
    /// The path is a directory where a file was asked for, or the other way round.
    #[error("{path}: not a {expected}")]
    WrongKind {
        /// The path asked for, relative to the root.
        path: String,
        /// `file` or `directory`.
        expected: &'static str,
    },
    /// The path, or a link on it, leads out of the tree.
    #[error("{path}: leads out of the tree")]
    Outside {
        /// The path asked for.
        path: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The path asked for, relative to the root.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The store behind the tree failed (a Git object that is missing, a limit that was passed).
    #[error("{path}: {message}")]
    Store {
        /// The path asked for, relative to the root.
        path: String,
        /// What the store said.
        message: String,
    },
}

/// A read-only tree of files.
///
/// Paths are `/`-separated, relative to the root of the tree and normalised (no `.`, `..`, empty or trailing
/// segments); the root itself is the empty string.
pub trait FileTree: Send + Sync {
    /// What is at `path`; `None` where nothing is.
    fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError>;

    /// The bytes of the file at `path`.
    fn read(&self, path: &str) -> Result<Arc<[u8]>, TreeError>;

    /// The entries of the directory at `path`, sorted by name.
    fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError>;

    /// The Git blob id of the file at `path`; `None` where no file is. A tree that does not have the id at hand
    /// computes it with [`blob_id`].
    fn fingerprint(&self, path: &str) -> Result<Option<Fingerprint>, TreeError>;

    /// The path that `path` stands for once links are followed. Trees without links return it as it is.
    fn real_path(&self, path: &str) -> Result<String, TreeError> {
        Ok(path.to_owned())
    }

    /// A path as messages show it: from the root on, which itself is a dot.
    fn shown(&self, path: &str) -> String {
        let path = if path.is_empty() { "." } else { path };
        path.to_owned()
    }

    /// Says that a part of a build was known, and what had been read for it. Only a [`Recorder`] makes use of that.
    fn note(&self, _reads: &Arc<ReadSet>) {}
}

/// The id that Git gives a blob of these bytes.
pub fn blob_id(bytes: &[u8]) -> Fingerprint {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hasher.finalize().into()
}
