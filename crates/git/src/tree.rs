//! One commit as a tree of files, without a checkout: what Flux's artifact of it would hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ignore::{IGNORE_FILE, Rules};
use crate::objects::{IgnoreFiles, Mode, Tree};
use crate::store::Store;
use crate::{Error, Oid};

const MAX_DEPTH: usize = 128;
const MAX_SYMLINKS: usize = 32;

/// What a path of a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
}

/// What becomes of symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// They are not there, as in the artifacts of Flux's source-controller.
    #[default]
    Skip,
    /// Those that stay inside the tree stand for their target, as in a checkout; others are not there.
    Follow,
}

/// How to look at a commit.
#[derive(Clone, Debug, Default)]
pub struct ViewOptions {
    /// `spec.ignore` of a `GitRepository`: patterns that replace the default exclusions.
    pub ignore: Option<String>,
    /// What becomes of symbolic links.
    pub symlinks: Symlinks,
    /// Show every file, with no exclusions at all (to edit a repository, not to build from it).
    pub everything: bool,
}

/// Why a path of a view can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is nothing at the path, or it is left out.
    #[error("{path}: no such file or directory")]
    NotFound {
        /// The path.
        path: String,
    },
    /// The path is a folder.
    #[error("{path}: is a directory")]
    IsDir {
        /// The path.
        path: String,
    },
    /// The path is a file.
    #[error("{path}: is not a directory")]
    NotDir {
        /// The path.
        path: String,
    },
    /// The path leads out of the tree, or is absolute.
    #[error("{path}: is outside of the repository")]
    Outside {
        /// The path.
        path: String,
    },
    /// Folders are nested too deeply.
    #[error("{path}: more than {MAX_DEPTH} levels of folders")]
    TooDeep {
        /// The path.
        path: String,
    },
    /// The object database failed.
    #[error("{path}: {detail}")]
    Unreadable {
        /// The path.
        path: String,
        /// What failed.
        detail: String,
    },
}

/// A commit as a tree of files. Paths are `/`-separated and relative to the root, which is `""`.
///
/// Files that Flux leaves out of its artifacts are not there (`.sourceignore` files at any level,
/// [`ViewOptions::ignore`], the default exclusions), submodules are empty folders, and names that
/// are not UTF-8 are not there either. Cheap to clone, usable from many threads.
#[derive(Clone)]
pub struct TreeView(Arc<View>);

struct View {
    objects: Arc<dyn Store>,
    commit: Oid,
    root: Oid,
    rules: Rules,
    symlinks: Symlinks,
    /// Folder → its tree, for the folders seen so far.
    folders: Mutex<HashMap<String, Node>>,
    /// Excluded folder → whether something in it is included again.
    revived: Mutex<HashMap<String, bool>>,
}

/// One entry of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Dir,
    File { id: Oid, executable: bool },
}

#[derive(Clone)]
enum Node {
    /// The path without links, and the tree; none is an empty folder.
    Dir(String, Option<Arc<Tree>>),
    /// The blob, and whether it may be executed.
    File(Oid, bool),
    Absent,
}

impl TreeView {
    pub(crate) fn new(
        objects: Arc<dyn Store>,
        commit: Oid,
        root: Oid,
        options: &ViewOptions,
    ) -> Result<Self, Error> {
        let rules = if options.everything {
            Rules::none()
        } else {
            let mut files = Vec::new();
            for (folder, id) in ignore_files(&*objects, root, 0)?.iter() {
                let text = objects.blob(*id)?;
                files.push((folder.clone(), String::from_utf8_lossy(&text).into_owned()));
            }
            Rules::new(&files, options.ignore.as_deref())
        };
        Ok(Self(Arc::new(View {
            objects,
            commit,
            root,
            rules,
            symlinks: options.symlinks,
            folders: Mutex::default(),
            revived: Mutex::default(),
        })))
    }

    /// The commit.
    pub fn commit(&self) -> Oid {
        self.0.commit
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.objects
    }

    /// The commit's root tree: two commits with the same one hold the same files.
    pub fn root(&self) -> Oid {
        self.0.root
    }

    /// What is at `path`, if anything.
    pub fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError> {
        Ok(match self.node(path)? {
            Node::Dir(..) => Some(EntryKind::Dir),
            Node::File(..) => Some(EntryKind::File),
            Node::Absent => None,
        })
    }

    /// The content of a file.
    pub fn read(&self, path: &str) -> Result<Arc<[u8]>, TreeError> {
        match self.node(path)? {
            Node::File(id, _) => self.0.objects.blob(id).map_err(|e| unreadable(path, &e)),
            Node::Dir(..) => Err(TreeError::IsDir {
                path: path.to_owned(),
            }),
            Node::Absent => Err(TreeError::NotFound {
                path: path.to_owned(),
            }),
        }
    }

