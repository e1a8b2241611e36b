//! `fairway controller`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::render::duration;

/// `fairway controller`: the reconcilers, against any management cluster.
#[derive(Args, Debug)]
pub(crate) struct ControllerArgs {
    /// How many Kustomizations are reconciled at once, over all clusters [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) concurrent: Option<usize>,
    /// Rules for references, remote bases and accounts: `locked` is safe, `flux` is as Flux's own defaults are
    #[arg(long, value_enum, default_value_t = Profile::Locked)]
    pub(crate) profile: Profile,
    /// Refuse references to objects of another namespace [default: as --profile]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) no_cross_namespace_refs: Option<bool>,
    /// Account to impersonate where a Kustomization names none; empty for none [default: as --profile]
    #[arg(long, value_name = "NAME")]
    pub(crate) default_service_account: Option<String>,
    /// Reconcile only while holding Flux's own Leases, so that of several controllers (Flux's among them) one works at a time
    #[arg(long, requires = "storage_path")]
    pub(crate) enable_leader_election: bool,
    /// Folder for Git mirrors and artifacts [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) storage_path: Option<PathBuf>,
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
}

/// Which rules hold.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// No cross-namespace references, no remote bases, a default account to impersonate.
    Locked,
    /// Flux's own defaults.
    Flux,
}
