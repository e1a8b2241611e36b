//! What a commit has at a path: files and folders by their ids, with nothing left out.

use std::collections::BTreeMap;

use crate::commit::Commit;
use crate::edit::{checked, differences};
use crate::objects::{Entry, Mode};
use crate::{Error, Oid, Repository};

/// A file or a folder as a tree holds it: its content by id, and its mode. Equal entries are equal files, or equal folders
/// with all that is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    pub(crate) mode: Mode,
    pub(crate) id: Oid,
}

impl TreeEntry {
    /// The blob, or the tree of a folder.
    pub fn id(self) -> Oid {
        self.id
    }

    /// Whether it is a regular file: no symbolic link, and no submodule.
    pub fn is_file(self) -> bool {
        matches!(self.mode, Mode::File | Mode::Executable)
    }

    /// Whether it is a folder.
    pub fn is_folder(self) -> bool {
        self.mode == Mode::Tree
    }
}

/// `<id>`, with the mode before it where that is not the usual one: `100755 <id>`.
impl std::fmt::Display for TreeEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.mode {
            Mode::File => write!(f, "{}", self.id),
            other => write!(f, "{} {}", other.octal(), self.id),
        }
    }
}

impl std::str::FromStr for TreeEntry {
    type Err = crate::InvalidOid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mode, id) = match text.split_once(' ') {
            None => (Mode::File, text),
            Some((octal, id)) => {
                let known = [Mode::Tree, Mode::Executable, Mode::Symlink, Mode::Submodule];
                let mode = known.into_iter().find(|mode| mode.octal() == octal);
                // The whole text is no id then.
                (
                    mode.unwrap_or(Mode::File),
                    if mode.is_some() { id } else { text },
                )
            }
        };
        Ok(Self {
            mode,
            id: id.parse()?,
        })
    }
}

/// A file before and after; none where it was not there.
pub type Changed = (Option<TreeEntry>, Option<TreeEntry>);

impl Repository {
    /// What a commit has at a path (not empty); nothing is left out.
    pub fn entry(&self, commit: Oid, path: &str) -> Result<Option<TreeEntry>, Error> {
        let path = checked(path)?;
        let objects = self.objects();
        let mut at = TreeEntry {
            mode: Mode::Tree,
            id: Commit::read(&objects, commit)?.tree,
        };
        for name in path.split('/') {
            if at.mode != Mode::Tree {
                return Ok(None);
            }
            let tree = objects.tree(at.id)?;
            match tree.get(name.as_bytes()) {
                Some(entry) => {
                    at = TreeEntry {
                        mode: entry.mode,
                        id: entry.id,
                    };
                }
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The names and entries of a folder (`""`: the root), sorted; none where there is no such folder.
    pub fn folder(&self, commit: Oid, path: &str) -> Result<Vec<(String, TreeEntry)>, Error> {
        let objects = self.objects();
        let tree = match path {
            "" => Commit::read(&objects, commit)?.tree,
            path => match self.entry(commit, path)? {
                Some(entry) if entry.is_folder() => entry.id,
                _ => return Ok(Vec::new()),
            },
        };
        let entry = |e: &Entry| {
            let name = String::from_utf8(e.name.clone()).ok()?;
            Some((
                name,
                TreeEntry {
                    mode: e.mode,
                    id: e.id,
                },
            ))
        };
        Ok(objects
            .tree(tree)?
            .entries
            .iter()
            .filter_map(entry)
            .collect())
    }

    /// What differs between two commits (`None`: an empty tree), by path: the file before, and after.
    pub fn changed_entries(
        &self,
        old: Option<Oid>,
        new: Oid,
    ) -> Result<BTreeMap<String, Changed>, Error> {
        let objects = self.objects();
        let old = old
            .map(|id| Commit::read(&objects, id))
            .transpose()?
            .map(|c| c.tree);
        let new = Commit::read(&objects, new)?.tree;
        let entry = |(mode, id)| TreeEntry { mode, id };
        Ok(differences(&objects, old, Some(new))?
            .into_iter()
            .map(|(path, (old, new))| (path, (old.map(entry), new.map(entry))))
            .collect())
    }

    /// The content of a file by its blob.
    pub fn blob(&self, id: Oid) -> Result<std::sync::Arc<[u8]>, Error> {
        self.objects().blob(id)
    }
}
