//! `fairway build` and `fairway diff`, and values that several commands read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// `fairway build`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BuildArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BuildCommand>,
    #[command(flatten)]
    pub(crate) folder: BuildFolderArgs,
}

/// `fairway build DIR`.
#[derive(Args, Debug)]
pub(crate) struct BuildFolderArgs {
    /// Folder with a kustomization file (as `kustomize build DIR`)
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Write to this file instead of standard output; into a folder, one file for each object
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Whether files outside the folder of a kustomization may be read
    #[arg(long, value_enum, default_value_t = Restrictor::LoadRestrictionsRootOnly)]
    pub(crate) load_restrictor: Restrictor,
    /// Order of the objects
    #[arg(long, value_enum, default_value_t = Order::Legacy)]
    pub(crate) reorder: Order,
    #[command(flatten)]
    pub(crate) never: NeverArgs,
}

/// What `kustomize build` can be asked for and a build here never does.
#[derive(Args, Debug)]
pub(crate) struct NeverArgs {
    #[arg(long, hide = true)]
    enable_alpha_plugins: bool,
    #[arg(long, hide = true)]
    enable_exec: bool,
    #[arg(long, hide = true)]
    enable_helm: bool,
    #[arg(long, hide = true)]
    network: bool,
}

impl NeverArgs {
    /// The flag that was given, what it would allow, and what to do instead.
    pub(crate) fn given(&self) -> Option<(&'static str, &'static str, &'static str)> {
        const RENDER: &str = "leave the flag out, and commit what the plugin makes";
        if self.enable_alpha_plugins {
            Some((
                "--enable-alpha-plugins",
                "a build executes no plugins",
                RENDER,
            ))
        } else if self.enable_exec {
            Some(("--enable-exec", "a build executes nothing", RENDER))
        } else if self.enable_helm {
            Some((
                "--enable-helm",
                "a build renders no Helm charts",
                "leave the flag out; let a HelmRelease install the chart, or commit what it renders",
            ))
        } else if self.network {
            Some((
                "--network",
                "a build reaches no network",
                "leave the flag out, and commit what would be fetched",
            ))
        } else {
            None
        }
    }
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
    /// What a Promotion would change in the objects of each cluster, before anything is committed; exits 1 where something
    /// differs
    #[command(visible_alias = "fpr")]
    Promotion(super::DiffPromotionArgs),
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
