//! A process under test: its output, signals, and its end.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running process in a process group of its own, all of which is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    folder: TempDir,
}

impl Process {
    /// Starts a command; its standard output and error go to files.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        command.stdout(std::fs::File::create(folder.path().join("stdout"))?);
        command.stderr(std::fs::File::create(folder.path().join("stderr"))?);
        command
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .with_context(|| format!("can't start {command:?}"))?;
        let id = child.id().context("the process is gone")?;
        let pid = i32::try_from(id)
            .ok()
            .and_then(Pid::from_raw)
            .context("an odd process id")?;
        Ok(Self { child, pid, folder })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        let bytes = std::fs::read(self.file("stdout")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        let bytes = std::fs::read(self.file("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a text shows on standard output or error.
    pub async fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            // Looked at before the output, so that what a process says last is not missed.
            let ended = self.child.try_wait()?;
            if self.stdout().contains(text) || self.stderr().contains(text) {
                return Ok(());
            }
            let why = match ended {
                Some(status) => format!("ended with {status}"),
                None if started.elapsed() > limit => format!("has run for {limit:?}"),
                None => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            bail!(
                "the process {why} and never said {text:?}\n{}\n{}",
                self.stdout(),
                self.stderr()
            );
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL to the process alone: what it started is left to itself, as after a crash.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().await?;
        Ok(())
    }

    /// SIGINT, as Ctrl-C.
    pub fn interrupt(&mut self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// SIGTERM, as a container runtime ends a process.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // A process that was waited for may have lent its id to another one.
        if self.child.try_wait()?.is_none() {
            kill_process(self.pid, signal)?;
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "the process still runs after {limit:?}\n{}\n{}",
                self.stdout(),
                self.stderr()
            ),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group lives on while a child of the process does, even if that itself has ended.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}
