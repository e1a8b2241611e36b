//! `fairway install`, `uninstall`, `check` and `version`.

use std::time::Duration;

use clap::Args;

use super::controller::Profile;
use super::render::duration;

/// What is installed, for `install` and `bootstrap`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ComponentArgs {
    /// Reconcilers to run: source, kustomize, fleet. What is left out is left to Flux's own controllers
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source,kustomize,fleet,pipeline,notification",
        value_name = "LIST"
    )]
    pub(crate) components: Vec<String>,
    /// Version of the controller's image [default: this program's]
    #[arg(long, value_name = "VERSION", conflicts_with = "image")]
    pub(crate) version: Option<String>,
    /// The controller's image
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Registry and repository of the image
    #[arg(long, value_name = "NAME", default_value = "ghcr.io/fairway-gitops")]
    pub(crate) registry: String,
    /// Rules for references and accounts [default: as installed; else `flux` where there are Flux objects, else `locked`]
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// Replicas of the controller; one leads, the others wait. 0 installs without running it, for `fairway controller` elsewhere
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=5))]
    pub(crate) replicas: u8,
    /// Leave the NetworkPolicies out with --network-policy=false
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) network_policy: bool,
    /// Reconcile only objects with these labels, for one of several installations (sharding.fluxcd.io/key=…)
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) watch_label_selector: Option<String>,
    /// Domain of the cluster's Services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
}

/// `fairway install`.
#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// Print the objects instead of applying them
    #[arg(long)]
    pub(crate) export: bool,
    #[command(flatten)]
    pub(crate) components: ComponentArgs,
    /// Don't wait for the rollout with --wait=false
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) wait: bool,
    /// How long to wait for the rollout
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
    /// Install although Flux's controllers run here: Fairway waits until their Leases are free
    #[arg(long)]
    pub(crate) beside_flux: bool,
}

/// `fairway uninstall`.
#[derive(Args, Debug)]
pub(crate) struct UninstallArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave the namespace and what else is in it
    #[arg(long)]
    pub(crate) keep_namespace: bool,
    /// Don't ask
    #[arg(short = 's', long = "yes", visible_alias = "silent")]
    pub(crate) yes: bool,
}

/// `fairway check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Only what must be so before an installation
    #[arg(long)]
    pub(crate) pre: bool,
    /// How long a cluster may take to answer
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}
