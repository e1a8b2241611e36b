//! Commits without a checkout: only the trees on the way to a changed file are written anew.

use std::collections::BTreeMap;

use gix_object::Kind;

use crate::commit::{Commit, Draft};
use crate::objects::{Entry, Mode, Objects, Tree};
use crate::tree::{join, normalised};
use crate::{Error, Oid, Repository, Signature, TreeEntry};

/// What becomes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    path: String,
    becomes: Becomes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Becomes {
    Content(Vec<u8>),
    Entry(TreeEntry),
    Nothing,
    NothingBelow,
}

impl Change {
    /// The file has this content; it is made if it is not there. Whether it is executable stays.
    pub fn write(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            becomes: Becomes::Content(content.into()),
        }
    }

    /// The path is exactly this file or folder, which the repository holds already, whatever it was before.
    pub fn place(path: impl Into<String>, entry: TreeEntry) -> Self {
        Self {
            path: path.into(),
            becomes: Becomes::Entry(entry),
        }
    }

    /// The file is gone, and folders that are empty without it.
    pub fn delete(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            becomes: Becomes::Nothing,
        }
    }

    /// The file is gone, or the folder with all that is in it.
    pub fn delete_all(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            becomes: Becomes::NothingBelow,
        }
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// What a path of a tree shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    /// This blob, with the mode that the file has, or as a plain file.
    Blob(Oid),
    /// Exactly this file; a folder is not replaced.
    Exactly(Mode, Oid),
    /// Exactly this, whatever was there.
    Whole(Mode, Oid),
    /// Nothing, where a file was.
    Delete,
    /// Nothing, whatever was there.
    DeleteAll,
}

impl Repository {
    /// Makes a commit on top of `base` (or the first one), and returns its id. No ref moves: that is
    /// up to [`Repository::update_ref`] or [`crate::Mirror::push`]. Reads and writes objects only,
    /// so it may run beside anything else; file access blocks for a moment.
    pub fn edit(
        &self,
        base: Option<Oid>,
        changes: &[Change],
        message: &str,
        author: &Signature,
        committer: &Signature,
    ) -> Result<Oid, Error> {
        let draft = Draft {
            message,
            author,
            committer,
            key: None,
        };
        self.edit_as(base, changes, &draft)
    }

    /// The same, by a draft, which may have the commit signed.
    pub fn edit_as(
        &self,
        base: Option<Oid>,
        changes: &[Change],
        draft: &Draft<'_>,
    ) -> Result<Oid, Error> {
        let objects = self.objects();
        let mut edits = BTreeMap::new();
        for change in changes {
            let path = checked(&change.path)?;
            let edit = match &change.becomes {
                Becomes::Content(content) => Edit::Blob(objects.write(Kind::Blob, content)?),
                Becomes::Entry(entry) => {
                    if entry.mode != Mode::Submodule {
                        objects.expect(entry.id)?;
                    }
                    Edit::Whole(entry.mode, entry.id)
                }
                Becomes::Nothing => Edit::Delete,
                Becomes::NothingBelow => Edit::DeleteAll,
            };
            if edits.insert(path, edit).is_some() {
                return Err(invalid(&change.path, "is changed twice"));
            }
        }
        commit(&objects, base, edits, draft)
    }
}

/// Writes the trees and the commit for `edits`.
pub(crate) fn commit(
    objects: &Objects,
    base: Option<Oid>,
    edits: BTreeMap<String, Edit>,
    draft: &Draft<'_>,
) -> Result<Oid, Error> {
    let base = base.map(|id| Commit::read(objects, id)).transpose()?;
    let tree = apply(objects, base.as_ref().map(|b| b.tree), edits)?;
    if base.as_ref().is_some_and(|b| b.tree == tree) {
        return Err(Error::NothingToCommit);
    }
    let parents: Vec<Oid> = base.iter().map(|b| b.id).collect();
    objects.write(Kind::Commit, &Commit::encode(tree, &parents, draft)?)
}

/// The tree with `edits` in place.
fn apply(
    objects: &Objects,
    tree: Option<Oid>,
    edits: BTreeMap<String, Edit>,
) -> Result<Oid, Error> {
    let edits = edits
        .into_iter()
        .map(|(path, edit)| (path.clone(), path, edit))
        .collect();
    match rewrite(objects, tree, edits, 0)? {
        Some(id) => Ok(id),
        None => objects.write(Kind::Tree, &[]),
    }
}

