//! `fairway get`, `reconcile`, `suspend`, `resume`, `tree` and `events`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::render::duration;

/// `fairway get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    #[command(subcommand)]
    pub(crate) what: GetCommand,
}

/// What to show.
#[derive(Subcommand, Debug)]
pub(crate) enum GetCommand {
    /// Git sources
    #[command(visible_alias = "source")]
    Sources(SourcesArgs),
    /// Kustomizations
    #[command(visible_aliases = ["kustomization", "ks"])]
    Kustomizations(ListArgs),
    /// Registered clusters
    #[command(visible_aliases = ["cluster", "fcl"])]
    Clusters(ListArgs),
    /// FleetKustomizations
    #[command(visible_aliases = ["fleetkustomization", "fks"])]
    Fleetkustomizations(ListArgs),
    /// Pipelines
    #[command(visible_aliases = ["pipeline", "fpl"])]
    Pipelines(ListArgs),
    /// Promotions
    #[command(visible_aliases = ["promotion", "fpr"])]
    Promotions(ListArgs),
    /// Approvals
    #[command(visible_aliases = ["approval", "fap"])]
    Approvals(ListArgs),
    /// Everything
    All(ListArgs),
}

/// `fairway get sources [git] [NAME]`.
#[derive(Args, Debug)]
pub(crate) struct SourcesArgs {
    /// Kind of source; `git` is the only one
    #[arg(value_parser = ["git", "all"], default_value = "all")]
    pub(crate) kind: String,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// Which objects, and how they are printed.
#[derive(Args, Debug, Clone)]
pub(crate) struct ListArgs {
    /// Name of one object
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Print again whenever something changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) label_selector: Option<String>,
    /// Only objects whose condition has this status, for example ready=false
    #[arg(long, value_name = "CONDITION=STATUS")]
    pub(crate) status_selector: Option<String>,
    /// Leave the header line out
    #[arg(long)]
    pub(crate) no_header: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How objects are printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// A JSON list.
    Json,
    /// YAML documents.
    Yaml,
}

/// `fairway reconcile`.
#[derive(Args, Debug)]
pub(crate) struct ReconcileArgs {
    #[command(subcommand)]
    pub(crate) what: ReconcileCommand,
}

/// Waiting for one object.
#[derive(Args, Debug, Clone)]
pub(crate) struct WaitArgs {
    /// Name of the object
    pub(crate) name: String,
    /// How long to wait for the result
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// What to reconcile.
#[derive(Subcommand, Debug)]
pub(crate) enum ReconcileCommand {
    /// A source
    #[command(subcommand)]
    Source(ReconcileSource),
    /// A Kustomization
    #[command(visible_alias = "ks")]
    Kustomization {
        #[command(flatten)]
        wait: WaitArgs,
        /// Reconcile its source first
        #[arg(long)]
        with_source: bool,
    },
    /// A registered cluster
    #[command(visible_alias = "fcl")]
    Cluster(WaitArgs),
    /// A FleetKustomization
    #[command(visible_alias = "fks")]
    Fleetkustomization(WaitArgs),
    /// A Pipeline
    #[command(visible_alias = "fpl")]
    Pipeline(WaitArgs),
}

/// Which source to reconcile.
#[derive(Subcommand, Debug)]
pub(crate) enum ReconcileSource {
    /// A GitRepository
    Git(WaitArgs),
}

/// `fairway suspend` and `fairway resume`.
#[derive(Args, Debug)]
pub(crate) struct SwitchArgs {
    #[command(subcommand)]
    pub(crate) what: SwitchCommand,
}

/// Which objects to switch.
#[derive(Args, Debug, Clone)]
pub(crate) struct SwitchNames {
    /// Names of the objects
    #[arg(required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// All objects of the namespace
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
}

/// What to switch.
#[derive(Subcommand, Debug)]
pub(crate) enum SwitchCommand {
    /// A source
    #[command(subcommand)]
    Source(SwitchSource),
    /// Kustomizations
    #[command(visible_alias = "ks")]
    Kustomization(SwitchNames),
    /// Registered clusters
    #[command(visible_alias = "fcl")]
    Cluster(SwitchNames),
    /// FleetKustomizations
    #[command(visible_alias = "fks")]
    Fleetkustomization(SwitchNames),
    /// Pipelines: no promotion begins and nothing is committed
    #[command(visible_alias = "fpl")]
    Pipeline(SwitchNames),
}

/// Which sources to switch.
#[derive(Subcommand, Debug)]
pub(crate) enum SwitchSource {
    /// GitRepositories
    Git(SwitchNames),
}

/// `fairway tree`.
#[derive(Args, Debug)]
pub(crate) struct TreeArgs {
    #[command(subcommand)]
    pub(crate) what: TreeCommand,
}

/// What to show as a tree.
#[derive(Subcommand, Debug)]
pub(crate) enum TreeCommand {
    /// A Kustomization, with the Kustomizations that it applies
    #[command(visible_alias = "ks")]
    Kustomization {
        /// Name of the Kustomization
        name: String,
        /// Leave out what is below a Kustomization of a Kustomization
        #[arg(long)]
        compact: bool,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

/// `fairway events`.
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    /// Only events of one object, as KIND/NAME
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub(crate) object: Option<String>,
    /// Events of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Go on with new events
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Only events of these types: Normal, Warning
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    pub(crate) types: Vec<String>,
}
