//! The object database of one repository, read (and written) in process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gix_object::{Find as _, FindHeader as _, Kind, Write as _};
use gix_odb::HandleArc;

use crate::cache::Cache;
pub(crate) use crate::store::IgnoreFiles;
use crate::store::{Memo, Store};
use crate::{Error, Oid};

/// Blobs above this size are refused, as a limit on what one file of a repository can cost.
pub const MAX_BLOB: u64 = 64 << 20;

const BLOB_CACHE_BYTES: usize = 32 << 20;
const TREE_CACHE_ENTRIES: usize = 200_000;
const MAX_TREE: u64 = 16 << 20;

/// Handles onto one object database, which any number of threads may use at a time.
pub(crate) struct Objects {
    directory: PathBuf,
    store: Arc<gix_odb::Store>,
    idle: Mutex<Vec<HandleArc>>,
    trees: Cache<Oid, Arc<Tree>>,
    blobs: Cache<Oid, Arc<[u8]>>,
    ignore_files: Memo,
    damaged: AtomicBool,
}

/// One tree, sorted by name.
pub(crate) struct Tree {
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As bytes: names need not be UTF-8.
    pub(crate) name: Vec<u8>,
    pub(crate) mode: Mode,
    pub(crate) id: Oid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Tree,
    File,
    Executable,
    Symlink,
    Submodule,
}

impl Mode {
    fn parse(octal: &[u8]) -> Option<Self> {
        let value = u32::from_str_radix(std::str::from_utf8(octal).ok()?, 8).ok()?;
        match value & 0o170_000 {
            0o040_000 => Some(Self::Tree),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Submodule),
            0o100_000 if value & 0o111 != 0 => Some(Self::Executable),
            0o100_000 => Some(Self::File),
            _ => None,
        }
    }

    pub(crate) fn octal(self) -> &'static str {
        match self {
            Self::Tree => "40000",
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Submodule => "160000",
        }
    }
}

impl Tree {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Entry> {
        self.entries
            .binary_search_by(|e| e.name.as_slice().cmp(name))
            .ok()
            .map(|i| &self.entries[i])
    }

    /// `<mode> <name>\0<20 bytes>`, repeated. Names that can't be a path's component are left out.
    fn parse(mut data: &[u8]) -> Option<Self> {
        let mut entries = Vec::new();
        while !data.is_empty() {
            let space = data.iter().position(|b| *b == b' ')?;
            let mode = Mode::parse(&data[..space])?;
            let end = data.iter().position(|b| *b == 0)?;
            let name = data.get(space + 1..end)?;
            let id = Oid::from_slice(data.get(end + 1..end + 21)?)?;
            if !matches!(name, b"" | b"." | b".." | b".git") && !name.contains(&b'/') {
                entries.push(Entry {
                    name: name.to_owned(),
                    mode,
                    id,
                });
            }
            data = &data[end + 21..];
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.dedup_by(|a, b| a.name == b.name);
        Some(Self { entries })
    }

    /// Git's own order: a folder sorts as if its name ended with `/`.
    pub(crate) fn encode(mut entries: Vec<Entry>) -> Vec<u8> {
        let key = |e: &Entry| {
            let mut name = e.name.clone();
            if e.mode == Mode::Tree {
                name.push(b'/');
            }
            name
        };
        entries.sort_by_key(key);
        let mut out = Vec::new();
        for entry in entries {
            out.extend_from_slice(entry.mode.octal().as_bytes());
            out.push(b' ');
            out.extend_from_slice(&entry.name);
            out.push(0);
            out.extend_from_slice(entry.id.as_bytes());
        }
        out
    }
}

impl Objects {
    pub(crate) fn open(repository: &Path) -> Result<Self, Error> {
        let directory = repository.join("objects");
        let io = |e: std::io::Error| Error::at(&directory, &e);
        // Packs come and go with fetches; the number of slots is fixed when the store is opened.
        let slots = gix_odb::store::init::Slots::AsNeededByDiskState {
            multiplier: 2.0,
            minimum: 256,
        };
        let options = gix_odb::store::init::Options {
            slots,
            ..Default::default()
        };
        let store = gix_odb::Store::at_opts(
            directory.clone(),
            gix_hash::Kind::Sha1,
            &mut std::iter::empty(),
            options,
        )
        .map_err(io)?;
        Ok(Self {
            store: Arc::new(store),
            idle: Mutex::default(),
            trees: Cache::new(TREE_CACHE_ENTRIES),
            blobs: Cache::new(BLOB_CACHE_BYTES),
            ignore_files: Memo::default(),
            damaged: AtomicBool::new(false),
            directory: repository.to_owned(),
        })
    }

