//! The real `kubectl`, kept away from the home and the kubeconfig of whoever runs the tests.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::Process;
use crate::tool::Tool;

/// A `kubectl` with a private home. Clones share it.
#[derive(Clone, Debug)]
pub struct Kubectl {
    tool: Tool,
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
        Ok(Self {
            tool: Tool::new(Path::new("kubectl"), kubeconfig)?,
            context: None,
        })
    }

    /// The same, in another context.
    #[must_use]
    pub fn in_context(&self, context: &str) -> Self {
        Self {
            tool: self.tool.clone(),
            context: Some(context.to_owned()),
        }
    }

    /// The path of its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.tool.kubeconfig()
    }

    /// Its home, also the working directory: a place for files to apply.
    pub fn home(&self) -> &Path {
        self.tool.home()
    }

    fn arguments<'a, S: AsRef<OsStr>>(&'a self, arguments: &'a [S]) -> Vec<&'a OsStr> {
        let context = self.context.iter().flat_map(|c| ["--context", c.as_str()]);
        context
            .map(OsStr::new)
            .chain(arguments.iter().map(AsRef::as_ref))
            .collect()
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
        self.tool
            .run_with(&self.arguments(arguments), env, input)
            .await
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
        Process::spawn(self.tool.command(&self.arguments(arguments)))
    }
}
