//! The real `kubectl`, kept away from the home and the kubeconfig of whoever runs the tests.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Process;

/// A `kubectl` with a private home. Clones share it.
#[derive(Clone, Debug)]
pub struct Kubectl {
    home: Arc<TempDir>,
    context: Option<String>,
}

/// What a run of a program left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; a signal counts as -1.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// The output, or the complaint as an error.
    pub fn ok(self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}: {}{}", self.code, self.stderr, self.stdout);
        }
        Ok(self.stdout)
    }
}

impl Kubectl {
    /// Whether there is a `kubectl` in `PATH`; tests that need one skip without.
    pub fn available() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file())
    }

    /// For the contexts of a kubeconfig, given as text.
    pub fn new(kubeconfig: &str) -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::write(home.path().join("kubeconfig"), kubeconfig)?;
        Ok(Self {
            home: Arc::new(home),
            context: None,
        })
    }

    /// The same, in another context.
    #[must_use]
    pub fn in_context(&self, context: &str) -> Self {
        Self {
            home: self.home.clone(),
            context: Some(context.to_owned()),
        }
    }

    /// The path of its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// Its home, also the working directory: a place for files to apply.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("kubectl");
        command.env_clear().current_dir(self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.kubeconfig());
        // `kubectl edit` and `kubectl diff` run these.
        for name in ["KUBE_EDITOR", "KUBECTL_EXTERNAL_DIFF"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(context) = &self.context {
            command.arg("--context").arg(context);
        }
        command.args(arguments).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command, whatever comes of it.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        self.run_with(arguments, &[], "").await
    }

    /// As [`Kubectl::run`], with environment variables and standard input.
    pub async fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        env: &[(&str, &str)],
        input: &str,
    ) -> Result<Output> {
        let mut command = self.command(arguments);
        command.envs(env.iter().copied()).stdin(Stdio::piped());
        let mut child = command.spawn().context("can't start kubectl")?;
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

    /// The output of a command that must succeed.
    pub async fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let shown: Vec<_> = arguments
            .iter()
            .map(|a| a.as_ref().to_string_lossy())
            .collect();
        self.run(arguments)
            .await?
            .ok()
            .with_context(|| format!("kubectl {}", shown.join(" ")))
    }

    /// The output of a command that must succeed, as JSON; `-o json` is added.
    pub async fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        Ok(serde_json::from_str(&self.ok(&arguments).await?)?)
    }

    /// `kubectl apply --server-side` of some YAML.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.run_with(&["apply", "--server-side", "-f", "-"], &[], yaml)
            .await?
            .ok()
    }

    /// Starts a command that goes on, `get --watch` for instance.
    pub fn spawn<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Process> {
        Process::spawn(self.command(arguments))
    }
}
