//! One run of one engine: a fresh control plane, the three phases, and what each took.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use fairway_testkit::Process;
use fairway_testkit::real::{Assets, KustomizeController, SourceStandIn, install_flux_kinds};
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
const START: Duration = Duration::from_mins(1);

/// What does the work.
enum Worker {
    /// This process.
    Here,
    Fairway(Process),
    Flux {
        controller: KustomizeController,
        _source: SourceStandIn,
    },
}

impl Worker {
    async fn start(
        kind: Kind,
        assets: &Assets,
        plane: &Plane,
        binary: &Path,
        folder: &TempDir,
    ) -> Result<Self> {
        Ok(match kind {
            Kind::Bound => Self::Here,
            Kind::Fairway => {
                let kubeconfig = folder.path().join("kubeconfig");
                let mut command = fairway(binary, &["controller", "--profile=flux"], &kubeconfig);
                command
                    .arg("--storage-path")
                    .arg(folder.path().join("storage"));
                Self::Fairway(Process::spawn(command)?)
            }
            Kind::Flux => {
                let source = SourceStandIn::start(plane.kubeconfig(), false).await?;
                let arguments = ["--concurrent=20"];
                let controller =
                    KustomizeController::start(assets, plane.kubeconfig(), &arguments).await?;
                Self::Flux {
                    controller,
                    _source: source,
                }
            }
        })
    }

    fn pid(&self) -> i32 {
        match self {
            Self::Here => std::process::id() as i32,
            Self::Fairway(process) => process.id(),
            Self::Flux { controller, .. } => controller.id(),
        }
    }

    /// The end of what it logged.
    fn log(&self) -> String {
        let log = match self {
            Self::Here => String::new(),
            Self::Fairway(process) => process.stderr(),
            Self::Flux { controller, .. } => controller.log(),
        };
        let mut start = log.len().saturating_sub(2000);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].to_owned()
    }
}

pub(crate) async fn run(
    assets: &Assets,
    binary: &Path,
    run: Run,
    seen: &mut dyn FnMut(Row),
) -> Result<()> {
    let plane = Plane::start(assets).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, plane.kubeconfig())?;
    let installed = fairway(binary, &["install", "--replicas=0"], &kubeconfig)
        .output()
        .await?;
    ensure!(
        installed.status.success(),
        "fairway install: {}",
        String::from_utf8_lossy(&installed.stderr)
    );
    if run.engine == Kind::Flux {
        install_flux_kinds(assets, &plane.control).await?;
    }
    load::prepare(&plane.api).await?;
    let git = load::repository().await?;
    load::create_source(&plane.api, &git.url()).await?;
    let worker = Worker::start(run.engine, assets, &plane, binary, &folder).await?;
    let first = format!("main@sha1:{}", git.head()?);
    if run.engine != Kind::Bound {
        until_source(&plane, &first).await?;
    }
    let progress = Progress::follow(&plane.api).await?;
    let mut phases = Phases {
        run,
        plane: &plane,
        progress: &progress,
        worker: &worker,
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

/// The binary, away from the home of whoever runs this.
fn fairway(binary: &Path, arguments: &[&str], kubeconfig: &Path) -> Command {
    let mut command = Command::new(binary);
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
    worker: &'a Worker,
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
        let pid = self.worker.pid();
        let before = Counted::read(&self.plane.api).await?;
        let gone = || format!("the engine has ended: {}", self.worker.log());
        let cpu = cpu_seconds(pid).with_context(gone)?;
        let started = Instant::now();
        begin.await?;
        let reached = self
            .progress
            .until(run.n, generation, revision, started, run.limit)
            .await;
        tokio::time::sleep(TRAIL).await;
        let row = Row {
            run,
            phase: name,
            took: reached.took,
            count: reached.count,
            cpu: cpu_seconds(pid).with_context(gone)? - cpu,
            memory: peak_memory(pid)?,
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
