//! `fairway promote` and `fairway rollback`.

use clap::Args;

/// Where the repository is and what is committed.
#[derive(Args, Debug, Clone)]
pub(crate) struct CommitArgs {
    /// Repository to commit to [default: the clone that you stand in, else the fleet's GitRepository]
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) repo: Option<String>,
    /// Branch [default: the one that is checked out, else the one that the fleet follows]
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Author of the commit, as "Name <email>" [default: Git's user.name and user.email]
    #[arg(long, value_name = "AUTHOR")]
    pub(crate) author: Option<String>,
    /// Show the change and push nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `fairway promote`.
#[derive(Args, Debug)]
pub(crate) struct PromoteArgs {
    /// Application, a folder below apps/
    pub(crate) app: String,
    /// Stage that takes the version
    #[arg(long, value_name = "STAGE")]
    pub(crate) to: String,
    /// Stage that the version comes from [default: the one before --to in dev, staging, prod]
    #[arg(long, value_name = "STAGE", conflicts_with = "tag")]
    pub(crate) from: Option<String>,
    /// Set this tag instead of another stage's
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Image to move, where the overlay has several
    #[arg(long, value_name = "NAME")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
}

/// `fairway rollback`.
#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    /// Application, a folder below apps/
    pub(crate) app: String,
    /// Stage to take back
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: String,
    /// Revert this commit instead of the last one that changed the overlay
    #[arg(long, value_name = "COMMIT")]
    pub(crate) revert: Option<String>,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
}
