//! The command line: its words, flags and help. Names are those of `flux` and `kubectl` where they have one.

mod bootstrap;
mod cluster;
mod controller;
mod demo;
mod flux;
mod install;
mod objects;
mod pipeline;
mod promotion;
mod render;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use bootstrap::{BootstrapCommand, GitArgs, HostedArgs, SyncArgs};
pub(crate) use cluster::{CreateClusterArgs, CreateCommand, CreateSource};
pub(crate) use controller::{ControllerArgs, Profile};
pub(crate) use demo::{DemoArgs, DemoCommand, Scenario, TryArgs, TryWhat};
pub(crate) use flux::{
    CreateCommon, CreateKustomizationArgs, CreateSourceGitArgs, DebugCommand, DeleteArgs,
    DeleteCommand, DeleteSource, ExportArgs, ExportCommand, ExportNames, ExportSource, MigrateArgs,
    TraceArgs, VersionArgs, VersionFormat,
};
pub(crate) use install::{CheckArgs, ComponentArgs, InstallArgs, UninstallArgs};
pub(crate) use objects::{
    EventsArgs, Format, GetArgs, GetCommand, ListArgs, ReconcileArgs, ReconcileCommand,
    ReconcileSource, SwitchArgs, SwitchCommand, SwitchNames, SwitchSource, TreeArgs, TreeCommand,
    WaitArgs,
};
pub(crate) use pipeline::{
    AuditArgs, AuditFormat, CancelArgs, DecideArgs, DiffPromotionArgs, DrillArgs, DrillCommand,
    FreezeArgs, PipelineCommand, PromotionsArgs, RevokeArgs, UnblockArgs, UnfreezeArgs,
};
pub(crate) use promotion::{CommitArgs, PromoteArgs, RequestArgs, RollbackArgs};
pub(crate) use render::{
    BuildArgs, BuildCommand, BuildFolderArgs, BuildKustomizationArgs, DiffCommand,
    DiffKustomizationArgs, Order, Restrictor,
};

/// Keeps every cluster of a fleet equal to a Git repository. Speaks the Flux v2 API.
#[derive(Parser, Debug)]
#[command(name = "fairway", version, about, long_about = None, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Global {
    /// Kubeconfig file of the management cluster [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global")]
    pub(crate) kubeconfig: Option<std::path::PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global")]
    pub(crate) context: Option<String>,
    /// Namespace of the objects
    #[arg(
        short,
        long,
        global = true,
        default_value = "flux-system",
        value_name = "NAME",
        help_heading = "Global"
    )]
    pub(crate) namespace: String,
    /// Log level or filter: error, warn, info, debug, trace, or module=level,…
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global")]
    pub(crate) log_level: Option<String>,
    /// How log lines are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Console, help_heading = "Global")]
    pub(crate) log_encoding: LogFormat,
}

/// How log lines are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Console,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a management cluster and nine simulated clusters from one Git repository, on this machine
    Demo(DemoArgs),
    /// Write the reference repository into a new folder
    Init {
        /// Folder to write; must be empty or new
        #[arg(value_name = "DIR")]
        dir: std::path::PathBuf,
        /// URL that the clusters will read the repository from
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Branch that the clusters follow
        #[arg(long, default_value = "main", value_name = "NAME")]
        branch: String,
    },
    /// Run the reconcilers against a management cluster
    Controller(ControllerArgs),
    /// Install Fairway on a management cluster: resource definitions, accounts, the controller
    Install(InstallArgs),
    /// Put Fairway's manifests into a repository, install it, and let the cluster follow the repository
    #[command(subcommand)]
    Bootstrap(BootstrapCommand),
    /// Remove Fairway from a management cluster; no workload is deleted
    Uninstall(UninstallArgs),
    /// Look at the management cluster, the controller and the registered clusters
    Check(CheckArgs),
    /// Show sources, Kustomizations and clusters with their state
    Get(GetArgs),
    /// Reconcile an object now and wait for the result
    Reconcile(ReconcileArgs),
    /// Stop reconciling an object until it is resumed
    Suspend(SwitchArgs),
    /// Reconcile a suspended object again
    Resume(SwitchArgs),
    /// Build a folder, or a Kustomization as the controller would
    Build(BuildArgs),
    /// Show what a local folder would change on the cluster
    #[command(subcommand)]
    Diff(DiffCommand),
    /// Show the objects that a Kustomization manages
    Tree(TreeArgs),
    /// Show the events of Fairway's objects
    Events(EventsArgs),
    /// Create objects
    #[command(subcommand)]
    Create(CreateCommand),
    /// Delete objects
    Delete(DeleteArgs),
    /// Print objects as YAML, without what the cluster added
    Export(ExportArgs),
    /// Show where an object of the cluster comes from
    Trace(TraceArgs),
    /// Count the objects and how they are
    Stats {
        /// Objects of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Look into an object
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Replace ${VAR} in standard input by the environment, as postBuild would
    Envsubst {
        /// Fail where a variable without default is missing
        #[arg(long)]
        strict: bool,
    },
    /// Show what the controller's pods wrote last
    Logs {
        /// Lines of each pod
        #[arg(long, default_value_t = 100, value_name = "N")]
        tail: i64,
    },
    /// Rewrite files, or what the cluster stores, from old versions of Flux's kinds to v1
    Migrate(MigrateArgs),
    /// Show the version of this program and of the controller
    Version(VersionArgs),
    /// Bring a version to a stage, past the gates of its Pipeline; without a Pipeline by a commit of your own
    Promote(PromoteArgs),
    /// Take a stage back: to a version, by the revert of a commit, or to an old revision
    Rollback(RollbackArgs),
    /// Say yes to a Promotion that waits for people
    Approve(DecideArgs),
    /// Say no to a Promotion: it ends
    Reject(DecideArgs),
    /// Let nothing be committed to a Pipeline, or to one of its stages
    Freeze(FreezeArgs),
    /// End a freeze
    Unfreeze(UnfreezeArgs),
    /// Let a version that failed be promoted again
    Unblock(UnblockArgs),
    /// Take verdicts of a Promotion back: the version goes no further
    Revoke(RevokeArgs),
    /// End a Promotion
    Cancel(CancelArgs),
    /// Look at Pipelines
    #[command(subcommand, visible_alias = "fpl")]
    Pipeline(PipelineCommand),
    /// List Promotions, the newest first
    Promotions(PromotionsArgs),
    /// Show or check the log of what was promoted and rolled back, by whom, and what came of it
    Audit(AuditArgs),
    /// Practise
    #[command(subcommand)]
    Drill(DrillCommand),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The log filter of a command when none is asked for.
    pub(crate) fn default_log_level(&self) -> &'static str {
        match self {
            Self::Controller(_) => "info",
            // A refused connection is shown by the command itself.
            _ => "error,kube_client=off",
        }
    }
}
