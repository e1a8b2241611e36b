//! The binary under test, run as a person does, in a home of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fairway_testkit::{Output, Process};
use tempfile::TempDir;
use tokio::process::Command;

/// How long anything may take until it is called a failure. Generous: other work may have the processors.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// A person's home and temporary folder. `KUBECONFIG` and everything else of the environment stays outside.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("fairway-e2e-")
            .tempdir()
            .unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder }
    }

    /// `$HOME`, also the working directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// `$TMPDIR`.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// Writes a file into the home and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A command of the binary, ready to run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
        command.env_clear().current_dir(self.path());
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TMPDIR", self.tmp())
            .env("USER", "pat");
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the binary to its end.
    pub(crate) async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        finish(self.command(arguments)).await
    }

    /// Starts the binary and leaves it running.
    pub(crate) fn spawn<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Process {
        Process::spawn(self.command(arguments)).unwrap()
    }
}

/// Runs a command to its end; a hanging one fails the test.
pub(crate) async fn finish(mut command: Command) -> Output {
    let shown = format!("{:?}", command.as_std());
    let output = tokio::time::timeout(2 * PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("hangs: {shown}")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Waits until something is so, and returns what was found.
pub(crate) async fn until<T>(what: &str, check: impl AsyncFn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(error) if Instant::now() > deadline => panic!("still not so: {what}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The files below a folder with their content, to see that nothing was written.
pub(crate) fn files(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            let content = std::fs::read(entry.path()).unwrap_or_default();
            found.insert(entry.path(), content);
        }
    }
    found
}

/// The reference repository in the source tree.
pub(crate) fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gitops-cluster-config")
}
