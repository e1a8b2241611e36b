//! One tree put together from several: a part of a commit, its submodules, and what is included from elsewhere.
//!
//! Nothing is written: the few trees that lead to a changed place are made anew in memory, with the ids that Git would
//! give them, and everything else is read from where it is. So the root's id stands for the whole content, and a
//! [`TreeView`] of a composition is like any other.

use std::collections::HashMap;
use std::sync::Arc;

use gix_object::Kind;

use crate::commit::Commit;
use crate::objects::{Entry, Mode, Tree};
use crate::store::{Memo, Store, id_of};
use crate::tree::{Found, join, normalised};
use crate::{Error, Oid, Repository, TreeError, TreeView, ViewOptions};

/// Folders are nested no deeper than this.
const MAX_DEPTH: usize = 128;

/// See the module. Later steps see what earlier ones made.
pub struct Composition {
    commit: Oid,
    root: Oid,
    stores: Vec<Arc<dyn Store>>,
    trees: HashMap<Oid, Arc<Tree>>,
}

impl Composition {
    /// Begins with all of a commit.
    pub fn new(repository: &Repository, commit: Oid) -> Result<Self, Error> {
        let objects = repository.objects();
        let commit = Commit::read(&objects, commit)?;
        Ok(Self {
            commit: commit.id,
            root: commit.tree,
            stores: vec![objects],
            trees: HashMap::new(),
        })
    }

    /// The id of the tree as it is now.
    pub fn root(&self) -> Oid {
        self.root
    }

    /// Leaves only what begins with one of `prefixes`, which is how Flux reads `spec.sparseCheckout`: the prefix
    /// `apps` keeps `apps/` and `apps-other/` too. One under which there is nothing is [`Error::SparseMissing`].
    pub fn keep_only(&mut self, prefixes: &[String]) -> Result<(), Error> {
        let prefixes: Vec<&str> = prefixes
            .iter()
            .map(|prefix| prefix.strip_prefix("./").unwrap_or(prefix))
            .collect();
        self.root = self.part(self.root, "", &prefixes, 0)?.map_or_else(
            || {
                self.keep(Tree {
                    entries: Vec::new(),
                })
            },
            Ok,
        )?;
        for prefix in prefixes {
            let missing = || Error::SparseMissing {
                path: prefix.to_owned(),
            };
            let path = normalised(prefix).map_err(|_| missing())?;
            if !path.is_empty() && self.entry(&path)?.is_none() {
                return Err(missing());
            }
        }
        Ok(())
    }

