//! `Promotion`, fleet.fairway.dev/v1alpha1: one attempt to bring a version to a stage, or to take it back, and the record of it.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column says its type"
)]

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    check::Evidence,
    condition::{Condition, optional_seconds, seconds},
    reference::{LocalObjectReference, non_empty},
};

/// One attempt to bring a version to a stage, or to take it back.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleet.fairway.dev",
    version = "v1alpha1",
    kind = "Promotion",
    plural = "promotions",
    shortname = "fpr",
    category = "fairway",
    namespaced,
    status = "PromotionStatus",
    derive = "PartialEq",
    doc = "Promotion is one attempt to bring a version to a stage of a Pipeline, or to take it back, and the record of it.",
    printcolumn(
        name = "Pipeline",
        type_ = "string",
        json_path = ".spec.pipelineRef.name"
    ),
    printcolumn(name = "Stage", type_ = "string", json_path = ".spec.stage"),
    printcolumn(name = "From", type_ = "string", json_path = ".status.from"),
    printcolumn(name = "To", type_ = "string", json_path = ".status.to"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Intent",
        type_ = "string",
        json_path = ".spec.intent",
        priority = "1"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf", "message": "the spec of a Promotion cannot be changed; create another one"},
    {"rule": "self.intent != 'promote' || (has(self.version) && !has(self.rollback))",
     "message": "intent promote needs version, and takes no rollback"},
    {"rule": "self.intent != 'rollback' || (has(self.rollback) && !has(self.version))",
     "message": "intent rollback needs rollback, and takes no version"},
]))]
pub struct PromotionSpec {
    /// The Pipeline, in the same namespace.
    pub pipeline_ref: LocalObjectReference,
    /// The stage that the version goes to, or that goes back.
    #[schemars(length(min = 1, max = 40))]
    pub stage: String,
    /// Whether it goes on or back.
    #[serde(default)]
    pub intent: Intent,
    /// The version to promote: a tag, a digest (`sha256:…`), for paths and commits the commit.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 256))]
    pub version: Option<String>,
    /// The version that the stage must have before; without it any.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 256))]
    pub from: Option<String>,
    /// Only these clusters of the stage: the commit goes to their own folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub clusters: Vec<String>,
    /// Only the clusters of the stage in these regions (label `region`): the commit goes to their own folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub regions: Vec<String>,
    /// Where it goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRequest>,
    /// Why, in the words of who asked.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Who asked: the name that the API server knows them by. The shipped admission policy ties it to the caller.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 512))]
    pub requested_by: Option<String>,
}

impl PromotionSpec {
    /// Whether it is for single clusters, and not for the stage as a whole.
    pub fn is_targeted(&self) -> bool {
        !self.clusters.is_empty() || !self.regions.is_empty()
    }
}

/// Whether a Promotion goes on or back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// A version goes to the stage.
    #[default]
    Promote,
    /// The stage goes back.
    Rollback,
}

impl Intent {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }
}

/// Where a rollback goes: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(has(self.to) ? 1 : 0) + (has(self.revert) ? 1 : 0) + (has(self.restore) ? 1 : 0) == 1",
     "message": "exactly one of to, revert or restore must be set"},
]))]
pub struct RollbackRequest {
    /// To this version.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 256))]
    pub to: Option<String>,
    /// What this commit did is undone, in the stage's overlay.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("pattern" = "^[0-9a-f]{7,64}$"))]
    pub revert: Option<String>,
    /// The stage's overlay becomes what it was at this revision.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 256), extend("pattern" = r"^[A-Za-z0-9][^\s~^:?*\[\\]*$"))]
    pub restore: Option<String>,
}

/// Where a Promotion is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// It waits for its turn.
    #[default]
    Queued,
    /// Its gates are asked.
    Gating,
    /// Its commit is made, or its pull request waits.
    Committing,
    /// The commit spreads over the clusters.
    RollingOut,
    /// Everything is healthy and soaks, and is verified.
    Verifying,
    /// Done and verified.
    Succeeded,
    /// It failed, and the stage stays as it is.
    Failed,
    /// It failed, and the stage goes back.
    RollingBack,
    /// It failed, and the stage has gone back.
    RolledBack,
    /// A gate that cannot pass any more, a person, or a rule refused it before anything was committed.
    Rejected,
    /// Another Promotion took its place before anything was committed, or took over after.
    Superseded,
}

