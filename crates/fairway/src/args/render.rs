//! `fairway build` and `fairway diff`, and values that several commands read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// `fairway build`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BuildArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BuildCommand>,
    /// Folder with a kustomization file (as `kustomize build DIR`)
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Whether files outside the folder of a kustomization may be read
    #[arg(long, value_enum, default_value_t = Restrictor::LoadRestrictionsRootOnly)]
    pub(crate) load_restrictor: Restrictor,
    /// Order of the objects
    #[arg(long, value_enum, default_value_t = Order::Legacy)]
    pub(crate) reorder: Order,
}

/// `--load-restrictor`, with kustomize's own names.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restrictor {
    /// Files below the kustomization's own folder only.
    #[value(name = "LoadRestrictionsRootOnly")]
    LoadRestrictionsRootOnly,
    /// Files anywhere in the repository.
    #[value(name = "LoadRestrictionsNone")]
    LoadRestrictionsNone,
}

/// `--reorder`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Namespaces and definitions first, webhooks last.
    Legacy,
    /// As the files have them.
    None,
}

/// `fairway build WHAT`.
#[derive(Subcommand, Debug)]
pub(crate) enum BuildCommand {
    /// A Kustomization as the controller would build it, from a local folder
    #[command(visible_alias = "ks")]
    Kustomization(BuildKustomizationArgs),
}

/// `fairway build kustomization`.
#[derive(Args, Debug, Clone)]
pub(crate) struct BuildKustomizationArgs {
    /// Name of the Kustomization
    pub(crate) name: String,
    /// Local folder that stands for the Kustomization's spec.path
    #[arg(long, value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// File with the Kustomization, instead of the one on the cluster
    #[arg(long, value_name = "FILE")]
    pub(crate) kustomization_file: Option<PathBuf>,
    /// Don't ask the cluster: without --kustomization-file this is misuse, and substituteFrom is left out
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `fairway diff`.
#[derive(Subcommand, Debug)]
pub(crate) enum DiffCommand {
    /// What a local folder would change for a Kustomization; exits 1 where something differs
    #[command(visible_alias = "ks")]
    Kustomization(DiffKustomizationArgs),
}

/// `fairway diff kustomization`.
#[derive(Args, Debug)]
pub(crate) struct DiffKustomizationArgs {
    #[command(flatten)]
    pub(crate) build: BuildKustomizationArgs,
}

/// Reads `90s`, `2m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<fairway_types::Duration>()
        .map(Into::into)
        .map_err(|error| error.to_string())
}