    /// Whether a read failed in a way that a healthy database does not show.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn with_handle<T>(&self, use_it: impl FnOnce(&HandleArc) -> T) -> T {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let handle = idle.unwrap_or_else(|| self.store.to_cache_arc());
        let result = use_it(&handle);
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(handle);
        result
    }

    /// That an object which nothing here refers to is not there is no damage.
    pub(crate) fn expect(&self, object: Oid) -> Result<(), Error> {
        if self.contains(object) {
            return Ok(());
        }
        let dir = self.directory.display().to_string();
        Err(Error::ObjectMissing { object, dir })
    }

    fn damage(&self, detail: String) -> Error {
        self.damaged.store(true, Ordering::Relaxed);
        Error::Damaged {
            dir: self.directory.display().to_string(),
            detail,
        }
    }

    /// Whether the object is there.
    pub(crate) fn contains(&self, id: Oid) -> bool {
        self.with_handle(|handle| gix_object::Exists::exists(handle, &id.to_gix()))
    }

    /// The object and its kind; a missing one is damage.
    pub(crate) fn find(&self, id: Oid, limit: u64) -> Result<(Kind, Vec<u8>), Error> {
        self.with_handle(|handle| {
            let gix = id.to_gix();
            match handle.try_header(&gix) {
                Ok(Some(header)) if header.size > limit => {
                    let detail = format!(
                        "object {id} has {} bytes, more than the limit of {limit}",
                        header.size
                    );
                    return Err(Error::Io {
                        context: "can't read from Git".to_owned(),
                        detail,
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.damage(format!("object {id} is missing"))),
                Err(e) => return Err(self.damage(format!("object {id}: {e}"))),
            }
            let mut buffer = Vec::new();
            match handle.try_find(&gix, &mut buffer) {
                Ok(Some(data)) => {
                    let kind = data.kind;
                    Ok((kind, buffer))
                }
                Ok(None) => Err(self.damage(format!("object {id} is missing"))),
                Err(e) => Err(self.damage(format!("object {id}: {e}"))),
            }
        })
    }

    pub(crate) fn write(&self, kind: Kind, data: &[u8]) -> Result<Oid, Error> {
        let written = self.with_handle(|handle| handle.write_buf(kind, data));
        let id = written.map_err(|e| Error::Io {
            context: format!("can't write an object into {}", self.directory.display()),
            detail: e.to_string(),
        })?;
        Oid::from_slice(id.as_slice())
            .ok_or_else(|| self.damage("an id of unexpected length".to_owned()))
    }

    pub(crate) fn blob(&self, id: Oid) -> Result<Arc<[u8]>, Error> {
        if let Some(blob) = self.blobs.get(&id) {
            return Ok(blob);
        }
        let (kind, data) = self.find(id, MAX_BLOB)?;
        if kind != Kind::Blob {
            return Err(wrong_kind(id, kind, "blob"));
        }
        let blob: Arc<[u8]> = data.into();
        self.blobs.insert(id, blob.clone(), blob.len() + 64);
        Ok(blob)
    }

    pub(crate) fn tree(&self, id: Oid) -> Result<Arc<Tree>, Error> {
        if let Some(tree) = self.trees.get(&id) {
            return Ok(tree);
        }
        let (kind, data) = self.find(id, MAX_TREE)?;
        if kind != Kind::Tree {
            return Err(wrong_kind(id, kind, "tree"));
        }
        let tree =
            Tree::parse(&data).ok_or_else(|| self.damage(format!("tree {id} is malformed")))?;
        let tree = Arc::new(tree);
        self.trees.insert(id, tree.clone(), tree.entries.len() + 1);
        Ok(tree)
    }
}

impl Store for Objects {
    fn blob(&self, id: Oid) -> Result<Arc<[u8]>, Error> {
        Self::blob(self, id)
    }

    fn tree(&self, id: Oid) -> Result<Arc<Tree>, Error> {
        Self::tree(self, id)
    }

    fn holds(&self, id: Oid) -> bool {
        self.contains(id)
    }

    fn ignore_files(&self) -> &Memo {
        &self.ignore_files
    }
}

fn wrong_kind(object: Oid, found: Kind, wanted: &'static str) -> Error {
    Error::WrongKind {
        object,
        found: found.to_string(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_in_trees_are_dropped() {
        let mut data = Vec::new();
        for name in ["..", ".", "", ".git", "a/b", "ok", "ok"] {
            data.extend_from_slice(b"100644 ");
            data.extend_from_slice(name.as_bytes());
            data.push(0);
            data.extend_from_slice(&[7; 20]);
        }
        let tree = Tree::parse(&data).unwrap();
        assert_eq!(tree.entries.len(), 1);
        assert!(tree.get(b"ok").is_some());
        assert!(Tree::parse(b"100644 name").is_none());
        assert!(Tree::parse(b"nonsense").is_none());
    }
}
