//! What a build read, so that the next commit can tell whether the build would come out the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha1::{Digest as _, Sha1};

use super::{EntryKind, FileTree, Fingerprint, TreeError, blob_id};

/// The answer to a question that may not have been asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Asked<T> {
    #[default]
    Not,
    /// There is nothing.
    Nothing,
    Found(T),
}

impl<T> From<Option<T>> for Asked<T> {
    fn from(answer: Option<T>) -> Self {
        answer.map_or(Self::Nothing, Self::Found)
    }
}

/// What was learnt about one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Observation {
    /// What is at the path, where that was asked.
    kind: Asked<EntryKind>,
    /// The id of the bytes, where they were read.
    content: Option<Fingerprint>,
    /// A digest of the names and types in the directory, where it was listed.
    listing: Option<[u8; 20]>,
    /// Where the path's links lead to, where that was asked.
    real: Option<String>,
}

/// A tree that remembers every answer it gave.
pub struct Recorder<'t> {
    tree: &'t dyn FileTree,
    seen: Mutex<BTreeMap<String, Observation>>,
}

impl<'t> Recorder<'t> {
    /// Passes every question on to `tree`.
    pub fn new(tree: &'t dyn FileTree) -> Self {
        Self {
            tree,
            seen: Mutex::new(BTreeMap::new()),
        }
    }

    /// Everything that was asked so far.
    pub fn into_read_set(self) -> ReadSet {
        ReadSet {
            seen: self
                .seen
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn note(&self, path: &str, change: impl FnOnce(&mut Observation)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observation) = seen.get_mut(path) {
            change(observation);
        } else {
            let mut observation = Observation::default();
            change(&mut observation);
            seen.insert(path.to_owned(), observation);
        }
    }

    /// A failed read or listing depends on what is at the path instead.
    fn note_failure(&self, path: &str) {
        if let Ok(kind) = self.tree.kind(path) {
            self.note(path, |seen| seen.kind = kind.into());
        }
    }
}

impl FileTree for Recorder<'_> {
    fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError> {
        let kind = self.tree.kind(path)?;
        self.note(path, |seen| seen.kind = kind.into());
        Ok(kind)
    }

    fn read(&self, path: &str) -> Result<Arc<[u8]>, TreeError> {
        let bytes = self
            .tree
            .read(path)
            .inspect_err(|_| self.note_failure(path))?;
        let id = match self.tree.fingerprint(path)? {
            Some(id) => id,
            None => blob_id(&bytes),
        };
        self.note(path, |seen| seen.content = Some(id));
        Ok(bytes)
    }

    fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError> {
        let entries = self
            .tree
            .list(path)
            .inspect_err(|_| self.note_failure(path))?;
        let digest = listing_digest(&entries);
        self.note(path, |seen| seen.listing = Some(digest));
        Ok(entries)
    }

    fn fingerprint(&self, path: &str) -> Result<Option<Fingerprint>, TreeError> {
        let id = self.tree.fingerprint(path)?;
        match id {
            Some(id) => self.note(path, |seen| seen.content = Some(id)),
            None => self.note_failure(path),
        }
        Ok(id)
    }

    fn real_path(&self, path: &str) -> Result<String, TreeError> {
        let real = self
            .tree
            .real_path(path)
            .inspect_err(|_| self.note_failure(path))?;
        if real != path {
            self.note(path, |seen| seen.real = Some(real.clone()));
        }
        Ok(real)
    }
}

/// The answers that a build depended on: contents by blob id, listings by names and types, absences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    seen: BTreeMap<String, Observation>,
}

impl ReadSet {
    /// Whether `tree` gives the same answers, so that the same build of it has the same result. Reads no file
    /// contents where the tree has blob ids.
    pub fn same_in(&self, tree: &dyn FileTree) -> Result<bool, TreeError> {
        for (path, seen) in &self.seen {
            if let Some(id) = seen.content
                && tree.fingerprint(path)? != Some(id)
            {
                return Ok(false);
            }
            if seen.kind != Asked::Not && Asked::from(tree.kind(path)?) != seen.kind {
                return Ok(false);
            }
            if let Some(real) = &seen.real
                && (tree.kind(path)?.is_none() || tree.real_path(path)? != *real)
            {
                return Ok(false);
            }
            if let Some(digest) = seen.listing
                && (tree.kind(path)? != Some(EntryKind::Dir)
                    || listing_digest(&tree.list(path)?) != digest)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The paths that were asked about, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.seen.keys().map(String::as_str)
    }

    /// The number of paths that were asked about.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

fn listing_digest(entries: &[(String, EntryKind)]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    for (name, kind) in entries {
        hasher.update(if *kind == EntryKind::Dir { b"d" } else { b"f" });
        hasher.update(name.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::MemoryTree;
    use super::*;

    fn tree() -> MemoryTree {
        [("a/x.yaml", "1"), ("a/y.yaml", "2"), ("b/z.yaml", "3")]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_read_file_that_changes_is_noticed_and_an_unread_one_is_not() {
        let before = tree();
        let recorder = Recorder::new(&before);
        recorder.read("a/x.yaml").unwrap();
        let set = recorder.into_read_set();
        let mut after = tree();
        after.insert("a/y.yaml", "other");
        assert!(set.same_in(&after).unwrap());
        after.insert("a/x.yaml", "other");
        assert!(!set.same_in(&after).unwrap());
    }

    #[test]
    fn listings_and_absences_count() {
        let before = tree();
        let recorder = Recorder::new(&before);
        recorder.list("a").unwrap();
        assert!(recorder.read("c.yaml").is_err());
        let set = recorder.into_read_set();
        let mut edited = tree();
        edited.insert("a/x.yaml", "other bytes, same listing");
        assert!(set.same_in(&edited).unwrap());
        let mut listed = tree();
        listed.insert("a/new.yaml", "");
        assert!(!set.same_in(&listed).unwrap());
        let mut appeared = tree();
        appeared.insert("c.yaml", "");
        assert!(!set.same_in(&appeared).unwrap());
        let mut gone = tree();
        gone.remove("a/x.yaml");
        assert!(!set.same_in(&gone).unwrap());
    }
}
