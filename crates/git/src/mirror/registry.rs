//! Which mirror is whose.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::disk::{discard, held_on_disk};
use crate::{Error, Mirror, Remote};

/// The mirrors of one process (or of several), each in a folder of its own.
pub struct Mirrors {
    root: PathBuf,
    salt: Vec<u8>,
    open: tokio::sync::Mutex<HashMap<String, Arc<Mirror>>>,
}

impl Mirrors {
    /// Mirrors below `root`.
    pub fn open(root: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(root).map_err(|e| Error::at(root, &e))?;
        let path = root.join("salt");
        let salt = match std::fs::read(&path) {
            Ok(salt) if !salt.is_empty() => salt,
            _ => {
                // A private random name is salt enough: it only hides credentials in folder names.
                let file = tempfile::Builder::new()
                    .rand_bytes(32)
                    .tempfile_in(root)
                    .map_err(|e| Error::at(root, &e))?;
                let salt = file
                    .path()
                    .file_name()
                    .unwrap_or_default()
                    .as_encoded_bytes()
                    .to_vec();
                std::fs::write(file.path(), &salt).map_err(|e| Error::at(file.path(), &e))?;
                match file.persist_noclobber(&path) {
                    Ok(_) => salt,
                    Err(_) => std::fs::read(&path).map_err(|e| Error::at(&path, &e))?,
                }
            }
        };
        Ok(Self {
            root: root.to_owned(),
            salt,
            open: tokio::sync::Mutex::default(),
        })
    }

    /// The mirror for a URL and a credential; the same one for the same pair.
    pub async fn get(&self, remote: &Remote) -> Result<Arc<Mirror>, Error> {
        let key = self.key(remote);
        let mut open = self.open.lock().await;
        if let Some(mirror) = open.get(&key) {
            mark_use(mirror.directory());
            return Ok(mirror.clone());
        }
        let mirror = Arc::new(Mirror::open(&self.root.join(&key), remote.clone()).await?);
        mark_use(mirror.directory());
        open.insert(key, mirror.clone());
        Ok(mirror)
    }

    /// Deletes the mirrors that are not among `used`, hold no commit, and were not used for `grace`; says how many.
    pub async fn sweep(&self, used: &[Arc<Mirror>], grace: Duration) -> Result<usize, Error> {
        let mut open = self.open.lock().await;
        let mut used: HashSet<PathBuf> = used.iter().map(|m| m.directory().to_owned()).collect();
        // Who holds one just now is about to use it.
        used.extend(
            open.values()
                .filter(|m| Arc::strong_count(m) > 1)
                .map(|m| m.directory().to_owned()),
        );
        let mut swept = 0;
        for entry in std::fs::read_dir(&self.root)
            .map_err(|e| Error::at(&self.root, &e))?
            .flatten()
        {
            let path = entry.path();
            let bare = path.join("repository.git");
            let age = last_use(&path)
                .and_then(|time| time.elapsed().ok())
                .unwrap_or_default();
            if used.contains(&path)
                || !bare.is_dir()
                || age < grace
                || !held_on_disk(&bare).is_empty()
            {
                continue;
            }
            open.remove(&entry.file_name().to_string_lossy().into_owned());
            discard(&path)?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Deletes the mirrors that belong to none of `remotes`, on disk too.
    pub async fn retain(&self, remotes: &[Remote]) -> Result<(), Error> {
        let keys: Vec<String> = remotes.iter().map(|r| self.key(r)).collect();
        let mut open = self.open.lock().await;
        open.retain(|key, _| keys.contains(key));
        for entry in std::fs::read_dir(&self.root)
            .map_err(|e| Error::at(&self.root, &e))?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_mirror = entry.path().join("repository.git").is_dir();
            if is_mirror && !keys.contains(&name) {
                discard(&entry.path())?;
            }
        }
        Ok(())
    }

    /// `<name of the repository>-<hash>`.
    fn key(&self, remote: &Remote) -> String {
        let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
        hasher.update(&self.salt);
        for part in std::iter::once(remote.url()).chain(remote.credentials().parts()) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let digest = hasher
            .try_finalize()
            .map(|id| id.to_string())
            .unwrap_or_default();
        let name = remote
            .url()
            .trim_end_matches('/')
            .rsplit(['/', ':'])
            .next()
            .unwrap_or_default();
        let name: String = name
            .trim_end_matches(".git")
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(40)
            .collect();
        format!("{name}-{digest}")
    }
}

/// Its time is that of the last use.
const USED: &str = "used";

fn last_use(mirror: &Path) -> Option<SystemTime> {
    let mark = std::fs::metadata(mirror.join(USED)).or_else(|_| std::fs::metadata(mirror));
    mark.ok()?.modified().ok()
}

/// At most once in ten minutes: only days count.
fn mark_use(mirror: &Path) {
    let is_fresh = std::fs::metadata(mirror.join(USED))
        .and_then(|mark| mark.modified())
        .is_ok_and(|time| {
            time.elapsed()
                .is_ok_and(|age| age < Duration::from_mins(10))
        });
    if !is_fresh {
        // Should it fail, the mirror is fetched again one day.
        let _ = std::fs::write(mirror.join(USED), "");
    }
}

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Mirrors").field(&self.root).finish()
    }
}