    /// The blob id of a file: equal ids are equal contents. `None` for folders and absent paths.
    pub fn blob_id(&self, path: &str) -> Result<Option<[u8; 20]>, TreeError> {
        Ok(match self.node(path)? {
            Node::File(id, _) => Some(id.0),
            Node::Dir(..) | Node::Absent => None,
        })
    }

    /// The names in a folder, sorted bytewise.
    pub fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError> {
        let entries = self.entries(path)?.into_iter();
        Ok(entries
            .map(|(name, entry)| match entry {
                Found::Dir => (name, EntryKind::Dir),
                Found::File { .. } => (name, EntryKind::File),
            })
            .collect())
    }

    /// What is at `path`, with its id.
    pub(crate) fn entry(&self, path: &str) -> Result<Option<Found>, TreeError> {
        Ok(match self.node(path)? {
            Node::Dir(..) => Some(Found::Dir),
            Node::File(id, executable) => Some(Found::File { id, executable }),
            Node::Absent => None,
        })
    }

    /// What is in a folder, sorted bytewise by name.
    pub(crate) fn entries(&self, path: &str) -> Result<Vec<(String, Found)>, TreeError> {
        let (real, tree) = match self.node(path)? {
            Node::Dir(real, tree) => (real, tree),
            Node::File(..) => {
                return Err(TreeError::NotDir {
                    path: path.to_owned(),
                });
            }
            Node::Absent => {
                return Err(TreeError::NotFound {
                    path: path.to_owned(),
                });
            }
        };
        let mut names = Vec::new();
        for entry in tree.iter().flat_map(|t| &t.entries) {
            let Ok(name) = std::str::from_utf8(&entry.name) else {
                continue;
            };
            let found = match self.child(&real, tree.as_ref(), name, &mut 0)? {
                Node::Dir(..) => Found::Dir,
                Node::File(id, executable) => Found::File { id, executable },
                Node::Absent => continue,
            };
            names.push((name.to_owned(), found));
        }
        Ok(names)
    }

    /// Every file below `path`, depth first in the order of names.
    pub fn files(&self, path: &str) -> Result<Vec<String>, TreeError> {
        let mut files = Vec::new();
        self.collect(&normalised(path)?, 0, &mut files)?;
        Ok(files)
    }

