//! A command line program that talks to a cluster, with a private home.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Output;

/// Clones share the home.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    program: PathBuf,
    home: Arc<TempDir>,
}

impl Tool {
    pub(crate) fn new(program: &Path, kubeconfig: &str) -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::write(home.path().join("kubeconfig"), kubeconfig)?;
        Ok(Self {
            program: program.to_owned(),
            home: Arc::new(home),
        })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// With nothing of the environment but the search path, and pipes.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.kubeconfig());
        command
            .args(arguments)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        env: &[(&str, &str)],
        input: &str,
    ) -> Result<Output> {
        let mut command = self.command(arguments);
        command.envs(env.iter().copied()).stdin(Stdio::piped());
        let program = self.program.display();
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start {program}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }
}
