//! A tree as a file, and back: the `.tar.gz` that Flux's controllers hand to each other.
//!
//! Written as source-controller writes it: entries in the order of a walk, the root as `.`, mode 0600 (0700 where
//! executable) and 0750, no owner, no time, so that equal trees are equal files. Read as kustomize-controller reads it:
//! links are passed over, anything but files and folders is refused, and so is any name that leads out of the root.
//! Nothing is unpacked: the decompressed archive stays one file, and its content is found by Git's object ids.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use gix_object::Kind;
use tar::{Archive, Builder, EntryType, Header};

use crate::cache::Cache;
use crate::objects::{Entry, MAX_BLOB, Mode, Tree};
use crate::store::{Memo, Store, id_of};
use crate::tree::{Found, join};
use crate::{Error, Oid, TreeError, TreeView, ViewOptions};

const FILE: u32 = 0o600;
const EXECUTABLE: u32 = 0o700;
const FOLDER: u32 = 0o750;

const MAX_DEPTH: usize = 128;
const MAX_NAME: usize = 4096;
const CACHE_BYTES: usize = 8 << 20;

/// What an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the decompressed archive.
    pub bytes: u64,
    /// Files and folders.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            entries: 500_000,
        }
    }
}

/// Why an archive can't be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The tree can't be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An object can't be read.
    #[error(transparent)]
    Object(#[from] Error),
    /// Reading or writing failed; the file is no archive, or damaged.
    #[error("tar error: {0}")]
    Io(#[from] std::io::Error),
    /// The archive is too big.
    #[error("the archive is bigger than the limit of {0}")]
    TooBig(String),
    /// A name that can't be part of a tree.
    #[error("tar contained invalid name '{0}'")]
    InvalidName(String),
    /// A device, a socket, a hard link, ….
    #[error("tar file entry '{name}' has the unsupported type {kind}")]
    UnsupportedType {
        /// The entry.
        name: String,
        /// The type as the archive says it.
        kind: String,
    },
}

impl TreeView {
    /// Writes all that the view shows as a `.tar.gz`.
    pub fn write_archive(&self, out: impl Write) -> Result<(), ArchiveError> {
        let gzip = GzEncoder::new(out, Compression::new(4));
        let mut tar = Builder::new(gzip);
        append(&mut tar, ".", EntryType::Directory, FOLDER, &[])?;
        self.archive(&mut tar, "", 0)?;
        tar.into_inner()?.finish()?.flush()?;
        Ok(())
    }

    fn archive(
        &self,
        tar: &mut Builder<impl Write>,
        folder: &str,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        if depth > MAX_DEPTH {
            let path = folder.to_owned();
            return Err(TreeError::TooDeep { path }.into());
        }
        for (name, found) in self.entries(folder)? {
            let path = join(folder, &name);
            match found {
                Found::Dir => {
                    append(tar, &path, EntryType::Directory, FOLDER, &[])?;
                    self.archive(tar, &path, depth + 1)?;
                }
                Found::File { id, executable } => {
                    let mode = if executable { EXECUTABLE } else { FILE };
                    append(
                        tar,
                        &path,
                        EntryType::Regular,
                        mode,
                        &self.store().blob(id)?,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Reads a `.tar.gz` and shows what is in it. Its decompressed form is kept in `folder`, in a file without a name
    /// that is gone with the last view of it.
    pub fn from_archive(
        archive: impl Read,
        folder: &Path,
        limits: Limits,
    ) -> Result<Self, ArchiveError> {
        let mut file = tempfile::tempfile_in(folder)?;
        let mut gzip = MultiGzDecoder::new(BufReader::new(archive)).take(limits.bytes + 1);
        if std::io::copy(&mut gzip, &mut file)? > limits.bytes {
            return Err(ArchiveError::TooBig(format!("{} bytes", limits.bytes)));
        }
        file.rewind()?;
        let (unpacked, root) = Unpacked::read(file, limits)?;
        let options = ViewOptions {
            everything: true,
            ..ViewOptions::default()
        };
        Ok(Self::new(Arc::new(unpacked), root, root, &options)?)
    }
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &str,
    kind: EntryType,
    mode: u32,
    data: &[u8],
) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    tar.append_data(&mut header, path, data)
}

/// An archive that was read.
struct Unpacked {
    file: File,
    /// Where each content is in the file.
    blobs: HashMap<Oid, (u64, u64)>,
    trees: HashMap<Oid, Arc<Tree>>,
    ignore_files: Memo,
    recent: Cache<Oid, Arc<[u8]>>,
}

/// A folder of the archive while it is read.
#[derive(Default)]
struct Folder(BTreeMap<String, Item>);

enum Item {
    Folder(Folder),
    File(Oid, bool),
}

impl Unpacked {
    fn read(file: File, limits: Limits) -> Result<(Self, Oid), ArchiveError> {
        let mut root = Folder::default();
        let mut blobs = HashMap::new();
        let mut count = 0;
        let mut archive = Archive::new(BufReader::with_capacity(64 << 10, &file));
        for entry in archive.entries()? {
            let mut entry = entry?;
            count += 1;
            if count > limits.entries {
                return Err(ArchiveError::TooBig(format!("{} entries", limits.entries)));
            }
            let kind = entry.header().entry_type();
            if matches!(kind, EntryType::XGlobalHeader | EntryType::Symlink) {
                continue;
            }
            let name = entry.path_bytes().into_owned();
            let name = checked(&name)?;
            match kind {
                EntryType::Directory => root.folder(&name)?,
                EntryType::Regular | EntryType::Continuous => {
                    let size = entry.size();
                    if size > MAX_BLOB {
                        return Err(ArchiveError::TooBig(format!(
                            "{MAX_BLOB} bytes for one file ({name})"
                        )));
                    }
                    let executable = entry.header().mode()? & 0o111 != 0;
                    let at = entry.raw_file_position();
                    let mut content = Vec::with_capacity(size.min(1 << 20) as usize);
                    entry.read_to_end(&mut content)?;
                    if content.len() as u64 != size {
                        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                    }
                    let id = id_of(Kind::Blob, &content)?;
                    blobs.insert(id, (at, size));
                    root.file(&name, id, executable)?;
                }
                other => {
                    return Err(ArchiveError::UnsupportedType {
                        name,
                        kind: format!("{other:?}"),
                    });
                }
            }
        }
        drop(archive);
        let mut trees = HashMap::new();
        let root = root.finish(&mut trees)?;
        let unpacked = Self {
            file,
            blobs,
            trees,
            ignore_files: Memo::default(),
            recent: Cache::new(CACHE_BYTES),
        };
        Ok((unpacked, root))
    }
}

/// A name as Flux accepts it, without `.` and empty components.
fn checked(name: &[u8]) -> Result<String, ArchiveError> {
    let invalid =
        || ArchiveError::InvalidName(String::from_utf8_lossy(name).chars().take(200).collect());
    let text = std::str::from_utf8(name).map_err(|_| invalid())?;
    if text.is_empty()
        || text.len() > MAX_NAME
        || text.starts_with('/')
        || text.contains(['\\', '\0'])
    {
        return Err(invalid());
    }
    let components: Vec<&str> = text
        .split('/')
        .filter(|c| !c.is_empty() && *c != ".")
        .collect();
    if components.contains(&"..") || components.len() > MAX_DEPTH {
        return Err(invalid());
    }
    Ok(components.join("/"))
}

impl Folder {
    /// The folder `path`, made where it is not there.
    fn at(&mut self, path: &str) -> Result<&mut Self, ArchiveError> {
        let mut folder = self;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let item = folder
                .0
                .entry(name.to_owned())
                .or_insert_with(|| Item::Folder(Self::default()));
            match item {
                Item::Folder(inner) => folder = inner,
                Item::File(..) => return Err(ArchiveError::InvalidName(path.to_owned())),
            }
        }
        Ok(folder)
    }

    fn folder(&mut self, path: &str) -> Result<(), ArchiveError> {
        self.at(path).map(|_| ())
    }

    fn file(&mut self, path: &str, id: Oid, executable: bool) -> Result<(), ArchiveError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.at(folder)?;
        if name.is_empty() || matches!(folder.0.get(name), Some(Item::Folder(_))) {
            return Err(ArchiveError::InvalidName(path.to_owned()));
        }
        folder.0.insert(name.to_owned(), Item::File(id, executable));
        Ok(())
    }

    fn finish(self, trees: &mut HashMap<Oid, Arc<Tree>>) -> Result<Oid, Error> {
        let mut entries = Vec::with_capacity(self.0.len());
        for (name, item) in self.0 {
            let (mode, id) = match item {
                Item::Folder(folder) => (Mode::Tree, folder.finish(trees)?),
                Item::File(id, true) => (Mode::Executable, id),
                Item::File(id, false) => (Mode::File, id),
            };
            let name = name.into_bytes();
            entries.push(Entry { name, mode, id });
        }
        let tree = Tree { entries };
        let id = id_of(Kind::Tree, &Tree::encode(tree.entries.clone()))?;
        trees.insert(id, Arc::new(tree));
        Ok(id)
    }
}

impl Store for Unpacked {
    fn blob(&self, id: Oid) -> Result<Arc<[u8]>, Error> {
        if let Some(blob) = self.recent.get(&id) {
            return Ok(blob);
        }
        let missing = || Error::ObjectMissing {
            object: id,
            dir: "the artifact".to_owned(),
        };
        let (at, size) = *self.blobs.get(&id).ok_or_else(missing)?;
        let mut content = vec![0; size as usize];
        self.file
            .read_exact_at(&mut content, at)
            .map_err(|error| Error::io("can't read an artifact", &error))?;
        let blob: Arc<[u8]> = content.into();
        self.recent.insert(id, blob.clone(), blob.len() + 64);
        Ok(blob)
    }

    fn tree(&self, id: Oid) -> Result<Arc<Tree>, Error> {
        self.trees
            .get(&id)
            .cloned()
            .ok_or_else(|| Error::ObjectMissing {
                object: id,
                dir: "the artifact".to_owned(),
            })
    }

    fn holds(&self, id: Oid) -> bool {
        self.blobs.contains_key(&id) || self.trees.contains_key(&id)
    }

    fn ignore_files(&self) -> &Memo {
        &self.ignore_files
    }
}
