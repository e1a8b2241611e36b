//! `Pipeline`, fleet.fairway.dev/v1alpha1: what moves, through which stages, past which gates.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column says its type"
)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    check::Check,
    condition::{Condition, optional_seconds, seconds},
    duration::{self, Duration},
    fleet::ClusterMatch,
    names,
    reference::{LocalObjectReference, ObjectReference, is_false, non_empty},
};

/// Promotion between stages: what moves, the stages in order, the gates before each and the verification after it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleet.fairway.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    plural = "pipelines",
    shortname = "fpl",
    category = "fairway",
    namespaced,
    status = "PipelineStatus",
    derive = "PartialEq",
    doc = "Pipeline moves one thing (an image, paths, or the reference of a GitRepository) from stage to stage by commits.",
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".status.summary"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSpec {
    /// Starts no promotion and commits nothing while it is true. Holds stay as they are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// The repository and branch that stages are read from and that commits go to.
    pub source_ref: RepositoryReference,
    /// How commits are made.
    #[serde(default, skip_serializing_if = "CommitSettings::is_default")]
    pub commit: CommitSettings,
    /// What moves from stage to stage.
    #[serde(rename = "move")]
    pub moves: Move,
    /// The stages in their order.
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["name"])
    )]
    pub stages: Vec<Stage>,
    /// Which automatic promotions wait their turn: by default only the newest for each stage.
    #[serde(default, skip_serializing_if = "QueueRule::is_default")]
    pub queue: QueueRule,
    /// How many finished Promotions of each stage are kept; by default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub history_limit: Option<u32>,
}

impl PipelineSpec {
    /// The stage of this name, and its place in the order.
    pub fn stage(&self, name: &str) -> Option<(usize, &Stage)> {
        self.stages
            .iter()
            .enumerate()
            .find(|(_, stage)| stage.name == name)
    }

    /// How many finished Promotions of each stage are kept.
    pub fn history_limit(&self) -> usize {
        self.history_limit.map_or(20, |limit| limit as usize)
    }
}

/// Which automatic promotions of a stage wait their turn. What people ask for always does, and each version passes the gates
/// itself, whichever rule holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueueRule {
    /// A newer version takes the place of an older one that has not been committed yet, unless a person asked for that.
    #[default]
    Newest,
    /// Every version, in the order in which they were verified in the stage before.
    All,
}

impl QueueRule {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Names a GitRepository in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryReference {
    /// Kind of the referent.
    #[serde(default = "git_repository")]
    #[schemars(extend("enum" = ["GitRepository"]))]
    pub kind: String,
    /// Name of the referent. It must follow a branch.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn git_repository() -> String {
    "GitRepository".to_owned()
}

/// How commits are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.mode) || self.mode != 'pull-request' || has(self.pullRequest)",
     "message": "mode pull-request needs pullRequest"},
]))]
pub struct CommitSettings {
    /// Where commits go; by default straight to the branch.
    #[serde(default, skip_serializing_if = "CommitMode::is_default")]
    pub mode: CommitMode,
    /// Secret with credentials that may push, in the format of the source's; by default the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Who commits; by default `Fairway <fairway@localhost>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Secret with an OpenSSH private key (`identity`) that signs the commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_secret_ref: Option<LocalObjectReference>,
    /// Where pull requests are opened: in mode pull-request, and for rollbacks that the branch refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestSettings>,
}

impl CommitSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where commits go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CommitMode {
    /// To the branch.
    #[default]
    Push,
    /// To a branch of their own with a pull request; its merge is the approval.
    PullRequest,
}

impl CommitMode {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Author {
    /// Name.
    #[schemars(length(min = 1, max = 128), extend("pattern" = r"^[^<>\n]+$"))]
    pub name: String,
    /// Address.
    #[schemars(length(min = 1, max = 254), extend("pattern" = r"^[^<>\s]+$"))]
    pub email: String,
}

/// Where pull requests are opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullRequestSettings {
    /// What the host runs.
    pub provider: GitProvider,
    /// Secret with an API token in the key `token`.
    pub secret_ref: LocalObjectReference,
    /// Address of the API; by default derived from the repository's address.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("pattern" = "^https?://.*$"))]
    pub api_url: Option<String>,
}

/// What a Git host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GitProvider {
    /// GitHub, or what has its API.
    #[serde(rename = "github")]
    GitHub,
    /// GitLab.
    #[serde(rename = "gitlab")]
    GitLab,
}

/// What moves from stage to stage: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(has(self.image) ? 1 : 0) + (has(self.paths) ? 1 : 0) + (has(self.gitRepository) ? 1 : 0) == 1",
     "message": "exactly one of image, paths or gitRepository must be set"},
]))]
pub struct Move {
    /// An image: `newTag` or `digest` of its entry in the overlay's `images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<MovedImage>,
    /// Files or folders that are copied from the overlay of the stage before, relative to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub paths: Vec<String>,
    /// The reference of a GitRepository whose manifest is in the overlay's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_repository: Option<MovedRepository>,
}

