//! `fairway demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::render::duration;

/// `fairway demo`: clusters, Git and the reconcilers in one process, on loopback only.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DemoCommand>,
    /// Exit as soon as everything is Ready (0), or with the reasons when it is not so within --timeout (1)
    #[arg(long)]
    pub(crate) once: bool,
    /// Play this when everything is Ready; with --once exit by its result
    #[arg(long, value_enum, conflicts_with_all = ["bare", "repo"], value_name = "NAME")]
    pub(crate) scenario: Option<Scenario>,
    /// How long --once, and each step of a scenario, waits
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// Start empty clusters and the Git server, and print how to bootstrap them; nothing runs until you do
    #[arg(long, conflicts_with_all = ["once", "repo", "clusters"])]
    pub(crate) bare: bool,
    /// Run this repository, unchanged, from a bare copy
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) repo: Option<String>,
    /// Branch of --repo [default: its HEAD]
    #[arg(long, requires = "repo", value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// File that names the clusters of --repo, their labels and paths
    #[arg(long, requires = "repo", value_name = "FILE")]
    pub(crate) clusters: Option<PathBuf>,
    /// Keep everything in this folder for the next start [default: a temporary folder, removed on exit]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// What can be asked of a running demo.
#[derive(Subcommand, Debug)]
pub(crate) enum DemoCommand {
    /// Try one of the printed next steps against the running demo, and say what happened
    Try(TryArgs),
}

/// `fairway demo try`.
#[derive(Args, Debug)]
pub(crate) struct TryArgs {
    /// The step
    #[arg(value_enum)]
    pub(crate) what: TryWhat,
    /// Folder of the demo [default: the newest one that runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) demo: Option<PathBuf>,
    /// How long to wait for the expected result
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// The steps of `fairway demo try`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TryWhat {
    /// Change a managed object by hand and see it put back
    Drift,
    /// Push a change and see it roll out
    Change,
    /// Push a version that never becomes ready, see it contained, and repair it
    Break,
    /// Lose a cluster, see the others go on, and see it catch up
    Outage,
    /// Promote a good version through all stages, in waves
    Promote,
    /// Promote a version that never becomes ready, see it caught in the first region and taken back
    Rollback,
}

/// What a demo can play by itself.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A good version goes through all stages, in waves.
    Promote,
    /// A version that never becomes ready is caught in the first region and taken back.
    Rollback,
}

impl Scenario {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }
}