impl Phase {
    /// Whether nothing more happens.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::RolledBack | Self::Rejected | Self::Superseded
        )
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Gating => "Gating",
            Self::Committing => "Committing",
            Self::RollingOut => "RollingOut",
            Self::Verifying => "Verifying",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Rejected => "Rejected",
            Self::Superseded => "Superseded",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The observed state of a Promotion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// The last observed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is on its way.
    #[serde(default)]
    pub phase: Phase,
    /// Ready: True once it has succeeded, False once it has not. Held: clusters are held at the last good revision.
    /// NeedsAttention: it cannot go on without a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The version that the stage had before.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub from: Option<String>,
    /// The version that the stage gets.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub to: Option<String>,
    /// The commit at which the version was verified in the stage before: what paths are copied from.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub source_commit: Option<String>,
    /// The head of the branch before its first commit: what came earlier can't be it.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub base: Option<String>,
    /// The gates in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Evidence>,
    /// Health first, then the checks in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verification: Vec<Evidence>,
    /// What people said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRecord>,
    /// The commits that were made, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<CommitRecord>,
    /// The pull request that waits to be merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
    /// Exactly what was set: what a rollback may put back, and only where it still stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangedValue>,
    /// How far the commit has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The waves of the FleetKustomizations that carry it, as they say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<WaveProgress>,
    /// Clusters that are held at the last good revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Why it failed.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub failure: Option<String>,
    /// When the first sign of that was seen.
    #[serde(
        default,
        with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub first_failure: Option<Timestamp>,
    /// When everything was healthy again.
    #[serde(
        default,
        with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub recovered_at: Option<Timestamp>,
    /// Milliseconds from the first sign to healthy again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_millis: Option<i64>,
    /// When each phase began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    /// Entries of the audit log that are not pushed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<AuditRecord>,
    /// How many entries were written so far, those that wait among them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audit_count: i64,
    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_handled_reconcile_at: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl PromotionStatus {
    /// When a phase began, the last time that it did.
    pub fn since(&self, phase: Phase) -> Option<Timestamp> {
        self.transitions
            .iter()
            .rev()
            .find(|transition| transition.phase == phase)
            .map(|transition| transition.at)
    }

    /// The newest commit of a kind.
    pub fn commit(&self, kind: Intent) -> Option<&CommitRecord> {
        self.commits.iter().rev().find(|commit| commit.kind == kind)
    }
}

/// What one person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalRecord {
    /// Name of the Approval.
    pub name: String,
    /// Who.
    pub approver: String,
    /// What.
    pub decision: crate::approval::Decision,
    /// When.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Why it does not count, if it does not.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub ignored: Option<String>,
}

/// A commit of a Promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitRecord {
    /// The commit on the branch; of a pull request the one that merged it.
    pub sha: String,
    /// Whether it went on or back.
    pub kind: Intent,
    /// The commit before it on the branch.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub parent: Option<String>,
    /// Address of the pull request, if it came by one.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub pull_request: Option<String>,
    /// When it was seen on the branch.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
}

/// A pull request that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequest {
    /// Address for people.
    pub url: String,
    /// Number at the host.
    pub number: i64,
    /// The branch that is to be merged.
    pub branch: String,
    /// Whether it goes on or back.
    pub kind: Intent,
}

/// A value that was set in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedValue {
    /// The file, or the folder for paths that were copied.
    pub path: String,
    /// Where in it, such as `images[ghcr.io/acme/myapp].newTag`; empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What was there; none where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is there since; none where it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// How far a commit has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Clusters that it is for.
    #[serde(default)]
    pub clusters: i32,
    /// Clusters that are healthy with it.
    #[serde(default)]
    pub healthy: i32,
    /// When one more was, or a rollout said that it soaks.
    #[serde(
        default,
        with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub progressed_at: Option<Timestamp>,
    /// Since when all of them are.
    #[serde(
        default,
        with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub healthy_since: Option<Timestamp>,
    /// Those that are not, by name with what is known; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<ClusterTrouble>,
}

/// The most clusters that [`Progress::waiting`] lists.
pub const WAITING_LENGTH: usize = 20;

/// A cluster that is not healthy yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterTrouble {
    /// Name of the Cluster.
    pub cluster: String,
    /// Why.
    pub message: String,
}

/// A wave, as the FleetKustomization says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaveProgress {
    /// Name of the FleetKustomization.
    pub fleet: String,
    /// Name of the wave.
    pub name: String,
    /// Clusters of the stage in it.
    pub clusters: i32,
    /// How many of them are in which state, such as `Done: 2, Soaking: 1`.
    pub state: String,
}

/// Clusters that are held at the last good revision: the fleet reconciler pins their Kustomizations to this commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// The commit.
    pub commit: String,
    /// The FleetKustomizations whose Kustomizations are held.
    pub fleets: Vec<String>,
    /// The Clusters that are held.
    pub clusters: Vec<String>,
    /// Since when.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// The beginning of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// The phase.
    pub phase: Phase,
    /// When it began.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Why.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its number within the Promotion, from 1; with the Promotion's uid it is the entry's identity.
    pub number: i64,
    /// When it happened.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// What happened, in CamelCase: `Requested`, `GatePassed`, `Committed`, `Failed`, `RolledBack`, …
    pub event: String,
    /// Who did it, where that was a person.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub actor: Option<String>,
    /// For people.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// The commit that it is about.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub commit: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_reads_and_writes_as_it_is_documented() {
        for json in [
            json!({"pipelineRef": {"name": "myapp"}, "stage": "prod", "intent": "promote", "version": "1.2.3", "requestedBy": "ann"}),
            json!({"pipelineRef": {"name": "myapp"}, "stage": "prod", "intent": "rollback", "rollback": {"revert": "0123abc"},
                   "clusters": ["eu"], "reason": "slow"}),
        ] {
            let spec: PromotionSpec = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(&spec).unwrap(), json);
        }
    }

    #[test]
    fn a_new_promotion_is_queued() {
        let status: PromotionStatus = serde_json::from_value(json!({})).unwrap();
        assert_eq!(status.phase, Phase::Queued);
        assert!(!status.phase.is_final());
        assert_eq!(
            serde_json::to_value(Phase::RolledBack).unwrap(),
            Phase::RolledBack.as_str()
        );
    }
}