/// Rewrites one folder. An edit is the rest of the path from here, the whole path, and what to do.
fn rewrite(
    objects: &Objects,
    tree: Option<Oid>,
    edits: Vec<(String, String, Edit)>,
    depth: usize,
) -> Result<Option<Oid>, Error> {
    if depth > 128 {
        return Err(invalid(
            edits.first().map_or("", |e| &e.1),
            "is nested too deeply",
        ));
    }
    let old = tree.map(|id| objects.tree(id)).transpose()?;
    let mut entries: BTreeMap<Vec<u8>, Entry> = old
        .iter()
        .flat_map(|t| &t.entries)
        .map(|e| (e.name.clone(), e.clone()))
        .collect();
    let mut below: BTreeMap<String, Vec<(String, String, Edit)>> = BTreeMap::new();
    let mut here = Vec::new();
    for (rest, path, edit) in edits {
        match rest.split_once('/') {
            Some((folder, rest)) => {
                below
                    .entry(folder.to_owned())
                    .or_default()
                    .push((rest.to_owned(), path, edit));
            }
            None => here.push((rest, path, edit)),
        }
    }
    // Deletions first: a file may make way for a folder of its name, and the other way round.
    let (deletions, writes): (Vec<_>, Vec<_>) = here
        .into_iter()
        .partition(|(.., edit)| matches!(edit, Edit::Delete | Edit::DeleteAll));
    for (name, path, edit) in deletions {
        match entries.get(name.as_bytes()).map(|e| e.mode) {
            Some(Mode::Tree) if matches!(edit, Edit::Delete) => {
                return Err(invalid(&path, "is a folder"));
            }
            None => return Err(invalid(&path, "is not there to be deleted")),
            Some(_) => entries.remove(name.as_bytes()),
        };
    }
    for (folder, edits) in below {
        let known = entries.get(folder.as_bytes());
        let id = match known.map(|e| (e.mode, e.id)) {
            Some((Mode::Tree, id)) => Some(id),
            Some(_) => return Err(invalid(&edits[0].1, "has a file where a folder should be")),
            None => None,
        };
        match rewrite(objects, id, edits, depth + 1)? {
            Some(id) => {
                let name = folder.into_bytes();
                entries.insert(
                    name.clone(),
                    Entry {
                        name,
                        mode: Mode::Tree,
                        id,
                    },
                );
            }
            None => {
                entries.remove(folder.as_bytes());
            }
        }
    }
    for (name, path, edit) in writes {
        let known = entries.get(name.as_bytes()).map(|e| e.mode);
        let (mode, id) = match (edit, known) {
            (Edit::Whole(mode, id), _) => (mode, id),
            (_, Some(Mode::Tree)) => return Err(invalid(&path, "is a folder")),
            (Edit::Blob(_), Some(Mode::Symlink | Mode::Submodule)) => {
                return Err(invalid(
                    &path,
                    "is a symbolic link or a submodule, not a file",
                ));
            }
            (Edit::Blob(id), Some(mode)) => (mode, id),
            (Edit::Blob(id), None) => (Mode::File, id),
            (Edit::Exactly(mode, id), _) => (mode, id),
            (Edit::Delete | Edit::DeleteAll, _) => continue,
        };
        let name = name.into_bytes();
        entries.insert(name.clone(), Entry { name, mode, id });
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let encoded = Tree::encode(entries.into_values().collect());
    objects.write(Kind::Tree, &encoded).map(Some)
}

/// The differences between two trees, by path: what was there, and what is there now.
pub(crate) type Differences = BTreeMap<String, (Option<(Mode, Oid)>, Option<(Mode, Oid)>)>;

pub(crate) fn differences(
    objects: &Objects,
    old: Option<Oid>,
    new: Option<Oid>,
) -> Result<Differences, Error> {
    let mut out = BTreeMap::new();
    compare(objects, "", old, new, &mut out, 0)?;
    Ok(out)
}

fn compare(
    objects: &Objects,
    folder: &str,
    old: Option<Oid>,
    new: Option<Oid>,
    out: &mut Differences,
    depth: usize,
) -> Result<(), Error> {
    if old == new {
        return Ok(());
    }
    if depth > 128 {
        return Err(invalid(folder, "is nested too deeply"));
    }
    let tree = |id: Option<Oid>| id.map(|id| objects.tree(id)).transpose();
    let (old, new) = (tree(old)?, tree(new)?);
    let names = old
        .iter()
        .chain(&new)
        .flat_map(|t| t.entries.iter().map(|e| e.name.clone()));
    for name in names.collect::<std::collections::BTreeSet<_>>() {
        let of = |tree: &Option<std::sync::Arc<Tree>>| {
            tree.as_ref()
                .and_then(|t| t.get(&name))
                .map(|entry| (entry.mode, entry.id))
        };
        let (before, after) = (of(&old), of(&new));
        if before == after {
            continue;
        }
        let path = join(folder, &String::from_utf8_lossy(&name));
        let folder_of =
            |entry: Option<(Mode, Oid)>| entry.filter(|e| e.0 == Mode::Tree).map(|e| e.1);
        let file_of = |entry: Option<(Mode, Oid)>| entry.filter(|e| e.0 != Mode::Tree);
        compare(
            objects,
            &path,
            folder_of(before),
            folder_of(after),
            out,
            depth + 1,
        )?;
        if file_of(before) != file_of(after) {
            out.insert(path, (file_of(before), file_of(after)));
        }
    }
    Ok(())
}

/// What a path of a tree is, folders left out.
pub(crate) fn entry_at(
    objects: &Objects,
    tree: Oid,
    path: &str,
) -> Result<Option<(Mode, Oid)>, Error> {
    let mut tree = objects.tree(tree)?;
    let mut components = path.split('/').peekable();
    while let Some(name) = components.next() {
        let Some(entry) = tree.get(name.as_bytes()) else {
            return Ok(None);
        };
        let (mode, id) = (entry.mode, entry.id);
        match (components.peek(), mode) {
            (None, Mode::Tree) => return Ok(None),
            (None, _) => return Ok(Some((mode, id))),
            (Some(_), Mode::Tree) => tree = objects.tree(id)?,
            (Some(_), _) => return Ok(None),
        }
    }
    Ok(None)
}

pub(crate) fn checked(path: &str) -> Result<String, Error> {
    let normal = normalised(path)?;
    if normal.is_empty() || normal != path {
        return Err(invalid(
            path,
            "is no plain path of a file in the repository",
        ));
    }
    // What checkouts on some systems would take for `.git`.
    let is_git = |name: &str| {
        let name = name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
        name == ".git" || name == "git~1"
    };
    if path.contains('\0') || path.split('/').any(is_git) {
        return Err(invalid(path, "is no path that Git takes"));
    }
    Ok(normal)
}

fn invalid(path: &str, reason: &str) -> Error {
    Error::InvalidEdit {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}