/// An image that moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedImage {
    /// `name` of the entry in the overlay's `images`.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
}

/// A reference of a GitRepository that moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedRepository {
    /// Name of the GitRepository.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which field of `spec.ref` moves.
    pub field: ReferenceField,
}

/// A field of a GitRepository's `spec.ref`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceField {
    /// `spec.ref.branch`.
    Branch,
    /// `spec.ref.tag`.
    Tag,
    /// `spec.ref.semver`.
    Semver,
    /// `spec.ref.commit`.
    Commit,
}

impl ReferenceField {
    /// The field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Semver => "semver",
            Self::Commit => "commit",
        }
    }
}

/// A stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Name, such as `dev` or `prod`.
    #[schemars(length(min = 1, max = 40), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The clusters of the stage.
    pub cluster_selector: ClusterMatch,
    /// The overlay: a folder of the repository.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// The FleetKustomizations that carry the overlay to those clusters.
    #[schemars(length(min = 1, max = 16))]
    pub fleet_refs: Vec<LocalObjectReference>,
    /// Promotes a version as soon as it is verified in the stage before and the gates pass; else somebody asks for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto: bool,
    /// What must pass before the stage takes a version. Of the first stage, which takes what is committed to it, these are
    /// not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::check::gates")]
    pub gates: Vec<Check>,
    /// What must pass after it, once the health of all objects has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::check::checks")]
    pub verification: Vec<Check>,
    /// What healthy means, and for how long.
    #[serde(default, skip_serializing_if = "StageHealth::is_default")]
    pub health: StageHealth,
    /// What happens when a version fails here.
    #[serde(default, skip_serializing_if = "StageFailure::is_default")]
    pub on_failure: StageFailure,
}

/// What healthy means for a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageHealth {
    /// How long everything must stay healthy; by default 30 s. It begins again when health is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = duration::PATTERN))]
    pub soak: Option<Duration>,
    /// How long it may go on without progress (one more cluster healthy, a rollout that soaks) until the version has
    /// failed; by default 10 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = duration::PATTERN))]
    pub timeout: Option<Duration>,
    /// Only these objects count; by default everything that the FleetKustomizations apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub objects: Vec<ObjectReference>,
}

impl StageHealth {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How long everything must stay healthy.
    pub fn soak(&self) -> Duration {
        self.soak.unwrap_or(Duration::from_secs(30))
    }

    /// How long it may go on without progress.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_mins(10))
    }
}

/// What happens when a version fails in a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StageFailure {
    /// The clusters are held at the last good revision at once, then a commit puts the values back.
    #[default]
    Rollback,
    /// Everything stays as it is, and people are told.
    Halt,
}

impl StageFailure {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The observed state of a Pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// The last observed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: every stage can be read, and nothing needs a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The versions of the stages in one line: `dev 1.2.4, staging 1.2.3, prod 1.2.3`.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub summary: Option<String>,
    /// The stages in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageStatus>,
    /// Versions that were verified, for each stage the newest last; at most [`VERSIONS_LENGTH`] of each stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VerifiedVersion>,
    /// Versions that failed and are not promoted until somebody unblocks them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_versions: Vec<BlockedVersion>,
    /// Versions that somebody unblocked, and when: an older failure does not block them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unblocked_versions: Vec<UnblockedVersion>,
    /// The last value of the unblock annotation that was acted upon.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_handled_unblock: Option<String>,
    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_handled_reconcile_at: Option<String>,
}

/// The most verified versions that are kept of each stage.
pub const VERSIONS_LENGTH: usize = 10;

impl PipelineStatus {
    /// What is known of a stage.
    pub fn stage(&self, name: &str) -> Option<&StageStatus> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The record that a version was verified in a stage, and not revoked since.
    pub fn verified(&self, stage: &str, version: &str) -> Option<&VerifiedVersion> {
        self.versions.iter().rev().find(|record| {
            record.stage == stage && record.version == version && record.revoked.is_none()
        })
    }

    /// Why a version is blocked, if it is.
    pub fn blocked(&self, version: &str) -> Option<&BlockedVersion> {
        self.blocked_versions
            .iter()
            .find(|blocked| blocked.version == version)
    }
}

