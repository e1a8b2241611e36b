//! What a build read, so that the next commit can tell whether the build would come out the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha1::{Digest as _, Sha1};

use super::{EntryKind, FileTree, Fingerprint, TreeError, blob_id, parent};

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
    parts: Mutex<Vec<Arc<ReadSet>>>,
}

impl<'t> Recorder<'t> {
    /// Passes every question on to `tree`.
    pub fn new(tree: &'t dyn FileTree) -> Self {
        Self {
            tree,
            seen: Mutex::new(BTreeMap::new()),
            parts: Mutex::default(),
        }
    }

    /// Everything that was asked so far.
    pub fn into_read_set(self) -> ReadSet {
        ReadSet {
            seen: self
                .seen
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            parts: self
                .parts
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn observe(&self, path: &str, change: impl FnOnce(&mut Observation)) {
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
            self.observe(path, |seen| seen.kind = kind.into());
        }
    }
}

impl FileTree for Recorder<'_> {
    fn kind(&self, path: &str) -> Result<Option<EntryKind>, TreeError> {
        let kind = self.tree.kind(path)?;
        self.observe(path, |seen| seen.kind = kind.into());
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
        self.observe(path, |seen| seen.content = Some(id));
        Ok(bytes)
    }

    fn list(&self, path: &str) -> Result<Vec<(String, EntryKind)>, TreeError> {
        let entries = self
            .tree
            .list(path)
            .inspect_err(|_| self.note_failure(path))?;
        let digest = listing_digest(&entries);
        self.observe(path, |seen| seen.listing = Some(digest));
        Ok(entries)
    }

    fn fingerprint(&self, path: &str) -> Result<Option<Fingerprint>, TreeError> {
        let id = self.tree.fingerprint(path)?;
        match id {
            Some(id) => self.observe(path, |seen| seen.content = Some(id)),
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
            self.observe(path, |seen| seen.real = Some(real.clone()));
        }
        Ok(real)
    }

    fn shown(&self, path: &str) -> String {
        self.tree.shown(path)
    }

    fn note(&self, reads: &Arc<ReadSet>) {
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(reads));
        self.tree.note(reads);
    }
}

/// The answers that a build depended on: contents by blob id, listings by names and types, absences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    seen: BTreeMap<String, Observation>,
    /// What bases had read that were known already.
    parts: Vec<Arc<ReadSet>>,
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
        for part in &self.parts {
            if !part.same_in(tree)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether nothing was asked about any of the changed files, nor about a folder that they are in: then the answers
    /// are the same, and no tree need be asked. Only for trees without links.
    pub fn is_apart_from(&self, changed: &[String]) -> bool {
        let asked = |path: &String| {
            let mut path = path.as_str();
            loop {
                if self.seen.contains_key(path) {
                    return true;
                }
                if path.is_empty() {
                    return false;
                }
                path = parent(path);
            }
        };
        !changed.iter().any(asked) && self.parts.iter().all(|part| part.is_apart_from(changed))
    }

    /// The paths that were asked about, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.all_seen().into_keys()
    }

    /// The number of paths that were asked about.
    pub fn len(&self) -> usize {
        self.all_seen().len()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.parts.iter().all(|part| part.is_empty())
    }

    fn all_seen(&self) -> BTreeMap<&str, &Observation> {
        let own = self.seen.iter().map(|(path, seen)| (path.as_str(), seen));
        let parts = self.parts.iter().flat_map(|part| part.all_seen());
        parts.chain(own).collect()
    }

    /// The directories that were found, by their real paths.
    pub(crate) fn directories(&self) -> Vec<String> {
        let directories = |(path, seen): (&str, &Observation)| {
            let real = seen.real.as_deref().unwrap_or(path);
            (seen.kind == Asked::Found(EntryKind::Dir)).then(|| real.to_owned())
        };
        self.all_seen()
            .into_iter()
            .filter_map(directories)
            .collect()
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
    fn files_that_nobody_asked_about_need_no_second_look() {
        let before = tree();
        let recorder = Recorder::new(&before);
        recorder.kind("a").unwrap();
        recorder.read("b/z.yaml").unwrap();
        let set = recorder.into_read_set();
        let apart = |path: &str| set.is_apart_from(&[path.to_owned()]);
        assert!(apart("b/new.yaml") && apart("c"));
        assert!(!apart("b/z.yaml") && !apart("a/deep/below") && !apart("a"));
    }

    #[test]
    fn what_a_part_had_read_counts() {
        let before = tree();
        let inner = Recorder::new(&before);
        inner.read("b/z.yaml").unwrap();
        let part = Arc::new(inner.into_read_set());
        let recorder = Recorder::new(&before);
        recorder.read("a/x.yaml").unwrap();
        recorder.note(&part);
        let set = recorder.into_read_set();
        assert_eq!(set.paths().collect::<Vec<_>>(), ["a/x.yaml", "b/z.yaml"]);
        assert!(set.same_in(&before).unwrap());
        let mut after = tree();
        after.insert("b/z.yaml", "other");
        assert!(!set.same_in(&after).unwrap());
        assert!(!set.is_apart_from(&["b/z.yaml".to_owned()]));
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
