//! The demo's folder, and how a running demo is found by `fairway demo try`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::exit::Hinted;

/// Where a demo keeps what it writes.
pub(crate) struct Place {
    dir: PathBuf,
    /// Held as long as a demo runs here; the system lets go of it even after SIGKILL.
    _lock: Option<fs::File>,
    /// Removes the folder when the demo ends; `None` with `--data-dir`.
    temporary: Option<TempDir>,
    announced: Option<PathBuf>,
}

/// What `fairway demo try` must know of a running demo; stands in `demo.json` of its folder.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Running {
    /// The demo's folder.
    pub(crate) dir: PathBuf,
    /// Process id.
    pub(crate) pid: u32,
    /// Kubeconfig with a context for each cluster.
    pub(crate) kubeconfig: PathBuf,
    /// The bare repository.
    pub(crate) repository: PathBuf,
    /// Where it is served.
    pub(crate) url: String,
    /// The branch that the fleet follows.
    pub(crate) branch: String,
    /// Start, in seconds since 1970.
    pub(crate) started: i64,
}

/// Where a kept folder says what it is the demo of.
const MEMORY: &str = "memory.json";

/// What a kept folder remembers from start to start.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Memory {
    /// What it is the demo of; empty before the first start.
    pub(crate) of: String,
    /// Where the repository has been served so far: objects may still name any of them.
    pub(crate) urls: BTreeSet<String>,
}

impl Place {
    /// A temporary folder, or the one that the person names; its parent must exist.
    pub(crate) fn open(data_dir: Option<&Path>) -> anyhow::Result<Self> {
        match data_dir {
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("fairway-demo-")
                    .tempdir()
                    .context("failed to make a temporary folder")?;
                let dir = temporary
                    .path()
                    .canonicalize()
                    .context("failed to resolve the temporary folder")?;
                Ok(Self {
                    dir,
                    _lock: None,
                    temporary: Some(temporary),
                    announced: None,
                })
            }
            Some(dir) => {
                make_private(dir)?;
                let dir = dir
                    .canonicalize()
                    .with_context(|| format!("failed to resolve {}", dir.display()))?;
                let lock = lock(&dir)?;
                Ok(Self {
                    dir,
                    _lock: Some(lock),
                    temporary: None,
                    announced: None,
                })
            }
        }
    }

    /// What a folder that is kept remembers; nothing on the first start.
    pub(crate) fn memory(&self) -> Memory {
        let path = self.dir.join(MEMORY);
        fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Remembers it for the next start.
    pub(crate) fn remember(&self, memory: &Memory) -> anyhow::Result<()> {
        if self.is_kept() {
            self.write_private(MEMORY, &serde_json::to_string_pretty(memory)?)?;
        }
        Ok(())
    }

    /// The folder, absolute.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the folder outlives the demo.
    pub(crate) fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write_private(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(name);
        write_private(&path, text)?;
        Ok(path)
    }

    /// Lets `fairway demo try` find this demo.
    pub(crate) fn announce(&mut self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(running)?;
        self.write_private("demo.json", &text)?;
        let registry = registry();
        fs::create_dir_all(&registry)
            .with_context(|| format!("failed to create {}", registry.display()))?;
        let file = registry.join(format!("{}.json", running.pid));
        write_private(&file, &text)?;
        self.announced = Some(file);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(file) = &self.announced {
            let _ = fs::remove_file(file);
            // Only when no other demo runs: a folder that is not empty stays.
            let _ = fs::remove_dir(registry());
            let _ = fs::remove_file(self.dir.join("demo.json"));
        }
        if let Some(temporary) = self.temporary.take()
            && let Err(error) = temporary.close()
        {
            eprintln!("failed to remove the demo's folder: {error}");
        }
    }
}

/// A folder that only its owner can read; one that is there stays as it is.
fn make_private(dir: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(dir)
        .with_context(|| format!("failed to create {}", dir.display()))
}

/// Takes the folder for this process.
fn lock(dir: &Path) -> anyhow::Result<fs::File> {
    let path = dir.join("lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let process = read(&dir.join("demo.json"))
                .map(|running| format!(" (process {})", running.pid))
                .unwrap_or_default();
            Err(Hinted::new(
                format!("a demo runs in {} already{process}", dir.display()),
                "stop it first, or name another --data-dir",
            )
            .into())
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(anyhow::Error::new(error).context(format!("failed to lock {}", path.display())))
        }
    }
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("failed to write {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("failed to write {}", path.display()))
}

/// One small file for each demo that runs, by process id.
fn registry() -> PathBuf {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "user".into());
    let user: String = user
        .chars()
        .filter(|character| character.is_ascii_alphanumeric())
        .collect();
    std::env::temp_dir().join(format!("fairway-demos-{user}"))
}

fn read(path: &Path) -> Option<Running> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Running {
    /// The demo of this folder, or the newest one that runs.
    pub(crate) fn find(dir: Option<&Path>) -> anyhow::Result<Self> {
        let found = match dir {
            Some(dir) => read(&dir.join("demo.json")).filter(Self::is_alive),
            None => {
                let mut all: Vec<Self> = fs::read_dir(registry())
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| read(&entry.ok()?.path()))
                    .filter(Self::is_alive)
                    .collect();
                all.sort_by_key(|running| (running.started, running.pid));
                all.pop()
            }
        };
        found.ok_or_else(|| {
            Hinted::new(
                "no demo is running",
                "start one in another terminal: fairway demo; --demo DIR names its folder",
            )
            .into()
        })
    }

    /// Whether its Git server answers.
    fn is_alive(&self) -> bool {
        let address = self
            .url
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let Ok(address) = address.parse::<std::net::SocketAddr>() else {
            return false;
        };
        std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(500))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_demo_at_a_time_and_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("kept");
        let place = Place::open(Some(&dir)).unwrap();
        let memory = Memory {
            of: "x".into(),
            urls: BTreeSet::from(["http://here".into()]),
        };
        place.remember(&memory).unwrap();
        let error = Place::open(Some(&dir))
            .err()
            .expect("it is taken")
            .to_string();
        assert!(error.contains("already"), "{error}");
        drop(place);
        assert_eq!(Place::open(Some(&dir)).unwrap().memory(), memory);
    }

    #[test]
    fn a_temporary_folder_is_removed() {
        let place = Place::open(None).unwrap();
        let dir = place.dir().to_owned();
        place.write_private("file", "text").unwrap();
        drop(place);
        assert!(!dir.exists());
    }
}
