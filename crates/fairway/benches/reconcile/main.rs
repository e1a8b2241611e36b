//! `cargo xtask bench-reconcile`: what it takes to bring N Kustomizations to a real API server, upgrade them, and
//! leave them alone.
//!
//! ```text
//!   bound    a plain client that sends just the writes that the contract needs   ┐ each on a control plane
//!   Fairway  the release build of `fairway controller`                           ├ of its own, one after the
//!   Flux     the real kustomize-controller (concurrency 20)                      ┘ other, on this machine
//!
//!   install (N Kustomizations are created) ─▶ upgrade (one variable of each) ─▶ no-op (a commit that changes no build)
//! ```
//!
//! The workload is that of Flux's published benchmark: ServiceAccount, Service, Deployment with no replicas and Ingress,
//! an impersonated service account, `postBuild` variables; one source for all. Time is from the first write until a
//! watch has seen the last Kustomization ready at its generation and revision. Processor time and memory are of the one
//! process; kustomize-controller gets its artifacts from the test kit's stand-in for source-controller, which is not
//! counted, while Fairway's process fetches and reads Git itself.

mod api;
mod bound;
mod engine;
mod load;
mod measure;
mod plane;
mod progress;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use fairway_testkit::real::Assets;

use report::{Row, Table};

/// Compares Fairway, Flux and the least that any engine has to send.
#[derive(Parser, Debug)]
#[command(name = "bench-reconcile")]
struct Args {
    /// How many Kustomizations
    #[arg(long, value_delimiter = ',', default_value = "100,500,1000")]
    n: Vec<usize>,
    /// Runs with `wait: false` too
    #[arg(long)]
    no_wait: bool,
    /// Leaves Flux's controllers out
    #[arg(long)]
    skip_flux: bool,
    /// Runs these only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<engine::Kind>,
    /// Longest that one phase may take, in seconds
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// The Fairway to measure [default: the release build of this workspace]
    #[arg(long, default_value = env!("CARGO_BIN_EXE_fairway"), hide_default_value = true)]
    binary: PathBuf,
    /// Prints the requests of each phase by verb and resource
    #[arg(long)]
    requests: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One run: an engine, so many Kustomizations, with or without `wait: true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) engine: engine::Kind,
    pub(crate) n: usize,
    pub(crate) wait: bool,
    pub(crate) limit: Duration,
    pub(crate) show_requests: bool,
}

fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            // What was started ends with this process, however it ends.
            tokio::select! {
                result = run(args) => result,
                _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            }
        })
}

async fn run(args: Args) -> Result<()> {
    let assets = Assets::find()
        .context("no etcd and kube-apiserver\nhint: `cargo xtask envtest` builds them")?;
    let mut table = Table::default();
    for &n in &args.n {
        for wait in [true, false] {
            if !wait && !args.no_wait {
                continue;
            }
            for engine in engine::Kind::ALL {
                let skipped = (engine == engine::Kind::Flux && args.skip_flux)
                    || (!args.only.is_empty() && !args.only.contains(&engine));
                if skipped {
                    continue;
                }
                let run = Run {
                    engine,
                    n,
                    wait,
                    limit: Duration::from_secs(args.limit),
                    show_requests: args.requests,
                };
                let mut seen = |row: Row| table.add(row);
                if let Err(error) = engine::run(&assets, &args.binary, run, &mut seen).await {
                    eprintln!("{} with {n}: {error:#}", engine.name());
                    table.failed(run, &error);
                }
            }
        }
        // What there is so far: a run that is cut short is not lost.
        println!("\n{}", table.markdown());
    }
    Ok(())
}
