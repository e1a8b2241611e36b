//! The demo's folder, and how a running demo is found by `fairway demo try`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::exit::Hinted;

/// Where a demo keeps what it writes.
pub(crate) struct Place {
    dir: PathBuf,
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
                    temporary: Some(temporary),
                    announced: None,
                })
            }
            Some(dir) => {
                fs::create_dir_all(dir)
                    .with_context(|| format!("failed to create {}", dir.display()))?;
                let dir = dir
                    .canonicalize()
                    .with_context(|| format!("failed to resolve {}", dir.display()))?;
                if let Some(running) = read(&dir.join("demo.json")).filter(Running::is_alive) {
                    return Err(Hinted::new(
                        format!(
                            "a demo runs in {} already (process {})",
                            dir.display(),
                            running.pid
                        ),
                        "stop it first, or name another --data-dir",
                    )
                    .into());
                }
                Ok(Self {
                    dir,
                    temporary: None,
                    announced: None,
                })
            }
        }
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
