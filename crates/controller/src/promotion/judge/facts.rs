//! What a judge knows.

use std::collections::BTreeSet;

use fairway_types::approval::Decision;
use fairway_types::check::Evidence;
use fairway_types::pipeline::{PipelineSpec, Stage};
use fairway_types::promotion::{ChangedValue, Intent, PromotionSpec, PullRequest, WaveProgress};
use jiff::Timestamp;

/// All that is known of a Promotion and its surroundings at one moment.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What was asked for.
    pub spec: &'a PromotionSpec,
    /// Generation of that.
    pub generation: Option<i64>,
    /// The Pipeline.
    pub pipeline: &'a PipelineSpec,
    /// The stage; none where the Pipeline has none of that name.
    pub stage: Option<&'a Stage>,
    /// Whether the engine made it: of a version that was verified in the stage before, or that arrived in the first one.
    pub automatic: bool,
    /// Whether it may go on.
    pub turn: Turn,
    /// How the version is in the stage before.
    pub order: Order,
    /// Why the version is blocked, if it is.
    pub blocked: Option<String>,
    /// Why nothing may be committed now, if so.
    pub frozen: Option<String>,
    /// What people said.
    pub approvals: &'a [Word],
    /// Whether the admission policy that ties Approvals to their callers is in place.
    pub policy: bool,
    /// Verdicts that were taken back.
    pub revoked: Revoked,
    /// Who wants it to end, if somebody does.
    pub cancelled: Option<String>,
    /// What the branch says.
    pub head: Head,
    /// The clusters that it is for.
    pub spread: Spread,
}

/// Whether a Promotion may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It has the stage.
    Mine,
    /// It has not.
    Waits {
        /// Who has.
        behind: String,
    },
    /// A newer version takes its place.
    Superseded {
        /// By which Promotion.
        by: String,
    },
    /// A rollback was asked for.
    Preempted {
        /// By which Promotion.
        by: String,
    },
}

/// How the version is in the stage before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// There is no stage before.
    First,
    /// It was verified there.
    Verified {
        /// At this commit.
        commit: Option<String>,
    },
    /// It stands there, and is not verified yet.
    Verifying {
        /// The stage before.
        stage: String,
    },
    /// It was not, or not any more.
    Unverified {
        /// The stage before.
        stage: String,
    },
}

/// Verdicts that were taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// All of them.
    pub all: bool,
    /// Those of these checks.
    pub names: BTreeSet<String>,
}

impl Revoked {
    /// Reads the annotation: names separated by commas, or `*`.
    pub fn parse(text: &str) -> Self {
        let names: BTreeSet<String> = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        Self {
            all: names.contains("*"),
            names,
        }
    }

    /// Whether that of this check was.
    pub fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    /// Whether any was.
    pub fn any(&self) -> bool {
        !self.names.is_empty()
    }
}

/// One person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Name of the Approval.
    pub name: String,
    /// Who.
    pub approver: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// What.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
}

/// What the branch says at the newest revision that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The commit; none before the first fetch.
    pub commit: Option<String>,
    /// The version there: of the overlay, or of the single clusters where they agree.
    pub version: Option<String>,
    /// Why it cannot be read, if it cannot.
    pub problem: Option<String>,
}

/// The clusters that a Promotion is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// Each of them, by name.
    pub clusters: Vec<ClusterSeen>,
    /// The waves of the fleets that carry it.
    pub waves: Vec<WaveProgress>,
    /// A rollout waits by its own rules, so that time does not count against it.
    pub soaking: bool,
    /// The FleetKustomizations whose children count.
    pub fleets: Vec<String>,
    /// Why the clusters cannot be told, if so.
    pub problem: Option<String>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSeen {
    /// Its name.
    pub name: String,
    /// The version that was applied last.
    pub applied: Option<String>,
    /// The version that was last tried.
    pub attempted: Option<String>,
    /// How it is.
    pub how: How,
}

impl ClusterSeen {
    /// Whether it is healthy with a version.
    pub fn is_healthy_with(&self, version: &str) -> bool {
        self.applied.as_deref() == Some(version)
            && self
                .attempted
                .as_deref()
                .is_none_or(|tried| tried == version)
            && self.how == How::Healthy
    }

    /// Whether what is known of it is about a version.
    pub fn is_about(&self, version: &str) -> bool {
        match &self.attempted {
            Some(attempted) => attempted == version,
            None => self.applied.as_deref() == Some(version),
        }
    }
}

/// How a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Everything that counts is.
    Healthy,
    /// It is being looked at, and nothing bad is known.
    Busy(String),
    /// Something is not ready; not bad yet.
    Progressing(String),
    /// Something is bad, and may get better.
    Failing(String),
    /// It does not get better by itself.
    Failed(String),
    /// Nobody can tell.
    Unreachable(String),
}

impl How {
    /// For people.
    pub fn message(&self) -> &str {
        match self {
            Self::Healthy => "healthy",
            Self::Busy(message)
            | Self::Progressing(message)
            | Self::Failing(message)
            | Self::Failed(message)
            | Self::Unreachable(message) => message,
        }
    }
}

/// Which list a check is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Before the commit.
    Gate,
    /// After it.
    Verification,
}

/// What an action came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What checks said.
    Answers {
        /// Each of those that were asked.
        evidence: Vec<(Place, Evidence)>,
        /// When to ask again, where that can change a verdict.
        again: Option<std::time::Duration>,
    },
    /// The commit is on the branch.
    Committed {
        /// Its intent.
        intent: Intent,
        /// The commit.
        sha: String,
        /// The one before it.
        parent: Option<String>,
        /// What it changed.
        changes: Vec<ChangedValue>,
        /// The version that the stage has by it.
        version: Option<String>,
        /// The pull request that it came by.
        pull_request: Option<String>,
    },
    /// There is nothing to commit: it stands there already.
    Standing {
        /// At this commit.
        commit: String,
        /// The version that stands there.
        version: Option<String>,
    },
    /// A pull request was opened, or is there already.
    Opened(PullRequest),
    /// The pull request still waits.
    Waiting,
    /// The pull request was closed and not merged.
    Closed,
    /// No commit of that intent is on the remote.
    Absent,
    /// Somebody changed what is to be put back.
    Changed(String),
    /// The remote does not let us.
    Refused(String),
    /// It cannot be done whatever the remote says.
    Impossible(String),
    /// It may work later.
    Away(String),
    /// It was done, and there is nothing to say.
    Done,
}
