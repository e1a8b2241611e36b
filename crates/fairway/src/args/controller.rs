//! `fairway controller`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// Folder for Git mirrors [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) storage_path: Option<PathBuf>,
}

/// Which rules hold.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// No cross-namespace references, no remote bases, a default account to impersonate.
    Locked,
    /// Flux's own defaults.
    Flux,
}
