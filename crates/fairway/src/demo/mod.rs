//! `fairway demo`: a management cluster, workload clusters, a Git repository and the reconcilers, in one process, on loopback only.
//!
//! ```text
//!   place     the folder, and how `demo try` finds a running demo
//!   origin    the bare repository, served over HTTP
//!   clusters  which clusters, and with what labels
//!   plan      the same for a repository of the person's own, which discover reads
//!   fleet     starting and preparing them; bare: leaving that to the person
//!   watch ─▶ view ─▶ goal, progress, reasons, unrun, steps: what people see
//! ```

mod bare;
mod clusters;
mod discover;
mod fleet;
mod goal;
mod haste;
mod origin;
mod place;
mod plan;
mod progress;
mod reasons;
mod steps;
mod try_it;
mod unrun;
mod view;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::args::{DemoArgs, DemoCommand};
use crate::exit::{Hinted, Outcome};
use crate::output::seconds;
use crate::start::Interrupts;
use fleet::Fleet;
use origin::Origin;
use place::{Memory, Place, Running};
use plan::Plan;
use progress::Progress;
use watch::LiveView;

/// Name and context of the management cluster.
pub(crate) const MANAGEMENT: &str = "management";

/// What stands beside the table.
const SIMULATED: &str =
    "simulated clusters; `fairway controller --kubeconfig` runs the same on yours";

/// What runs, in the order in which it is stopped.
struct Stage {
    fleet: Option<Fleet>,
    origin: Option<Origin>,
    place: Place,
}

impl Stage {
    /// Stops the reconcilers, then the clusters, then the Git server; the folder goes last.
    async fn clear(self) {
        if let Some(fleet) = self.fleet {
            fleet.stop().await;
        }
        drop(self.origin);
        if self.place.is_kept() {
            println!(
                "everything is kept in {}; the same command carries on",
                self.place.dir().display()
            );
        }
    }
}

/// Runs the demo until it is interrupted, or with `--once` until all is Ready.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<Outcome> {
    if let Some(DemoCommand::Try(args)) = args.command {
        return try_it::run(args).await;
    }
    // Before there is anything to clear away.
    let mut interrupts = Interrupts::listen()?;
    let mut stage = Stage {
        fleet: None,
        origin: None,
        place: Place::open(args.data_dir.as_deref())?,
    };
    let outcome = tokio::select! {
        outcome = session(&args, &mut stage) => outcome,
        signal = interrupts.next() => signal.map(|()| {
            println!("\nstopping");
            if args.once { Outcome::NotSo } else { Outcome::Done }
        }),
    };
    tokio::select! {
        () = stage.clear() => {}
        // Impatience is understood: what is not on the disk yet is lost, the folder is still removed.
        _ = interrupts.next() => {}
    }
    outcome
}

async fn session(args: &DemoArgs, stage: &mut Stage) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let place = &mut stage.place;
    let mut memory = recall(place, args)?;
    let origin = stage.origin.insert(Origin::open(place, args).await?);
    let plan = Plan::of(origin, args, &memory)?;
    memory.urls.insert(origin.url());
    place.remember(&memory)?;
    let fleet = stage.fleet.insert(
        Fleet::start(place, &plan)
            .await
            .context("failed to start the simulated clusters")?,
    );
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
    print_where(&running, fleet, plan.is_foreign(), started);
    if args.bare {
        let binary = std::env::current_exe().unwrap_or_else(|_| Path::new("fairway").to_owned());
        print!("\n{}", bare::steps(&running, &binary));
        println!("\nNothing is installed yet (--bare). The demo runs until Ctrl-C.");
        bare::stand_in(fleet, place, origin).await?;
    }
    fleet.prepare(&plan, origin).await?;
    fleet.start_engine(place, origin, &plan).await?;
    origin.tell_pushes_to(fleet.poker());
    let converged = show(args, fleet, origin, &plan, started).await?;
    if let Some(scenario) = args.scenario
        && converged
    {
        println!("\nscenario {}:", scenario.name());
        let outcome = try_it::scenario(running.clone(), scenario, args.timeout).await?;
        if args.once {
            return Ok(outcome);
        }
    }
    if args.once {
        return Ok(if converged {
            Outcome::Done
        } else {
            Outcome::NotSo
        });
    }
    println!();
    let binary = std::env::current_exe().unwrap_or_else(|_| Path::new("fairway").to_owned());
    if plan.is_foreign() {
        print!("{}", steps::look(&running, &fleet.contexts()));
    } else {
        print!("{}", steps::text(&running, &binary));
    }
    println!("\nThe demo runs until Ctrl-C.");
    std::future::pending::<()>().await;
    Ok(Outcome::Done)
}

/// What the folder remembers; it must be of the same repository.
fn recall(place: &Place, args: &DemoArgs) -> anyhow::Result<Memory> {
    let mut memory = place.memory();
    let of = match args.repo.as_deref() {
        None => "the reference repository".to_owned(),
        Some(source) => Path::new(source)
            .canonicalize()
            .map_or_else(|_| source.to_owned(), |path| path.display().to_string()),
    };
    if !memory.of.is_empty() && memory.of != of {
        return Err(Hinted::new(
            format!(
                "{} holds a demo of {}, not of {of}",
                place.dir().display(),
                memory.of
            ),
            "name another --data-dir",
        )
        .into());
    }
    memory.of = of;
    Ok(memory)
}

/// Progress, then the table and what else there is to know. Says whether all is done.
async fn show(
    args: &DemoArgs,
    fleet: &Fleet,
    origin: &Origin,
    plan: &Plan,
    started: Instant,
) -> anyhow::Result<bool> {
    let mut view = LiveView::start_all(fleet.hub(), fleet.synced(plan).await?, plan.remotes());
    let mut progress = Progress::new(started);
    let timeout = if args.once {
        args.timeout
    } else {
        Duration::from_mins(10)
    };
    let goal = plan.goal(origin).await?;
    let converged = progress.until_converged(&mut view, &goal, timeout).await;
    let snapshot = view.snapshot();
    println!();
    print!("{}", snapshot.table(progress.times()));
    println!("{SIMULATED}");
    let unrun = unrun::lines(&snapshot);
    if !unrun.is_empty() {
        println!("\nNot run here, and passed over:");
        for line in unrun {
            println!("  not run: {line}");
        }
    }
    if let Some(kinds) = unrun::stored(&snapshot) {
        println!("\nStored, but without their controllers here: {kinds}");
    }
    if !converged {
        println!("\nnot Ready within {}:", seconds(timeout));
        for line in reasons::lines(&snapshot, Some(&goal)) {
            println!("  {line}");
        }
    }
    println!(
        "\n{} in {} with {} API requests{}",
        if converged {
            "converged"
        } else {
            "stopped waiting"
        },
        seconds(started.elapsed()),
        fleet.requests(),
        memory()
            .map(|bytes| format!(", {} MB of memory", bytes >> 20))
            .unwrap_or_default()
    );
    Ok(converged)
}

fn print_where(running: &Running, fleet: &Fleet, is_copy: bool, started: Instant) {
    println!(
        "fairway demo: {} simulated clusters and a Git server on loopback, in {}",
        fleet.size(),
        seconds(started.elapsed())
    );
    let copy = if is_copy {
        "; a copy: the original is only read"
    } else {
        ""
    };
    println!(
        "  repository  {}   (branch {}{copy})",
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