    fn collect(
        &self,
        folder: &str,
        depth: usize,
        files: &mut Vec<String>,
    ) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep {
                path: folder.to_owned(),
            });
        }
        for (name, kind) in self.list(folder)? {
            let path = join(folder, &name);
            match kind {
                EntryKind::File => files.push(path),
                EntryKind::Dir => self.collect(&path, depth + 1, files)?,
            }
        }
        Ok(())
    }

    fn node(&self, path: &str) -> Result<Node, TreeError> {
        self.resolve(&normalised(path)?, &mut 0)
    }

    fn resolve(&self, path: &str, links: &mut usize) -> Result<Node, TreeError> {
        if path.is_empty() {
            let root = self
                .0
                .objects
                .tree(self.0.root)
                .map_err(|e| unreadable("", &e))?;
            return Ok(Node::Dir(String::new(), Some(root)));
        }
        let known = self
            .0
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .cloned();
        if let Some(node) = known {
            return Ok(node);
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path.len() > 4096 || path.split('/').count() > MAX_DEPTH {
            return Err(TreeError::TooDeep {
                path: path.chars().take(200).collect(),
            });
        }
        let node = match self.resolve(parent, links)? {
            Node::Dir(real, tree) => self.child(&real, tree.as_ref(), name, links)?,
            Node::File(..) | Node::Absent => Node::Absent,
        };
        if matches!(node, Node::Dir(..)) {
            self.0
                .folders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(path.to_owned(), node.clone());
        }
        Ok(node)
    }

    /// The entry `name` of the folder whose path without links is `real`.
    fn child(
        &self,
        real: &str,
        tree: Option<&Arc<Tree>>,
        name: &str,
        links: &mut usize,
    ) -> Result<Node, TreeError> {
        let Some(entry) = tree.and_then(|t| t.get(name.as_bytes())) else {
            return Ok(Node::Absent);
        };
        let path = join(real, name);
        match entry.mode {
            Mode::File | Mode::Executable => {
                let excluded = self.0.rules.excludes(&path, false);
                Ok(if excluded {
                    Node::Absent
                } else {
                    Node::File(entry.id, entry.mode == Mode::Executable)
                })
            }
            Mode::Submodule => {
                let excluded = self.0.rules.excludes(&path, true);
                Ok(if excluded {
                    Node::Absent
                } else {
                    Node::Dir(path, None)
                })
            }
            Mode::Tree => {
                let tree = self
                    .0
                    .objects
                    .tree(entry.id)
                    .map_err(|e| unreadable(&path, &e))?;
                let shown = !self.0.rules.excludes(&path, true) || self.revives(&path, &tree, 0)?;
                Ok(if shown {
                    Node::Dir(path, Some(tree))
                } else {
                    Node::Absent
                })
            }
            Mode::Symlink => match self.0.symlinks {
                Symlinks::Skip => Ok(Node::Absent),
                Symlinks::Follow => self.follow(real, &path, entry.id, links),
            },
        }
    }

    fn follow(
        &self,
        folder: &str,
        path: &str,
        id: Oid,
        links: &mut usize,
    ) -> Result<Node, TreeError> {
        *links += 1;
        if *links > MAX_SYMLINKS || self.0.rules.excludes(path, false) {
            return Ok(Node::Absent);
        }
        let target = self.0.objects.blob(id).map_err(|e| unreadable(path, &e))?;
        let Ok(target) = std::str::from_utf8(&target) else {
            return Ok(Node::Absent);
        };
        if target.starts_with('/') || target.contains('\0') {
            return Ok(Node::Absent);
        }
        match normalised(&join(folder, target)) {
            Ok(target) => self.resolve(&target, links),
            Err(_) => Ok(Node::Absent),
        }
    }

    /// Whether a file in an excluded folder is included again.
    fn revives(&self, folder: &str, tree: &Arc<Tree>, depth: usize) -> Result<bool, TreeError> {
        if !self.0.rules.re_includes() {
            return Ok(false);
        }
        let known = self
            .0
            .revived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(folder)
            .copied();
        if let Some(known) = known {
            return Ok(known);
        }
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep {
                path: folder.to_owned(),
            });
        }
        let mut revived = false;
        for entry in &tree.entries {
            let Ok(name) = std::str::from_utf8(&entry.name) else {
                continue;
            };
            let path = join(folder, name);
            revived = match entry.mode {
                Mode::File | Mode::Executable => !self.0.rules.excludes(&path, false),
                Mode::Submodule => !self.0.rules.excludes(&path, true),
                Mode::Symlink => false,
                Mode::Tree => {
                    let tree = self
                        .0
                        .objects
                        .tree(entry.id)
                        .map_err(|e| unreadable(&path, &e))?;
                    !self.0.rules.excludes(&path, true) || self.revives(&path, &tree, depth + 1)?
                }
            };
            if revived {
                break;
            }
        }
        self.0
            .revived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(folder.to_owned(), revived);
        Ok(revived)
    }
}

/// The ignore files below a tree, parents before children. Remembered by tree id, so that a new
/// commit costs what it changed.
fn ignore_files(objects: &dyn Store, tree: Oid, depth: usize) -> Result<IgnoreFiles, Error> {
    if let Some(known) = objects.known_ignore_files(tree) {
        return Ok(known);
    }
    if depth > MAX_DEPTH {
        return Err(TreeError::TooDeep {
            path: IGNORE_FILE.to_owned(),
        }
        .into());
    }
    let entries = objects.tree(tree)?;
    let mut files = Vec::new();
    if let Some(entry) = entries.get(IGNORE_FILE.as_bytes())
        && matches!(entry.mode, Mode::File | Mode::Executable)
    {
        files.push((String::new(), entry.id));
    }
    for entry in entries.entries.iter().filter(|e| e.mode == Mode::Tree) {
        let Ok(name) = std::str::from_utf8(&entry.name) else {
            continue;
        };
        for (folder, id) in ignore_files(objects, entry.id, depth + 1)?.iter() {
            files.push((join(name, folder).trim_end_matches('/').to_owned(), *id));
        }
    }
    let files: IgnoreFiles = files.into();
    objects.remember_ignore_files(tree, files.clone());
    Ok(files)
}

fn unreadable(path: &str, error: &Error) -> TreeError {
    TreeError::Unreadable {
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// `path` without `.`, `..`, empty components and trailing `/`.
pub(crate) fn normalised(path: &str) -> Result<String, TreeError> {
    let outside = || TreeError::Outside {
        path: path.to_owned(),
    };
    if path.starts_with('/') {
        return Err(outside());
    }
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop().ok_or_else(outside)?;
            }
            name => components.push(name),
        }
    }
    Ok(components.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_never_leave_the_tree() {
        assert_eq!(normalised("./a//b/../c/").unwrap(), "a/c");
        assert_eq!(normalised("").unwrap(), "");
        assert_eq!(normalised(".").unwrap(), "");
        assert_eq!(normalised("a/..").unwrap(), "");
        for path in ["..", "a/../..", "/etc/passwd", "../x"] {
            assert!(
                matches!(normalised(path), Err(TreeError::Outside { .. })),
                "{path}"
            );
        }
    }
}