    fn part(
        &mut self,
        tree: Oid,
        folder: &str,
        prefixes: &[&str],
        depth: usize,
    ) -> Result<Option<Oid>, Error> {
        let within = format!("{folder}/");
        if !folder.is_empty() && prefixes.iter().any(|prefix| within.starts_with(prefix)) {
            return Ok(Some(tree));
        }
        let leads_on = folder.is_empty() || prefixes.iter().any(|p| p.starts_with(&within));
        if !leads_on || depth > MAX_DEPTH {
            return Ok(None);
        }
        let mut entries = Vec::new();
        for entry in &self.tree(tree)?.entries {
            let Ok(name) = std::str::from_utf8(&entry.name) else {
                continue;
            };
            let path = join(folder, name);
            if entry.mode == Mode::Tree {
                let part = self.part(entry.id, &path, prefixes, depth + 1)?;
                entries.extend(part.map(|id| Entry {
                    id,
                    ..entry.clone()
                }));
            } else if prefixes.iter().any(|prefix| path.starts_with(prefix)) {
                entries.push(entry.clone());
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        self.keep(Tree { entries }).map(Some)
    }

    /// Puts a commit of another repository where a submodule is.
    pub(crate) fn submodule(
        &mut self,
        path: &str,
        repository: &Repository,
        commit: Oid,
    ) -> Result<(), Error> {
        let objects = repository.objects();
        let tree = Commit::read(&objects, commit)?.tree;
        self.stores.push(objects);
        self.put(path, Mode::Tree, tree)
    }

    /// Puts what `from` shows at `from_path` at `to_path`, in place of an empty folder, of a file if it is one itself,
    /// or of nothing. A folder with something in it is never overwritten, as in Flux.
    pub fn include(
        &mut self,
        from: &TreeView,
        from_path: &str,
        to_path: &str,
    ) -> Result<(), Error> {
        // Flux joins paths below the root, whatever they say; so nothing leads out of it.
        let (from_path, to_path) = (contained(from_path), contained(to_path));
        let refused = |reason: String| Error::InvalidEdit {
            path: to_path.clone(),
            reason,
        };
        let (mode, id) = match from.entry(&from_path)? {
            Some(Found::Dir) => (Mode::Tree, self.copy(from, &from_path, 0)?),
            Some(Found::File {
                id,
                executable: true,
            }) => (Mode::Executable, id),
            Some(Found::File { id, .. }) => (Mode::File, id),
            None => return Err(refused(format!("{from_path}: no such file or directory"))),
        };
        self.stores.push(from.store().clone());
        if to_path.is_empty() {
            if !self.tree(self.root)?.entries.is_empty() {
                return Err(refused(
                    "the root of the repository is not empty".to_owned(),
                ));
            }
            if mode != Mode::Tree {
                return Err(refused("a file can't be the root".to_owned()));
            }
            self.root = id;
            return Ok(());
        }
        if let Some(there) = self.entry(&to_path)? {
            let (was, is) = (there.mode == Mode::Tree, mode == Mode::Tree);
            if was && is && !self.tree(there.id)?.entries.is_empty() {
                let reason = "file exists, and is a folder that is not empty";
                return Err(refused(reason.to_owned()));
            }
            // The place of a submodule is an empty folder.
            if was != is && there.mode != Mode::Submodule {
                let reason = "a file and a folder can't replace each other";
                return Err(refused(reason.to_owned()));
            }
        }
        self.put(&to_path, mode, id)
    }

    /// What a view shows of a folder, as trees: what it leaves out is not in them.
    fn copy(&mut self, view: &TreeView, folder: &str, depth: usize) -> Result<Oid, Error> {
        if depth > MAX_DEPTH {
            let path = folder.to_owned();
            return Err(TreeError::TooDeep { path }.into());
        }
        let mut entries = Vec::new();
        for (name, found) in view.entries(folder)? {
            let (mode, id) = match found {
                Found::Dir => (
                    Mode::Tree,
                    self.copy(view, &join(folder, &name), depth + 1)?,
                ),
                Found::File {
                    id,
                    executable: true,
                } => (Mode::Executable, id),
                Found::File { id, .. } => (Mode::File, id),
            };
            let name = name.into_bytes();
            entries.push(Entry { name, mode, id });
        }
        self.keep(Tree { entries })
    }

    /// The tree as files.
    pub fn view(self, options: &ViewOptions) -> Result<TreeView, Error> {
        let (commit, root) = (self.commit, self.root);
        let composed: Arc<dyn Store> = Arc::new(Composed {
            stores: self.stores,
            trees: self.trees,
            ignore_files: Memo::default(),
        });
        TreeView::new(composed, commit, root, options)
    }

    fn tree(&self, id: Oid) -> Result<Arc<Tree>, Error> {
        find(&self.trees, &self.stores, id)
    }

    /// What is at a normalised path.
    pub(crate) fn entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        let mut tree = self.tree(self.root)?;
        let mut components = path.split('/').peekable();
        while let Some(name) = components.next() {
            let Some(entry) = tree.get(name.as_bytes()).cloned() else {
                return Ok(None);
            };
            if components.peek().is_none() {
                return Ok(Some(entry));
            }
            if entry.mode != Mode::Tree {
                return Ok(None);
            }
            tree = self.tree(entry.id)?;
        }
        Ok(None)
    }

    /// Sets one entry; folders on the way are made where there are none.
    fn put(&mut self, path: &str, mode: Mode, id: Oid) -> Result<(), Error> {
        self.root = self.with(Some(self.root), path, path, mode, id)?;
        Ok(())
    }

    fn with(
        &mut self,
        tree: Option<Oid>,
        rest: &str,
        path: &str,
        mode: Mode,
        id: Oid,
    ) -> Result<Oid, Error> {
        let mut entries = match tree {
            Some(tree) => self.tree(tree)?.entries.clone(),
            None => Vec::new(),
        };
        let (name, below) = match rest.split_once('/') {
            Some((name, below)) => (name, Some(below)),
            None => (rest, None),
        };
        let at = entries.binary_search_by(|e| e.name.as_slice().cmp(name.as_bytes()));
        let new = match below {
            None => Entry {
                name: name.as_bytes().to_vec(),
                mode,
                id,
            },
            Some(below) => {
                let inner = match at.map(|at| &entries[at]) {
                    Ok(entry) if entry.mode == Mode::Tree => Some(entry.id),
                    Ok(entry) if entry.mode != Mode::Submodule => {
                        return Err(Error::InvalidEdit {
                            path: path.to_owned(),
                            reason: format!("{name} is not a folder"),
                        });
                    }
                    _ => None,
                };
                let id = self.with(inner, below, path, mode, id)?;
                Entry {
                    name: name.as_bytes().to_vec(),
                    mode: Mode::Tree,
                    id,
                }
            }
        };
        match at {
            Ok(at) => entries[at] = new,
            Err(at) => entries.insert(at, new),
        }
        self.keep(Tree { entries })
    }

    fn keep(&mut self, tree: Tree) -> Result<Oid, Error> {
        let id = id_of(Kind::Tree, &Tree::encode(tree.entries.clone()))?;
        self.trees.insert(id, Arc::new(tree));
        Ok(id)
    }
}

impl std::fmt::Debug for Composition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composition")
            .field("commit", &self.commit)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// A path that stays below the root whatever it says: `..` at the root is the root.
fn contained(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    components.join("/")
}

fn find(
    trees: &HashMap<Oid, Arc<Tree>>,
    stores: &[Arc<dyn Store>],
    id: Oid,
) -> Result<Arc<Tree>, Error> {
    match trees.get(&id) {
        Some(tree) => Ok(tree.clone()),
        None => holder(stores, id).tree(id),
    }
}

/// The store that has an object; the first one says what is wrong where none has.
fn holder(stores: &[Arc<dyn Store>], id: Oid) -> &dyn Store {
    let found = stores.iter().skip(1).find(|store| store.holds(id));
    let first = &stores[0];
    match found {
        Some(store) if !first.holds(id) => &**store,
        _ => &**first,
    }
}

struct Composed {
    /// Never empty.
    stores: Vec<Arc<dyn Store>>,
    trees: HashMap<Oid, Arc<Tree>>,
    ignore_files: Memo,
}

impl Store for Composed {
    fn blob(&self, id: Oid) -> Result<Arc<[u8]>, Error> {
        holder(&self.stores, id).blob(id)
    }

    fn tree(&self, id: Oid) -> Result<Arc<Tree>, Error> {
        find(&self.trees, &self.stores, id)
    }

    fn holds(&self, id: Oid) -> bool {
        self.trees.contains_key(&id) || self.stores.iter().any(|store| store.holds(id))
    }

    fn ignore_files(&self) -> &Memo {
        &self.ignore_files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(contained("../../etc/passwd"), "etc/passwd");
        assert_eq!(contained("/a/./b//c/../d/"), "a/b/d");
        assert_eq!(contained("./"), "");
    }
}
