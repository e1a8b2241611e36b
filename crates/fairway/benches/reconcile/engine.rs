//! One run of one engine: a fresh control plane, the three phases, and what each took.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use fairway_testkit::Process;
use fairway_testkit::real::Assets;
use tempfile::TempDir;
use tokio::process::Command;

use crate::Run;
use crate::bound::{self, Phase};
use crate::load;
use crate::measure::{Counted, cpu_seconds, peak_memory};
use crate::plane::Plane;
use crate::progress::Progress;
use crate::report::Row;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A plain client.
    Bound,
    /// `fairway controller`.
    Fairway,
    /// Flux's controllers.
    Flux,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bound, Self::Fairway, Self::Flux];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Fairway => "Fairway",
            Self::Flux => "Flux",
        }
    }
}

/// After a phase, what trails behind (events, mostly) is counted in for this long.
const TRAIL: Duration = Duration::from_secs(2);
const START: Duration = Duration::from_secs(60);

/// The running processes of an engine.
struct Running {
    processes: Vec<Process>,
    _folder: TempDir,
}

impl Running {
    fn pids(&self) -> Vec<i32> {
        if self.processes.is_empty() {
            // The bound is this process.
            return vec![std::process::id() as i32];
        }
        self.processes.iter().map(Process::id).collect()
    }
}

pub(crate) async fn run(assets: &Assets, run: Run, seen: &mut dyn FnMut(Row)) -> Result<()> {
    let plane = Plane::start(assets).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, plane.kubeconfig())?;
    let installed = fairway(&["install"], &kubeconfig).output().await?;
    ensure!(
        installed.status.success(),
        "fairway install: {}",
        String::from_utf8_lossy(&installed.stderr)
    );
    load::prepare(&plane.api).await?;
    let git = load::repository().await?;
    load::create_source(&plane.api, &git.url()).await?;
    let processes = match run.engine {
        Kind::Bound => Vec::new(),
        Kind::Fairway => {
            let storage = folder.path().join("storage");
            let mut command = fairway(&["controller", "--profile=flux"], &kubeconfig);
            command.arg("--storage-path").arg(storage);
            vec![Process::spawn(command)?]
        }
        Kind::Flux => bail!("Flux's controllers are not there"),
    };
    let mut running = Running {
        processes,
        _folder: folder,
    };
    let first = format!("main@sha1:{}", git.head()?);
    if run.engine != Kind::Bound {
        until_source(&plane, &first).await?;
    }
    let progress = Progress::follow(&plane.api).await?;
    let mut phases = Phases {
        run,
        plane: &plane,
        progress: &progress,
        running: &mut running,
        seen,
    };
    let api = &plane.api;
    phases
        .phase("install", 1, &first, async {
            match run.engine {
                Kind::Bound => bound::run(api, run.n, run.wait, Phase::Install, &first).await,
                _ => load::create_all(api, run.n, run.wait).await,
            }
        })
        .await?;
    phases
        .phase("upgrade", 2, &first, async {
            match run.engine {
                Kind::Bound => bound::run(api, run.n, run.wait, Phase::Upgrade, &first).await,
                _ => load::upgrade_all(api, run.n).await,
            }
        })
        .await?;
    git.commit("Say hello", &[("README.md", Some("Hello.\n"))])
        .await?;
    let second = format!("main@sha1:{}", git.head()?);
    phases
        .phase("no-op", 2, &second, async {
            match run.engine {
                Kind::Bound => bound::run(api, run.n, run.wait, Phase::Nothing, &second).await,
                _ => load::request_source(api, "now").await,
            }
        })
        .await
}

/// The release build of this workspace, away from the home of whoever runs this.
fn fairway(arguments: &[&str], kubeconfig: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig);
    command
}

async fn until_source(plane: &Plane, revision: &str) -> Result<()> {
    let started = Instant::now();
    while load::source_revision(&plane.api).await?.as_deref() != Some(revision) {
        ensure!(started.elapsed() < START, "the source is not ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

struct Phases<'a> {
    run: Run,
    plane: &'a Plane,
    progress: &'a Progress,
    running: &'a mut Running,
    seen: &'a mut dyn FnMut(Row),
}

impl Phases<'_> {
    async fn phase(
        &mut self,
        name: &'static str,
        generation: i64,
        revision: &str,
        begin: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let run = self.run;
        let pids = self.running.pids();
        let before = Counted::read(&self.plane.api).await?;
        let cpu = cpu_seconds(&pids)?;
        let started = Instant::now();
        begin.await?;
        let reached = self
            .progress
            .until(run.n, generation, revision, started, run.limit)
            .await;
        tokio::time::sleep(TRAIL).await;
        for process in &mut self.running.processes {
            if !process.is_running() {
                let log = process.stderr();
                let end = log.len().saturating_sub(2000);
                bail!(
                    "the process has ended: {}",
                    log.get(end..).unwrap_or_default()
                );
            }
        }
        let row = Row {
            run,
            phase: name,
            took: reached.took,
            count: reached.count,
            cpu: cpu_seconds(&pids)? - cpu,
            memory: peak_memory(&pids)?,
            counted: Counted::read(&self.plane.api).await?.since(&before),
        };
        eprintln!("{}", row.line());
        if run.show_requests {
            for ((verb, resource), count) in &row.counted.requests {
                eprintln!("    {count:>7} {verb} {resource}");
            }
        }
        let complete = reached.count >= run.n;
        (self.seen)(row);
        ensure!(
            complete,
            "{name}: {} of {} after {:?}: {}",
            reached.count,
            run.n,
            run.limit,
            reached.complaint.context("no complaint")?
        );
        Ok(())
    }
}
