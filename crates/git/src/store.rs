//! Where the trees and blobs of a view come from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::objects::Tree;
use crate::{Error, Oid};

/// Trees and blobs by their ids. Ids are Git's own everywhere, so that equal ids are equal contents whatever
/// the store: the object database of a mirror, an unpacked artifact, or several of them put together.
pub(crate) trait Store: Send + Sync {
    /// The content of a file.
    fn blob(&self, id: Oid) -> Result<Arc<[u8]>, Error>;

    /// A folder.
    fn tree(&self, id: Oid) -> Result<Arc<Tree>, Error>;

    /// Whether the object is here.
    fn holds(&self, id: Oid) -> bool;

    /// What is remembered of ignore files.
    fn ignore_files(&self) -> &Memo;

    /// The ignore files below a tree, if that was found out before.
    fn known_ignore_files(&self, tree: Oid) -> Option<IgnoreFiles> {
        self.ignore_files().get(tree)
    }

    /// Remembers the ignore files below a tree.
    fn remember_ignore_files(&self, tree: Oid, files: IgnoreFiles) {
        self.ignore_files().insert(tree, files);
    }
}

/// Folders and the ids of the ignore files in them.
pub(crate) type IgnoreFiles = Arc<[(String, Oid)]>;

/// Tree → the ignore files below it.
#[derive(Default)]
pub(crate) struct Memo(Mutex<HashMap<Oid, IgnoreFiles>>);

impl Memo {
    const MOST: usize = 500_000;

    fn get(&self, tree: Oid) -> Option<IgnoreFiles> {
        let memo = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memo.get(&tree).cloned()
    }

    fn insert(&self, tree: Oid, files: IgnoreFiles) {
        let mut memo = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memo.len() > Self::MOST {
            memo.clear();
        }
        memo.insert(tree, files);
    }
}

/// The id that Git gives to an object.
pub(crate) fn id_of(kind: gix_object::Kind, data: &[u8]) -> Result<Oid, Error> {
    let failed = |detail: String| Error::Io {
        context: "can't name an object".to_owned(),
        detail,
    };
    let id = gix_object::compute_hash(gix_hash::Kind::Sha1, kind, data)
        .map_err(|error| failed(error.to_string()))?;
    Oid::from_slice(id.as_slice()).ok_or_else(|| failed("it has an unexpected length".to_owned()))
}
