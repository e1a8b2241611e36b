//! What a kustomization may read: files below its directory (or anywhere in the tree, as Flux allows), and other
//! kustomizations that do not contain it.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::options::LoadRestrictor;
use crate::tree::{self, EntryKind, FileTree};

/// Kustomizations inside each other; far more than anyone writes, far less than the stack holds.
pub(crate) const MAX_DEPTH: usize = 64;

/// Reads on behalf of the kustomization in one directory.
pub(crate) struct Loader<'t> {
    pub(crate) tree: &'t dyn FileTree,
    /// The kustomization's directory.
    pub(crate) root: String,
    /// The directories of the kustomizations that led here, outermost first.
    visited: Vec<String>,
    pub(crate) restrictor: LoadRestrictor,
}

impl<'t> Loader<'t> {
    /// For the directory that the build starts from.
    pub(crate) fn new(
        tree: &'t dyn FileTree,
        path: &str,
        restrictor: LoadRestrictor,
    ) -> Result<Self> {
        let root = tree::join("", path).ok_or_else(|| outside(path))?;
        match tree.kind(&root)? {
            Some(EntryKind::Dir) => {}
            Some(EntryKind::File) => {
                return Err(Error::missing(format!(
                    "{} is a file; expecting a directory",
                    tree.shown(&root)
                )));
            }
            None => {
                return Err(Error::missing(format!(
                    "no such directory: {}",
                    tree.shown(&root)
                )));
            }
        }
        let root = tree.real_path(&root)?;
        Ok(Self {
            tree,
            root,
            visited: Vec::new(),
            restrictor,
        })
    }

    /// A file of this kustomization.
    pub(crate) fn load(&self, path: &str) -> Result<Arc<[u8]>> {
        let full = self.file(path)?;
        Ok(self.tree.read(&full)?)
    }

    /// The path in the tree of a file that this kustomization may read.
    pub(crate) fn file(&self, path: &str) -> Result<String> {
        if is_url(path) {
            return Err(remote(path));
        }
        let full = self.resolve(path)?;
        if self.restrictor == LoadRestrictor::RootOnly && self.tree.kind(&full)?.is_none() {
            return Err(Error::missing(format!(
                "no such file or directory: {}",
                self.tree.shown(&full)
            )));
        }
        self.permit(&full)?;
        Ok(full)
    }

    /// Refuses what is there but must not be read.
    pub(crate) fn permit(&self, full: &str) -> Result<()> {
        if self.restrictor == LoadRestrictor::RootOnly {
            let real = self.tree.real_path(full)?;
            if !tree::within(&self.root, &real) {
                return Err(Error::refused(format!(
                    "security; file '{}' is not in or below '{}'",
                    self.tree.shown(full),
                    self.tree.shown(&self.root)
                ))
                .hint("move it below the kustomization, or build with --load-restrictor=LoadRestrictionsNone"));
            }
        }
        Ok(())
    }

    /// What a path of `resources` is, and its path in the tree.
    pub(crate) fn find(&self, path: &str) -> Result<Option<(EntryKind, String)>> {
        if is_url(path) || looks_remote(path) {
            return Ok(None);
        }
        let full = self.resolve(path)?;
        Ok(self.tree.kind(&full)?.map(|kind| (kind, full)))
    }

    /// The directories of the kustomizations that led here, and this one's.
    pub(crate) fn visited(&self) -> impl Iterator<Item = &str> {
        self.visited.iter().chain([&self.root]).map(String::as_str)
    }

