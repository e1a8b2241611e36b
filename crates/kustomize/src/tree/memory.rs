//! A tree held in memory: tests, generated input, files of one request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::{EntryKind, FileTree, Fingerprint, TreeError, blob_id, parent};

/// Files by path. Directories exist where files are below them, or where [`MemoryTree::add_dir`] made one.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: BTreeMap<String, File>,
    dirs: BTreeMap<String, BTreeSet<String>>,
}

/// The id is made when it is asked for the first time.
#[derive(Debug, Clone)]
struct File {
    bytes: Arc<[u8]>,
    id: OnceLock<Fingerprint>,
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file; `path` must be normalised.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl AsRef<[u8]>) {
        let path = path.into();
        self.link(&path);
        let file = File {
            bytes: Arc::from(bytes.as_ref()),
            id: OnceLock::new(),
        };
        self.files.insert(path, file);
    }

    /// Adds an empty directory; `path` must be normalised.
    pub fn add_dir(&mut self, path: &str) {
        self.dirs.entry(path.to_owned()).or_default();
        self.link(path);
    }

    /// Removes a file; its directory stays.
    pub fn remove(&mut self, path: &str) {
        if self.files.remove(path).is_some()
            && let Some(names) = self.dirs.get_mut(parent(path))
        {
            names.remove(super::file_name(path));
        }
    }

    fn link(&mut self, path: &str) {
        let mut path = path;
        while !path.is_empty() {
            let dir = parent(path);
            let new = self
                .dirs
                .entry(dir.to_owned())
                .or_default()
                .insert(super::file_name(path).to_owned());
            if !new {
                break;
            }
            path = dir;
        }
    }
}

impl<P: Into<String>, B: AsRef<[u8]>> FromIterator<(P, B)> for MemoryTree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let mut tree = Self::new();
        for (path, bytes) in files {
            tree.insert(path, bytes);
        }
        tree
    }
}

impl FileTree for MemoryTree {
    fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError> {
        Ok(if self.files.contains_key(path) {
            Some(EntryKind::File)
        } else if path.is_empty() || self.dirs.contains_key(path) {
            Some(EntryKind::Dir)
        } else {
            None
        })
    }

    fn read(&self, path: &str) -> Result<Arc<[u8]>, TreeError> {
        match self.files.get(path) {
            Some(file) => Ok(Arc::clone(&file.bytes)),
            None if self.kind(path)?.is_some() => Err(TreeError::WrongKind {
                path: path.to_owned(),
                expected: "file",
            }),
            None => Err(TreeError::NotFound {
                path: path.to_owned(),
            }),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError> {
        match self.kind(path)? {
            Some(EntryKind::Dir) => {}
            Some(EntryKind::File) => {
                return Err(TreeError::WrongKind {
                    path: path.to_owned(),
                    expected: "directory",
                });
            }
            None => {
                return Err(TreeError::NotFound {
                    path: path.to_owned(),
                });
            }
        }
        let names = self.dirs.get(path).into_iter().flatten();
        Ok(names
            .map(|name| {
                let full = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}/{name}")
                };
                let kind = if self.files.contains_key(&full) {
                    EntryKind::File
                } else {
                    EntryKind::Dir
                };
                (name.clone(), kind)
            })
            .collect())
    }

    fn fingerprint(&self, path: &str) -> Result<Option<Fingerprint>, TreeError> {
        let id = |file: &File| *file.id.get_or_init(|| blob_id(&file.bytes));
        Ok(self.files.get(path).map(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_from_files() {
        let mut tree: MemoryTree = [("a/b/c.yaml", "x"), ("a/d.yaml", "y")]
            .into_iter()
            .collect();
        assert_eq!(tree.kind("a/b").unwrap(), Some(EntryKind::Dir));
        assert_eq!(tree.kind("a/c").unwrap(), None);
        assert_eq!(
            tree.list("a").unwrap(),
            vec![
                ("b".to_owned(), EntryKind::Dir),
                ("d.yaml".to_owned(), EntryKind::File)
            ]
        );
        tree.remove("a/d.yaml");
        assert_eq!(tree.list("a").unwrap().len(), 1);
        assert!(matches!(tree.read("a/b"), Err(TreeError::WrongKind { .. })));
        assert!(matches!(tree.read("nope"), Err(TreeError::NotFound { .. })));
    }
}
