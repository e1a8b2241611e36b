//! Commands about Pipelines and Promotions, beside `promote` and `rollback`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::objects::{Format, ListArgs};
use super::promotion::FollowArgs;
use super::render::duration;

/// `fairway pipeline`.
#[derive(Subcommand, Debug)]
pub(crate) enum PipelineCommand {
    /// Draw a Pipeline: stages, versions, waves, gates, and why it waits
    Status {
        /// Name of the Pipeline [default: all]
        name: Option<String>,
        /// Draw again whenever something changes
        #[arg(short, long)]
        watch: bool,
    },
    /// List the Pipelines
    List(ListArgs),
}

/// `fairway promotions`.
#[derive(Args, Debug)]
pub(crate) struct PromotionsArgs {
    /// Only those of this Pipeline
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Only those for this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Leave the header line out
    #[arg(long)]
    pub(crate) no_header: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// `fairway approve` and `fairway reject`.
#[derive(Args, Debug)]
pub(crate) struct DecideArgs {
    /// Name of the Promotion
    pub(crate) promotion: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// `fairway freeze`.
#[derive(Args, Debug)]
pub(crate) struct FreezeArgs {
    /// Name of the Pipeline
    pub(crate) pipeline: String,
    /// Only this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// When it ends, such as 2026-12-27T08:00:00Z [default: when somebody unfreezes it]
    #[arg(long, value_name = "TIME", conflicts_with = "for_")]
    pub(crate) until: Option<jiff::Timestamp>,
    /// How long it lasts, such as 2h
    #[arg(long = "for", id = "for_", value_parser = duration, value_name = "DURATION")]
    pub(crate) for_: Option<Duration>,
    /// Why, for everybody who waits
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `fairway unfreeze`.
#[derive(Args, Debug)]
pub(crate) struct UnfreezeArgs {
    /// Name of the Pipeline
    pub(crate) pipeline: String,
    /// Only this stage [default: the whole Pipeline and every stage]
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
}

/// `fairway unblock`.
#[derive(Args, Debug)]
pub(crate) struct UnblockArgs {
    /// Name of the Pipeline
    pub(crate) pipeline: String,
    /// Versions that may be promoted again
    #[arg(required_unless_present = "all", value_name = "VERSION")]
    pub(crate) versions: Vec<String>,
    /// Every blocked version
    #[arg(long, conflicts_with = "versions")]
    pub(crate) all: bool,
}

/// `fairway revoke`.
#[derive(Args, Debug)]
pub(crate) struct RevokeArgs {
    /// Name of the Promotion
    pub(crate) promotion: String,
    /// Name of the gate or check; may be given several times
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        required_unless_present = "all"
    )]
    pub(crate) check: Vec<String>,
    /// Every verdict
    #[arg(long, conflicts_with = "check")]
    pub(crate) all: bool,
}

/// `fairway cancel`.
#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    /// Name of the Promotion
    pub(crate) promotion: String,
}

/// `fairway diff promotion`.
#[derive(Args, Debug)]
pub(crate) struct DiffPromotionArgs {
    /// A Promotion that has not committed yet, or a Pipeline
    #[arg(value_name = "PROMOTION|PIPELINE")]
    pub(crate) name: String,
    /// Of a Pipeline: the stage that would take the version
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Of a Pipeline: the version [default: what the stage before has]
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// Of a Pipeline: only this cluster; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) cluster: Vec<String>,
    /// Of a Pipeline: only the clusters in this region; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) region: Vec<String>,
    /// Repository to read [default: the one that the Pipeline commits to]
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) repo: Option<String>,
}

/// `fairway audit`.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Name of the Pipeline [default: all of the namespace]
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Only what happened since then: a time such as 2026-12-27T08:00:00Z, or how long ago, such as 24h
    #[arg(long, value_name = "TIME|DURATION")]
    pub(crate) since: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = AuditFormat::Table)]
    pub(crate) output: AuditFormat,
    /// Check the log: every entry follows the one before, and says what the promotion commits on the branch say; exits 1
    /// where it doesn't
    #[arg(long)]
    pub(crate) verify: bool,
    /// Repository that the log is in [default: the one that the Pipeline commits to]
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) repo: Option<String>,
}

/// How the audit log is printed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditFormat {
    /// A table for people.
    Table,
    /// One JSON object a line.
    Jsonl,
}

/// `fairway drill`.
#[derive(Subcommand, Debug)]
pub(crate) enum DrillCommand {
    /// Practise a rollback, and say how long the recovery took
    Rollback(DrillArgs),
}

/// `fairway drill rollback`.
#[derive(Args, Debug)]
pub(crate) struct DrillArgs {
    /// Name of the Pipeline [default: the only one]
    pub(crate) pipeline: Option<String>,
    /// Stage to practise in [default: the first]
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// In the first stage: the version to fail with, one that nobody can pull [default: the present one with `-broken-drill`]
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// How long each step may take
    #[arg(long, default_value = "30m", value_parser = duration, value_name = "DURATION")]
    pub(crate) timeout: Duration,
}
