//! `fairway promote` and `fairway rollback`.

use std::time::Duration;

use clap::Args;

use super::render::duration;

/// For commits without a Pipeline: where the repository is and what is committed.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Without a Pipeline")]
pub(crate) struct CommitArgs {
    /// Commit to this repository yourself, past any Pipeline [default: the clone that you stand in, else the fleet's GitRepository]
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

impl CommitArgs {
    /// The first of these flags that was given, which a Pipeline has no use for.
    pub(crate) fn flag(&self) -> Option<&'static str> {
        [
            (self.branch.is_some(), "--branch"),
            (self.author.is_some(), "--author"),
            (self.dry_run, "--dry-run"),
        ]
        .into_iter()
        .find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}

/// Where a request goes, and why.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct RequestArgs {
    /// Only this cluster of the stage, by a file of its own; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) cluster: Vec<String>,
    /// Only the clusters of the stage in this region (label `region`); may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) region: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

impl RequestArgs {
    /// The first of these flags that was given, which only a Pipeline can honour.
    pub(crate) fn flag(&self) -> Option<&'static str> {
        [
            (!self.cluster.is_empty(), "--cluster"),
            (!self.region.is_empty(), "--region"),
            (self.reason.is_some(), "--reason"),
            (self.follow.wait, "--wait"),
        ]
        .into_iter()
        .find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}

/// Whether to wait for the end.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct FollowArgs {
    /// Wait for the end, and say what happens on the way; exits 1 where it did not succeed
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits
    #[arg(long, default_value = "30m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// `fairway promote`.
#[derive(Args, Debug)]
pub(crate) struct PromoteArgs {
    /// Pipeline; where there is none of this name, an application: a folder below apps/
    #[arg(value_name = "PIPELINE")]
    pub(crate) name: String,
    /// Stage that takes the version [default: the one that is behind the stage before it]
    #[arg(long, visible_alias = "to", value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Version to promote [default: what the stage before has]
    #[arg(long, visible_alias = "tag", value_name = "VERSION")]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Stage that the version comes from [default: the one before --stage in dev, staging, prod]
    #[arg(
        long,
        value_name = "STAGE",
        conflicts_with = "version",
        help_heading = "Without a Pipeline"
    )]
    pub(crate) from: Option<String>,
    /// Image to move, where the overlay has several
    #[arg(long, value_name = "NAME", help_heading = "Without a Pipeline")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
}

/// `fairway rollback`.
#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    /// Pipeline; where there is none of this name, an application: a folder below apps/
    #[arg(value_name = "PIPELINE")]
    pub(crate) name: String,
    /// Stage to take back
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: String,
    /// Back to this version [default: the last one that was verified in the stage before the present one]
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["revert", "restore"])]
    pub(crate) to: Option<String>,
    /// Undo what this commit did to the stage's overlay
    #[arg(long, value_name = "COMMIT", conflicts_with = "restore")]
    pub(crate) revert: Option<String>,
    /// Make the stage's overlay what it was at this revision
    #[arg(long, value_name = "REVISION")]
    pub(crate) restore: Option<String>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
}