/// What is known of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Name of the stage.
    pub name: String,
    /// The version that the overlay has at the head of the branch.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// The revision at which the overlay was read.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub revision: Option<String>,
    /// Whether that version is healthy on every cluster of the stage.
    #[serde(default)]
    pub healthy: bool,
    /// Clusters of the stage.
    #[serde(default)]
    pub clusters: i32,
    /// Clusters of the stage that are healthy at that version.
    #[serde(default)]
    pub healthy_clusters: i32,
    /// Since when it is as it is, for people: why the stage is not healthy, or could not be read.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// The Promotion whose turn it is.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub promotion: Option<String>,
    /// Promotions that wait for it to end, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<String>,
    /// Why the version of the stage before does not come here now.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub blocked_by: Option<String>,
    /// Why nothing is committed to the stage: the freeze that holds, with who and until when where that is known.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub frozen: Option<String>,
    /// Clusters that have another version than the overlay, by a file of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
    /// The newest arrival in the stage before that an automatic Promotion was made for: `VERSION@TIME`.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub offered: Option<String>,
    /// The version at the head of the branch that a Promotion was last recorded for, or that stood there first.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub recorded: Option<String>,
    /// How many Promotions were made for the stage by the engine.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub made: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A cluster that has another version than its stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deviation {
    /// Name of the Cluster.
    pub cluster: String,
    /// What it has.
    pub version: String,
    /// The file that says so.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub path: Option<String>,
}

/// A version that was verified in a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedVersion {
    /// Name of the stage.
    pub stage: String,
    /// The version.
    pub version: String,
    /// When that was.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The Promotion that verified it; its status has the evidence of each check.
    pub promotion: String,
    /// The commit that brought it to the stage.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub commit: Option<String>,
    /// In short what showed it.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub evidence: Option<String>,
    /// Why the verdict does not hold any more.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub revoked: Option<String>,
}

/// A version that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedVersion {
    /// The version.
    pub version: String,
    /// The stage where it failed.
    pub stage: String,
    /// When that was.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Why.
    pub reason: String,
    /// The Promotion that failed.
    pub promotion: String,
}

/// A version that somebody unblocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnblockedVersion {
    /// The version; `*` for all.
    pub version: String,
    /// When that was.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

/// A freeze, as the annotations of a Pipeline say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When it ends; without it, when somebody takes it away.
    #[serde(
        default,
        with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who froze it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Freeze {
    /// Reads the value of an annotation: JSON, or any other text as the reason. JSON that cannot be read freezes too.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self {
            reason: Some(text.to_owned()).filter(|text| !text.is_empty()),
            ..Self::default()
        })
    }

    /// The freeze of a stage by the annotations of its Pipeline: its own, or that of the whole; the one that ends later.
    pub fn of(annotations: &BTreeMap<String, String>, stage: &str, now: Timestamp) -> Option<Self> {
        [
            names::FREEZE.to_owned(),
            format!("{}.{stage}", names::FREEZE),
        ]
        .iter()
        .filter_map(|key| annotations.get(key))
        .map(|text| Self::parse(text))
        .filter(|freeze| freeze.holds(now))
        .max_by_key(|freeze| freeze.until.unwrap_or(Timestamp::MAX))
    }

    /// Whether it holds at a time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl std::fmt::Display for Freeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("frozen")?;
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        if let Some(until) = self.until {
            write!(f, " until {}", seconds::format(until))?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pipeline_reads_and_writes_as_it_is_documented() {
        let json = json!({
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
            "commit": {
                "mode": "pull-request", "author": {"name": "Fairway", "email": "fairway@example.com"},
                "pullRequest": {"provider": "github", "secretRef": {"name": "token"}},
            },
            "move": {"image": {"name": "ghcr.io/acme/myapp"}},
            "stages": [
                {"name": "dev", "clusterSelector": {"matchLabels": {"environment": "dev"}}, "path": "apps/myapp/overlays/dev",
                 "fleetRefs": [{"name": "apps"}]},
                {"name": "prod", "clusterSelector": {"matchLabels": {"environment": "prod"}}, "path": "apps/myapp/overlays/prod",
                 "fleetRefs": [{"name": "apps"}], "auto": true, "health": {"soak": "30s", "timeout": "10m0s"}, "onFailure": "halt"},
            ],
            "queue": "All",
        });
        let spec: PipelineSpec = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(spec.stage("prod").map(|(index, _)| index), Some(1));
        let mut written = serde_json::to_value(&spec).unwrap();
        written["stages"][1]["health"]["soak"] = "30s".into();
        written["stages"][1]["health"]["timeout"] = "10m0s".into();
        assert_eq!(written, json);
    }

    #[test]
    fn a_freeze_is_json_or_a_reason() {
        let until = "2026-12-27T00:00:00Z".parse::<Timestamp>().unwrap();
        let freeze = Freeze::parse(
            r#"{"until": "2026-12-27T00:00:00Z", "by": "ann", "reason": "holidays"}"#,
        );
        assert_eq!(
            freeze.to_string(),
            "frozen by ann until 2026-12-27T00:00:00Z: holidays"
        );
        assert!(freeze.holds(until - jiff::SignedDuration::from_secs(1)) && !freeze.holds(until));
        let freeze = Freeze::parse("not now");
        assert_eq!(freeze.to_string(), "frozen: not now");
        assert!(freeze.holds(until));
        assert!(Freeze::parse(r#"{"until": "soon"}"#).holds(until));
    }
}
