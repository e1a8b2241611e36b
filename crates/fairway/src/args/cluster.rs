//! `fairway create cluster`.

use clap::{Args, Subcommand};

use super::flux::{CreateKustomizationArgs, CreateSourceGitArgs};

/// `fairway create`.
#[derive(Subcommand, Debug)]
pub(crate) enum CreateCommand {
    /// Register a workload cluster with the management cluster
    ///
    /// Makes a service account with the least rights in the workload cluster (--context), stores a kubeconfig with its
    /// token in a Secret of the management cluster, and creates the Cluster with its labels there.
    Cluster(CreateClusterArgs),
    /// Sources
    #[command(subcommand)]
    Source(CreateSource),
    /// A Kustomization
    #[command(visible_alias = "ks")]
    Kustomization(CreateKustomizationArgs),
}

/// Which source to create.
#[derive(Subcommand, Debug)]
pub(crate) enum CreateSource {
    /// A GitRepository
    Git(CreateSourceGitArgs),
}

/// `fairway create cluster`. Here `--context` and `--kubeconfig` name the *workload* cluster: they are used once, to make an
/// account for Fairway there.
#[derive(Args, Debug)]
pub(crate) struct CreateClusterArgs {
    /// Name of the cluster
    pub(crate) name: String,
    /// Context of the management cluster [default: the kubeconfig's current context]
    #[arg(long, value_name = "NAME")]
    pub(crate) management_context: Option<String>,
    /// Kubeconfig file of the management cluster, where it is another than --kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(crate) management_kubeconfig: Option<std::path::PathBuf>,
    /// Label of the cluster, as KEY=VALUE; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Store the context's own static credentials instead of making an account
    #[arg(long)]
    pub(crate) use_context_credentials: bool,
    /// Print the objects for the management cluster instead of applying them; holds no credential
    #[arg(long)]
    pub(crate) export: bool,
    /// With --export: print the kubeconfig Secret too, in clear
    #[arg(long, requires = "export")]
    pub(crate) export_credentials: bool,
}