    /// The same, reading through another tree that gives the same answers.
    pub(crate) fn through<'o>(&self, tree: &'o dyn FileTree) -> Loader<'o> {
        Loader {
            tree,
            root: self.root.clone(),
            visited: self.visited.clone(),
            restrictor: self.restrictor,
        }
    }

    fn resolve(&self, path: &str) -> Result<String> {
        if path.is_empty() {
            return Err(Error::missing("the path is empty"));
        }
        if path.starts_with('/') {
            return Err(Error::refused(format!("'{path}' cannot be absolute"))
                .hint("write the path relative to the kustomization"));
        }
        tree::join(&self.root, path).ok_or_else(|| outside(path))
    }

    /// The loader of the kustomization in another directory.
    pub(crate) fn enter(&self, path: &str) -> Result<Self> {
        if is_url(path) || looks_remote(path) {
            return Err(remote(path));
        }
        let full = self.resolve(path)?;
        match self.tree.kind(&full)? {
            Some(EntryKind::Dir) => {}
            Some(EntryKind::File) => {
                return Err(Error::missing(format!(
                    "must be a directory, but {} is a file",
                    self.tree.shown(&full)
                )));
            }
            None => {
                return Err(Error::missing(format!(
                    "no such file or directory: {}",
                    self.tree.shown(&full)
                )));
            }
        }
        let root = self.tree.real_path(&full)?;
        if let Some(visited) = self.visited().find(|visited| tree::within(&root, visited)) {
            return Err(Error::conflict(format!(
                "cycle detected: candidate root '{}' contains visited root '{}'",
                self.tree.shown(&root),
                self.tree.shown(visited)
            ))
            .hint("a kustomization cannot take in a directory that it is part of"));
        }
        let mut visited = self.visited.clone();
        visited.push(self.root.clone());
        if visited.len() > MAX_DEPTH {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("kustomizations are nested more than {MAX_DEPTH} deep"),
            ));
        }
        Ok(Self {
            tree: self.tree,
            root,
            visited,
            restrictor: self.restrictor,
        })
    }
}

fn outside(path: &str) -> Error {
    Error::refused(format!("'{path}' leads out of the tree"))
        .hint("only files of the repository can be used")
}

fn remote(path: &str) -> Error {
    Error::refused(format!("'{path}' is remote, and a build fetches nothing"))
        .hint("copy it into the repository, or let a GitRepository of its own fetch it")
}

fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Whether kustomize would take the path for a Git repository.
fn looks_remote(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.contains("://")
        || ["git::", "git@", "gh:", "github.com/", "github.com:", "org-"]
            .iter()
            .any(|prefix| lower.starts_with(prefix))
            && (!lower.starts_with("org-") || lower.contains("@github.com"))
        || lower.contains(".git/") && !lower.starts_with('.')
        || lower.split_once('@').is_some_and(|(user, rest)| {
            !user.contains('/')
                && rest
                    .split_once(':')
                    .is_some_and(|(host, _)| !host.contains('/') && host.contains('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::MemoryTree;

    fn tree() -> MemoryTree {
        [
            ("a/kustomization.yaml", ""),
            ("a/b/kustomization.yaml", ""),
            ("c/x.yaml", "x"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_file_outside_needs_the_restrictor_off() {
        let tree = tree();
        let strict = Loader::new(&tree, "a", LoadRestrictor::RootOnly).unwrap();
        assert_eq!(
            strict.load("../c/x.yaml").unwrap_err().kind(),
            ErrorKind::Refused
        );
        let open = Loader::new(&tree, "a", LoadRestrictor::None).unwrap();
        assert_eq!(&*open.load("../c/x.yaml").unwrap(), b"x");
        assert_eq!(
            open.load("../../etc/passwd").unwrap_err().kind(),
            ErrorKind::Refused
        );
        assert_eq!(
            open.load("/etc/passwd").unwrap_err().kind(),
            ErrorKind::Refused
        );
    }

    #[test]
    fn a_directory_above_is_a_cycle() {
        let tree = tree();
        let loader = Loader::new(&tree, "a", LoadRestrictor::RootOnly).unwrap();
        assert!(loader.enter(".").is_err());
        let inner = loader.enter("b").unwrap();
        assert!(inner.enter("..").err().unwrap().what().contains("cycle"));
        assert!(inner.enter("../../c").is_ok());
    }

    #[test]
    fn remote_bases_are_refused() {
        let tree = tree();
        let loader = Loader::new(&tree, "a", LoadRestrictor::None).unwrap();
        for path in [
            "https://github.com/o/r//deploy?ref=v1",
            "github.com/o/r",
            "git@github.com:o/r.git",
            "ssh://git@host/o/r",
            "https://example.com/x.yaml",
        ] {
            assert_eq!(
                loader.enter(path).err().unwrap().kind(),
                ErrorKind::Refused,
                "{path}"
            );
        }
        assert_eq!(
            loader
                .load("https://example.com/x.yaml")
                .unwrap_err()
                .kind(),
            ErrorKind::Refused
        );
    }
}
