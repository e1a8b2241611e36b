//! `fairway controller`. Flags are called as Flux's controllers call them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fairway_controller::Controller;

use super::render::duration;

/// `fairway controller`: the reconcilers, against any management cluster.
#[derive(Args, Debug)]
pub(crate) struct ControllerArgs {
    /// Reconcilers to run; what is left out is left to Flux's own controllers
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "source,kustomize,fleet,pipeline,notification",
        value_name = "LIST"
    )]
    pub(crate) controllers: Vec<Controller>,
    /// How many Kustomizations are reconciled at once, over all clusters [default: 256]
    #[arg(long, value_name = "N")]
    pub(crate) concurrent: Option<usize>,
    /// Rules for references, remote bases and accounts: `locked` is safe, `flux` is as Flux's own defaults are
    /// [default: `flux` where there are Flux objects that Fairway did not install beside, else `locked`]
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// Refuse references to objects of another namespace [default: as --profile]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) no_cross_namespace_refs: Option<bool>,
    /// Account to impersonate where a Kustomization names none; empty for none [default: as --profile]
    #[arg(long, value_name = "NAME")]
    pub(crate) default_service_account: Option<String>,
    /// Reconcile only while holding Flux's own Leases, so that of several controllers (Flux's among them) one works at a time
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL", requires = "storage_path")]
    pub(crate) enable_leader_election: bool,
    /// Folder for Git mirrors and artifacts [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) storage_path: Option<PathBuf>,
    /// How long until a dependency that is not ready is looked at again
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub(crate) requeue_dependency: Duration,
    /// Share of an interval by which it is spread, in percent
    #[arg(long, default_value_t = 5, value_name = "PERCENT")]
    pub(crate) interval_jitter_percentage: u32,
    /// Let kubeconfigs skip the verification of their server's certificate
    #[arg(long)]
    pub(crate) insecure_kubeconfig_tls: bool,
    /// Address to serve the artifacts of sources at; `0` serves none [default: :9090 in a cluster, else a free port of
    /// 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) storage_addr: Option<String>,
    /// Address of the artifacts that is told to others [default: --storage-addr, with the host's name for a wildcard]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) storage_adv_addr: Option<String>,
    /// How long an artifact that is not the newest is kept
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub(crate) artifact_retention_ttl: Duration,
    /// Artifacts that are kept of one source, at most
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) artifact_retention_records: usize,
    /// Where /healthz and /readyz are served; empty for nowhere
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub(crate) health_addr: String,
    /// Where /metrics is served; empty for nowhere
    #[arg(long, default_value = "", value_name = "ADDRESS")]
    pub(crate) metrics_addr: String,
    /// Reconcile only objects with these labels: one of several shards
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) watch_label_selector: Option<String>,
    /// ConfigMaps and Secrets with these labels reconcile who uses them when they change; empty for all
    /// [default: reconcile.fluxcd.io/watch=Enabled]
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) watch_configs_label_selector: Option<String>,
    /// Reconcile objects of all namespaces, not only of --namespace
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) watch_all_namespaces: bool,
    /// Post events to Flux's notification-controller at this URL, and tell nobody else
    #[arg(long, default_value = "", value_name = "URL")]
    pub(crate) events_addr: String,
    /// Let checks and notifications go to link-local and metadata addresses
    #[arg(long)]
    pub(crate) allow_link_local_urls: bool,
    /// Account whose token a kubeConfig.configMapRef takes where it names none
    #[arg(long, value_name = "NAME")]
    pub(crate) default_kubeconfig_service_account: Option<String>,
    /// Switch single features, as NAME=true|false
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) feature_gates: Vec<String>,
    /// How long others wait for a sign of the leader
    #[arg(long, default_value = "35s", value_parser = duration, value_name = "DURATION")]
    pub(crate) leader_election_lease_duration: Duration,
    /// A leader that could not renew its Lease for so long stops
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub(crate) leader_election_renew_deadline: Duration,
    /// How often the Lease is looked at
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub(crate) leader_election_retry_period: Duration,
    /// Let the Lease go at the end, so that the next one need not wait
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub(crate) leader_election_release_on_cancel: bool,
    /// How long running work may take to end
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub(crate) graceful_shutdown_timeout: Duration,
}

/// Which rules hold.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// No cross-namespace references, no remote bases, a default account to impersonate.
    Locked,
    /// Flux's own defaults.
    Flux,
}
