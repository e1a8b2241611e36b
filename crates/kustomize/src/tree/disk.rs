//! A directory of the machine as a tree.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{EntryKind, FileTree, Fingerprint, TreeError, blob_id, file_name, parent};

/// A directory on disk. Links are followed as long as they stay below the root; one that leads out is refused.
///
/// Where something is, is looked up once: take a new tree after files came, went or moved. Contents are read each time.
#[derive(Debug, Clone)]
pub struct DiskTree {
    root: PathBuf,
    found: Arc<RwLock<HashMap<String, Arc<Found>>>>,
}

/// What is at a path, and where that really is.
#[derive(Debug)]
struct Found {
    real: PathBuf,
    kind: Option<EntryKind>,
}

impl DiskTree {
    /// The tree below `root`, which must exist.
    pub fn new(root: impl AsRef<Path>) -> Result<Self, TreeError> {
        let root = root.as_ref();
        let root = root.canonicalize().map_err(|source| TreeError::Io {
            path: root.display().to_string(),
            source,
        })?;
        let found = Found {
            real: root.clone(),
            kind: Some(EntryKind::Dir),
        };
        Ok(Self {
            root,
            found: Arc::new(RwLock::new(HashMap::from([(
                String::new(),
                Arc::new(found),
            )]))),
        })
    }

    /// The real path of the root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn look_up(&self, path: &str) -> Result<Option<Arc<Found>>, TreeError> {
        let known = self.found.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(path) {
            return Ok(Some(Arc::clone(found)));
        }
        drop(known);
        // What is not the root has a parent.
        let Some(found) = self.find(parent(path), path)? else {
            return Ok(None);
        };
        let found = Arc::new(found);
        self.found
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), Arc::clone(&found));
        Ok(Some(found))
    }

    fn find(&self, directory: &str, path: &str) -> Result<Option<Found>, TreeError> {
        let Some(directory) = self.look_up(directory)? else {
            return Ok(None);
        };
        let known = |result: io::Result<Metadata>| match result {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if absent(&error) => Ok(None),
            Err(source) => Err(TreeError::Io {
                path: path.to_owned(),
                source,
            }),
        };
        let found = |real: PathBuf, metadata: Metadata| Found {
            real,
            kind: kind_of(&metadata),
        };
        let full = directory.real.join(file_name(path));
        let Some(metadata) = known(std::fs::symlink_metadata(&full))? else {
            return Ok(None);
        };
        if !metadata.is_symlink() {
            return Ok(Some(found(full, metadata)));
        }
        match full.canonicalize() {
            Ok(real) if real.starts_with(&self.root) => {
                let metadata = known(std::fs::metadata(&real))?;
                Ok(metadata.map(|metadata| found(real, metadata)))
            }
            Ok(_) => Err(TreeError::Outside {
                path: path.to_owned(),
            }),
            Err(error) if absent(&error) => Ok(None),
            Err(source) => Err(TreeError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

fn existing<T>(path: &str, found: Option<T>) -> Result<T, TreeError> {
    found.ok_or_else(|| TreeError::NotFound {
        path: path.to_owned(),
    })
}

/// Whether the system's answer means that there is nothing at the path.
fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    ) || error.kind() == io::ErrorKind::InvalidInput
}

fn kind_of(metadata: &std::fs::Metadata) -> Option<EntryKind> {
    if metadata.is_dir() {
        Some(EntryKind::Dir)
    } else if metadata.is_file() {
        Some(EntryKind::File)
    } else {
        None
    }
}

impl FileTree for DiskTree {
    fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError> {
        Ok(self.look_up(path)?.and_then(|found| found.kind))
    }

    fn read(&self, path: &str) -> Result<Arc<[u8]>, TreeError> {
        let found = existing(path, self.look_up(path)?)?;
        // Only regular files: a named pipe or a device would hold the build for ever.
        if found.kind != Some(EntryKind::File) {
            return Err(TreeError::WrongKind {
                path: path.to_owned(),
                expected: "file",
            });
        }
        let bytes = std::fs::read(&found.real).map_err(|source| TreeError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Arc::from(bytes))
    }

    fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError> {
        let real = &existing(path, self.look_up(path)?)?.real;
        let failed = |source| TreeError::Io {
            path: path.to_owned(),
            source,
        };
        let mut out = Vec::new();
        for entry in std::fs::read_dir(real).map_err(failed)? {
            let Ok(name) = entry.map_err(failed)?.file_name().into_string() else {
                continue;
            };
            let full = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            // A dangling link and one that leads out are not there, as they are not in Flux's artifacts.
            if let Ok(Some(kind)) = self.kind(&full) {
                out.push((name, kind));
            }
        }
        out.sort();
        Ok(out)
    }

    fn fingerprint(&self, path: &str) -> Result<Option<Fingerprint>, TreeError> {
        match self.kind(path)? {
            Some(EntryKind::File) => Ok(Some(blob_id(&self.read(path)?))),
            _ => Ok(None),
        }
    }

    /// In a tree that is the whole disk, paths are the system's own.
    fn shown(&self, path: &str) -> String {
        match path {
            path if self.root.parent().is_none() => self.root.join(path).display().to_string(),
            "" => ".".to_owned(),
            path => path.to_owned(),
        }
    }

    fn real_path(&self, path: &str) -> Result<String, TreeError> {
        let found = existing(path, self.look_up(path)?)?;
        let below = found
            .real
            .strip_prefix(&self.root)
            .map_err(|_| TreeError::Outside {
                path: path.to_owned(),
            })?;
        below
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| TreeError::Store {
                path: path.to_owned(),
                message: "the file name is not UTF-8".to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_root_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(root.join("a/in.yaml"), "y").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("a/out.yaml")).unwrap();
        std::os::unix::fs::symlink("in.yaml", root.join("a/link.yaml")).unwrap();
        let tree = DiskTree::new(&root).unwrap();
        assert!(matches!(
            tree.read("a/out.yaml"),
            Err(TreeError::Outside { .. })
        ));
        assert_eq!(&*tree.read("a/link.yaml").unwrap(), b"y");
        assert_eq!(tree.real_path("a/link.yaml").unwrap(), "a/in.yaml");
        let names: Vec<String> = tree
            .list("a")
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["in.yaml", "link.yaml"]);
        assert_eq!(tree.kind("a/none").unwrap(), None);
        assert_eq!(tree.fingerprint("a/in.yaml").unwrap(), Some(blob_id(b"y")));
    }
}
