//! The folder of artifacts that are served.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use fairway_git::{Oid, TreeView};
use fairway_types::git_repository::Artifact;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::digest::{Hasher, expected};
use super::{ArtifactOptions, retention, server};
use crate::home::{HomeId, Key};

/// Archives that are written at the same time.
const AT_A_TIME: usize = 2;

/// Why an artifact could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The archive can't be made.
    #[error("unable to archive artifact to storage: {0}")]
    Archive(String),
    /// The folder can't be used.
    #[error("failed to create artifact directory: {0}")]
    Folder(std::io::Error),
}

/// What became of an artifact that was stored before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is there as it was.
    Good,
    /// It is not there.
    Missing,
    /// It is not what it was, and was removed.
    Changed(String),
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// `http://host:port`; none where nothing is served.
    address: Option<String>,
    retention_ttl: Duration,
    retention_records: usize,
    gate: Semaphore,
    /// Content → a file that holds it: what is the same in two commits, or for two objects, is archived once.
    made: Mutex<HashMap<(Oid, String), (PathBuf, Stored)>>,
    /// Artifacts whose digests this process has checked.
    checked: Mutex<HashMap<String, String>>,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `sha256:…`.
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

impl Storage {
    /// Opens the folder, and begins to serve it until `stop` is cancelled.
    pub async fn open(
        root: &Path,
        options: &ArtifactOptions,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let address = match &options.address {
            Some(address) => Some(
                server::start(
                    root.to_owned(),
                    address,
                    options.advertised.as_deref(),
                    stop,
                )
                .await?,
            ),
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            root: root.to_owned(),
            address,
            retention_ttl: options.retention_ttl,
            retention_records: options.retention_records,
            gate: Semaphore::new(AT_A_TIME),
            made: Mutex::default(),
            checked: Mutex::default(),
        })))
    }

    /// Whether others can fetch what is stored; else nothing is.
    pub fn is_served(&self) -> bool {
        self.0.address.is_some()
    }

    /// `gitrepository/<namespace>/<name>/<commit>.tar.gz`, as Flux has it; for a synced cluster below a folder of its own.
    pub fn path(key: &Key, commit: &str) -> String {
        format!("{}/{commit}.tar.gz", Self::folder(key))
    }

    fn folder(key: &Key) -> String {
        let own = format!("gitrepository/{}/{}", key.namespace, key.name);
        match &key.home {
            HomeId::Hub => own,
            HomeId::Cluster((namespace, name)) => format!("clusters/{namespace}/{name}/{own}"),
        }
    }

    /// Where an artifact can be fetched.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.0.address.as_deref().unwrap_or_default())
    }

    /// Stores what a view shows. `rules` stands for what the view leaves out.
    pub async fn store(
        &self,
        path: &str,
        view: TreeView,
        rules: &str,
    ) -> Result<Stored, StorageError> {
        let permit = self.0.gate.acquire().await;
        let (this, path, rules) = (self.clone(), path.to_owned(), rules.to_owned());
        let stored = tokio::task::spawn_blocking(move || this.store_now(&path, &view, rules)).await;
        drop(permit);
        stored.map_err(|error| StorageError::Archive(error.to_string()))?
    }

    fn store_now(
        &self,
        path: &str,
        view: &TreeView,
        rules: String,
    ) -> Result<Stored, StorageError> {
        let target = self.0.root.join(path);
        let folder = target.parent().unwrap_or(&self.0.root);
        std::fs::create_dir_all(folder).map_err(StorageError::Folder)?;
        let content = (view.root(), rules);
        let stored = match self.linked(&content, &target) {
            Some(stored) => stored,
            None => write(&target, folder, view)?,
        };
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, (path, _)| path.exists());
        made.insert(content, (target, stored.clone()));
        drop(made);
        self.remember(path, &stored.digest);
        Ok(stored)
    }

    /// The same content from before under another name.
    fn linked(&self, content: &(Oid, String), target: &Path) -> Option<Stored> {
        let made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, stored) = made.get(content)?.clone();
        drop(made);
        if path == target {
            return path.exists().then_some(stored);
        }
        let _ = std::fs::remove_file(target);
        std::fs::hard_link(path, target).ok()?;
        // Its age counts from now on.
        File::options()
            .append(true)
            .open(target)
            .ok()?
            .set_modified(SystemTime::now())
            .ok()?;
        Some(stored)
    }

    /// Looks whether an artifact is there as it was stored. Its digest is checked once in a process.
    pub async fn check(&self, artifact: &Artifact) -> Kept {
        let (this, artifact) = (self.clone(), artifact.clone());
        let kept = tokio::task::spawn_blocking(move || this.check_now(&artifact)).await;
        kept.unwrap_or(Kept::Missing)
    }

    fn check_now(&self, artifact: &Artifact) -> Kept {
        let is_ours = !artifact
            .path
            .split('/')
            .any(|c| matches!(c, "" | "." | ".."));
        let path = self.0.root.join(&artifact.path);
        let is_there = || std::fs::symlink_metadata(&path).is_ok_and(|file| file.is_file());
        if !is_ours || !is_there() {
            return Kept::Missing;
        }
        let checked = self
            .0
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if checked.get(&artifact.path) == Some(&artifact.digest) {
            return Kept::Good;
        }
        drop(checked);
        let why = match expected(&artifact.digest) {
            Err(error) => error.to_string(),
            Ok((hasher, wanted)) => match digest_of(&path, hasher) {
                Ok(found) if found == wanted => {
                    self.remember(&artifact.path, &artifact.digest);
                    return Kept::Good;
                }
                Ok(_) => format!("computed digest doesn't match '{wanted}'"),
                Err(error) => error.to_string(),
            },
        };
        let _ = std::fs::remove_file(path);
        Kept::Changed(why)
    }

    fn remember(&self, path: &str, digest: &str) {
        let mut checked = self
            .0
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        checked.insert(path.to_owned(), digest.to_owned());
    }

    /// Removes what the retention rules let go of an object's artifacts.
    pub fn collect(&self, key: &Key, current: &str, now: SystemTime) {
        let folder = self.0.root.join(Self::folder(key));
        let Ok(entries) = std::fs::read_dir(&folder) else {
            return;
        };
        let files: Vec<(String, SystemTime)> = entries
            .flatten()
            .filter_map(|entry| {
                let made = entry
                    .metadata()
                    .ok()
                    .filter(std::fs::Metadata::is_file)?
                    .modified()
                    .ok()?;
                Some((entry.file_name().to_str()?.to_owned(), made))
            })
            .collect();
        let current = current.rsplit('/').next().unwrap_or_default();
        let (ttl, records) = (self.0.retention_ttl, self.0.retention_records);
        let mut checked = self
            .0
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for name in retention::garbage(&files, current, now, ttl, records) {
            let _ = std::fs::remove_file(folder.join(name));
            checked.remove(&format!("{}/{name}", Self::folder(key)));
        }
    }

    /// Removes everything of an object that is gone.
    pub fn remove(&self, key: &Key) {
        let _ = std::fs::remove_dir_all(self.0.root.join(Self::folder(key)));
        let prefix = format!("{}/", Self::folder(key));
        let mut checked = self
            .0
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        checked.retain(|path, _| !path.starts_with(&prefix));
    }
}

/// Writes an archive under a name of its own first, so that nobody sees half of it.
fn write(target: &Path, folder: &Path, view: &TreeView) -> Result<Stored, StorageError> {
    let failed = |error: &dyn std::fmt::Display| StorageError::Archive(error.to_string());
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = folder.join(name);
    let file = File::create(&part).map_err(StorageError::Folder)?;
    let mut out = Counted {
        file: BufWriter::with_capacity(1 << 16, file),
        hasher: Hasher::of("sha256"),
        size: 0,
    };
    let written = view
        .write_archive(&mut out)
        .map_err(|error| failed(&error))
        .and_then(|()| out.file.flush().map_err(|error| failed(&error)))
        .and_then(|()| std::fs::rename(&part, target).map_err(|error| failed(&error)));
    if let Err(error) = written {
        let _ = std::fs::remove_file(part);
        return Err(error);
    }
    let digest = out.hasher.map(Hasher::finish).unwrap_or_default();
    Ok(Stored {
        digest,
        size: out.size,
    })
}

fn digest_of(path: &Path, mut hasher: Hasher) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

struct Counted {
    file: BufWriter<File>,
    hasher: Option<Hasher>,
    size: u64,
}

impl Write for Counted {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(data)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data[..count]);
        }
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
