//! `fairway demo`: a management cluster, workload clusters, a Git repository and the reconcilers, in one process, on loopback only.
//!
//! ```text
//!   place     the folder, and how `demo try` finds a running demo
//!   origin    the bare repository, served over HTTP
//!   clusters  which clusters, and with what labels
//!   fleet     starting and preparing them
//!   watch ─▶ view ─▶ progress, steps: what people see
//! ```

mod clusters;
mod discover;
mod fleet;
mod origin;
mod place;
mod progress;
mod steps;
mod try_it;
mod view;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::args::{DemoArgs, DemoCommand};
use crate::exit::Outcome;
use crate::output::seconds;
use fleet::Fleet;
use origin::Origin;
use place::{Place, Running};
use progress::Progress;
use watch::LiveView;

/// Name and context of the management cluster.
pub(crate) const MANAGEMENT: &str = "management";

/// What stands beside the table.
const SIMULATED: &str =
    "simulated clusters; `fairway controller --kubeconfig` runs the same on yours";

/// Runs the demo until it is interrupted, or with `--once` until all is Ready.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<Outcome> {
    if let Some(DemoCommand::Try(args)) = args.command {
        return try_it::run(args).await;
    }
    let mut place = Place::open(args.data_dir.as_deref())?;
    let outcome = tokio::select! {
        outcome = session(&args, &mut place) => outcome,
        signal = crate::start::interrupted() => signal.map(|()| Outcome::Done),
    };
    if place.is_kept() {
        println!("kept in {}", place.dir().display());
    }
    outcome
}

async fn session(args: &DemoArgs, place: &mut Place) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let origin = Origin::open(place, args).await?;
    let plan = fleet::Plan::of(&origin, args).await?;
    let mut fleet = Fleet::start(place, &plan)
        .await
        .context("failed to start the simulated clusters")?;
    let running = Running {
        dir: place.dir().to_owned(),
        pid: std::process::id(),
        kubeconfig: fleet.kubeconfig().to_owned(),
        repository: origin.directory().to_owned(),
        url: origin.url(),
        branch: origin.branch().to_owned(),
        started: jiff::Timestamp::now().as_second(),
    };
    place.announce(&running)?;
    print_where(&running, &fleet, started);
    if args.bare {
        println!("nothing is installed (--bare); Ctrl-C stops it");
        std::future::pending::<()>().await;
    }
    fleet.prepare(&plan, &origin).await?;
    fleet.start_engine(place, &origin, &plan).await?;
    origin.tell_pushes_to(fleet.poker());
    let mut view = LiveView::start(fleet.hub());
    let mut progress = Progress::new(started);
    let timeout = if args.once {
        args.timeout
    } else {
        Duration::from_secs(600)
    };
    let converged = progress
        .until_converged(&mut view, &plan.goal(&origin)?, timeout)
        .await;
    let snapshot = view.snapshot();
    println!();
    print!("{}", snapshot.table(progress.times()));
    println!("{SIMULATED}");
    for line in snapshot.not_run() {
        println!("not run: {line}");
    }
    if !converged {
        println!("\nnot Ready within {}:", seconds(timeout));
        for line in snapshot.reasons(snapshot.revision()) {
            println!("  {line}");
        }
    }
    let requests = fleet.requests();
    println!(
        "\n{} in {} with {requests} API requests{}",
        if converged {
            "converged"
        } else {
            "stopped waiting"
        },
        seconds(started.elapsed()),
        memory()
            .map(|bytes| format!(", {} MB of memory", bytes >> 20))
            .unwrap_or_default()
    );
    if args.once {
        fleet.stop().await;
        return Ok(if converged {
            Outcome::Done
        } else {
            Outcome::NotSo
        });
    }
    println!();
    let binary = std::env::current_exe().unwrap_or_else(|_| Path::new("fairway").to_owned());
    if args.repo.is_none() {
        print!("{}", steps::text(&running, &binary));
    }
    println!("\nThe demo runs until Ctrl-C.");
    std::future::pending::<()>().await;
    Ok(Outcome::Done)
}

fn print_where(running: &Running, fleet: &Fleet, started: Instant) {
    println!(
        "fairway demo: {} simulated clusters and a Git server on loopback, in {}",
        fleet.size(),
        seconds(started.elapsed())
    );
    println!(
        "  repository  {}   (branch {})",
        running.url, running.branch
    );
    println!(
        "  kubeconfig  {}   (contexts: {})",
        running.kubeconfig.display(),
        fleet.contexts().join(", ")
    );
}

/// Peak resident memory of this process in bytes, where the system tells it.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
