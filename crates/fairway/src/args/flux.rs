//! Commands that `flux` has too: create, delete, export, trace, stats, debug, envsubst, migrate, version.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::render::duration;

/// `fairway migrate`.
#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    /// File or folder to rewrite; may be given several times [default: the objects stored in the cluster]
    #[arg(short = 'f', long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Endings of the files to look at
    #[arg(
        short,
        long,
        value_delimiter = ',',
        default_value = ".yaml,.yml",
        value_name = "LIST"
    )]
    pub(crate) extensions: Vec<String>,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `fairway export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(subcommand)]
    pub(crate) what: ExportCommand,
}

/// What to export.
#[derive(Subcommand, Debug)]
pub(crate) enum ExportCommand {
    /// Sources
    #[command(subcommand)]
    Source(ExportSource),
    /// Kustomizations
    #[command(visible_alias = "ks")]
    Kustomization(ExportNames),
    /// Registered clusters, without their credentials
    #[command(visible_alias = "fcl")]
    Cluster(ExportNames),
    /// FleetKustomizations
    #[command(visible_alias = "fks")]
    Fleetkustomization(ExportNames),
    /// Pipelines
    #[command(visible_alias = "fpl")]
    Pipeline(ExportNames),
    /// What FleetKustomizations made, as ordinary Kustomizations for stock Flux
    Fleet {
        /// FleetKustomization [default: all]
        name: Option<String>,
    },
}

/// Which source to export.
#[derive(Subcommand, Debug)]
pub(crate) enum ExportSource {
    /// GitRepositories
    Git(ExportNames),
}

/// Which objects to export.
#[derive(Args, Debug)]
pub(crate) struct ExportNames {
    /// Name of the object
    pub(crate) name: Option<String>,
    /// All objects of the namespace
    #[arg(long, conflicts_with = "name")]
    pub(crate) all: bool,
}

/// What every `create` takes.
#[derive(Args, Debug)]
pub(crate) struct CreateCommon {
    /// Name of the object
    pub(crate) name: String,
    /// How often it is reconciled
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub(crate) interval: Duration,
    /// Label, as KEY=VALUE; may be given several times
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Print the object instead of applying it
    #[arg(long)]
    pub(crate) export: bool,
    /// How long to wait for the result
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `fairway create source git`.
#[derive(Args, Debug)]
pub(crate) struct CreateSourceGitArgs {
    #[command(flatten)]
    pub(crate) common: CreateCommon,
    /// URL of the repository
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// Branch
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Tag
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Option<String>,
    /// Range of versions that a tag must be in
    #[arg(long, value_name = "RANGE")]
    pub(crate) tag_semver: Option<String>,
    /// Full name of a ref
    #[arg(long, value_name = "NAME")]
    pub(crate) ref_name: Option<String>,
    /// Commit
    #[arg(long, value_name = "ID")]
    pub(crate) commit: Option<String>,
    /// Secret with the credentials, which is there already
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_ref: Option<String>,
    /// Secret with the proxy, which is there already
    #[arg(long, value_name = "NAME")]
    pub(crate) proxy_secret_ref: Option<String>,
    /// Fetch submodules too
    #[arg(long)]
    pub(crate) recurse_submodules: bool,
    /// Paths to leave out
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) ignore_paths: Vec<String>,
    /// Paths to take alone
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) sparse_checkout_paths: Vec<String>,
}

/// `fairway create kustomization`.
#[derive(Args, Debug)]
pub(crate) struct CreateKustomizationArgs {
    #[command(flatten)]
    pub(crate) common: CreateCommon,
    /// Source, as [KIND/]NAME[.NAMESPACE]
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: String,
    /// Folder in the source
    #[arg(long, default_value = "./", value_name = "PATH")]
    pub(crate) path: String,
    /// Delete what leaves the source
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) prune: bool,
    /// Wait until everything is healthy
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) wait: bool,
    /// How long health may take
    #[arg(long, default_value = "2m", value_parser = duration, value_name = "DURATION")]
    pub(crate) health_check_timeout: Duration,
    /// Object whose health counts, as KIND/NAME.NAMESPACE; may be given several times
    #[arg(long, value_delimiter = ',', value_name = "OBJECT")]
    pub(crate) health_check: Vec<String>,
    /// Kustomization that comes first, as [NAMESPACE/]NAME; may be given several times
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) depends_on: Vec<String>,
    /// Account to act as
    #[arg(long, value_name = "NAME")]
    pub(crate) service_account: Option<String>,
    /// Namespace for all objects
    #[arg(long, value_name = "NAME")]
    pub(crate) target_namespace: Option<String>,
    /// Secret with the kubeconfig of another cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) kubeconfig_secret_ref: Option<String>,
    /// How long until a failed attempt is repeated
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) retry_interval: Option<Duration>,
}

/// `fairway delete`.
#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    #[command(subcommand)]
    pub(crate) what: DeleteCommand,
}

/// What to delete.
#[derive(Subcommand, Debug)]
pub(crate) enum DeleteCommand {
    /// A source
    #[command(subcommand)]
    Source(DeleteSource),
    /// A Kustomization, and with `prune: true` what it applied
    #[command(visible_alias = "ks")]
    Kustomization(DeleteName),
    /// A registered cluster; its workloads stay
    #[command(visible_alias = "fcl")]
    Cluster(DeleteName),
    /// A FleetKustomization
    #[command(visible_alias = "fks")]
    Fleetkustomization(DeleteName),
}

/// Which source to delete.
#[derive(Subcommand, Debug)]
pub(crate) enum DeleteSource {
    /// A GitRepository
    Git(DeleteName),
}

/// Which object to delete.
#[derive(Args, Debug)]
pub(crate) struct DeleteName {
    /// Name of the object
    pub(crate) name: String,
    /// Don't ask
    #[arg(short, long, visible_alias = "yes")]
    pub(crate) silent: bool,
}

/// `fairway trace`.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    /// Object, as KIND NAME or KIND/NAME
    #[arg(num_args = 1..=2, required = true, value_name = "OBJECT")]
    pub(crate) object: Vec<String>,
    /// API version of the object, where its kind alone is ambiguous
    #[arg(long, value_name = "VERSION")]
    pub(crate) api_version: Option<String>,
}

/// `fairway debug`.
#[derive(Subcommand, Debug)]
pub(crate) enum DebugCommand {
    /// A Kustomization's status, variables or history
    #[command(visible_alias = "ks")]
    Kustomization {
        /// Name of the Kustomization
        name: String,
        /// Print the status
        #[arg(long)]
        show_status: bool,
        /// Print the variables of postBuild as KEY=VALUE; they may hold secrets
        #[arg(long)]
        show_vars: bool,
        /// Print the last attempts
        #[arg(long)]
        show_history: bool,
    },
}

/// How the version is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// `fairway version`.
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// Only this program's
    #[arg(long)]
    pub(crate) client: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = VersionFormat::Yaml)]
    pub(crate) output: VersionFormat,
}
