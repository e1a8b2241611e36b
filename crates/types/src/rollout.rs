//! `rollout` of a FleetKustomization: how a change spreads over the clusters, and how far it has come.

use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::check::{Check, Evidence};
use crate::duration::Duration;
use crate::fleet::ClusterMatch;
use crate::reference::{is_false, non_empty};

/// How a change spreads over the clusters: in waves, some at a time. What changes is what a cluster's Kustomization
/// renders; a revision that renders the same for a cluster is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The waves in order. A cluster is in the first wave that it matches; those that match none form a last wave `rest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub waves: Vec<Wave>,
    /// Clusters of a wave that change at the same time: a number, or a share of the wave's clusters such as `25%`, rounded
    /// up and never less than one. By default all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<MaxConcurrent>,
    /// How long a wave has to be healthy before the next one begins; by default no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// How long a cluster may take to become healthy; by default 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// Clusters of a wave that may fail before the rollout is given up: a number, or a share of the wave's clusters such as
    /// `10%`, rounded down. By default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<IntOrPercent>,
    /// What to do with a cluster that cannot be reached.
    #[serde(default, skip_serializing_if = "Unreachable::is_default")]
    pub unreachable: Unreachable,
    /// What to do when more clusters have failed than may.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
}

/// Clusters that change together. What is not set is as the rollout says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Name of the wave, a DNS label.
    #[schemars(length(min = 1, max = 63), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The clusters of the wave, of those that the FleetKustomization selects.
    pub cluster_selector: ClusterMatch,
    /// Clusters that change at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<MaxConcurrent>,
    /// How long the wave has to be healthy before the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// How long a cluster may take to become healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// Clusters of the wave that may fail before the rollout is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<IntOrPercent>,
    /// What must pass once the wave is healthy, while it soaks; the wave fails with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::check::checks")]
    pub checks: Vec<Check>,
}

/// Name of the wave of clusters that match no other one.
pub const LAST_WAVE: &str = "rest";

/// How long a cluster may take to become healthy where nothing is said.
pub const PROGRESS_DEADLINE: Duration = Duration::from_mins(10);

/// What to do with a cluster that cannot be reached when it is its turn, or on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Unreachable {
    /// The wave waits until it is back.
    #[default]
    Wait,
    /// The wave goes on; the cluster catches up when it is back, and is not ready until then.
    Skip,
    /// It counts as failed.
    Fail,
}

impl Unreachable {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What to do when more clusters have failed than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// No other cluster takes the change; those that have it keep it.
    #[default]
    Halt,
    /// The clusters that have it go back to their last good revision too.
    HoldBack,
}

impl OnFailure {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A number of clusters, or a share of them.
///
/// ```
/// use fairway_types::rollout::IntOrPercent;
///
/// assert_eq!("25%".parse(), Ok(IntOrPercent::Percent(25)));
/// assert_eq!(IntOrPercent::Percent(25).rounded_down(9), 2);
/// assert_eq!(IntOrPercent::Percent(25).rounded_up(9), 3);
/// assert!("101%".parse::<IntOrPercent>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many.
    Int(u32),
    /// So many of a hundred, at most 100.
    Percent(u32),
}

impl IntOrPercent {
    /// How many of `total` that is; a broken one counts as a whole one.
    pub fn rounded_up(self, total: usize) -> usize {
        match self {
            Self::Int(count) => count as usize,
            Self::Percent(percent) => (total * percent as usize).div_ceil(100),
        }
    }

    /// How many of `total` that is; a broken one does not count.
    pub fn rounded_down(self, total: usize) -> usize {
        match self {
            Self::Int(count) => count as usize,
            Self::Percent(percent) => total * percent as usize / 100,
        }
    }
}

impl FromStr for IntOrPercent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |digits: &str| {
            let is_number =
                !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            is_number.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let found = match text.strip_suffix('%') {
            Some(digits) => read(digits)
                .filter(|percent| *percent <= 100)
                .map(Self::Percent),
            None => read(text).map(Self::Int),
        };
        found.ok_or_else(|| {
            format!("'{text}' is neither a number nor a percentage; hint: write 2 or 25%")
        })
    }
}

impl std::fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Int(u32),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Int(count) => Ok(Self::Int(count)),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "pattern": "^([0-9]+|([0-9]|[1-9][0-9]|100)%)$",
        })
    }
}

/// How many clusters may change at the same time; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MaxConcurrent(pub IntOrPercent);

impl MaxConcurrent {
    /// How many of `total` that is, at least one.
    pub fn of(self, total: usize) -> usize {
        self.0.rounded_up(total).max(1)
    }
}

impl JsonSchema for MaxConcurrent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MaxConcurrent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "pattern": "^([1-9][0-9]*|([1-9]|[1-9][0-9]|100)%)$",
        })
    }
}

/// How far the changes of a FleetKustomization have come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The changes so far, counted. Clusters that change at the same moment have the same number.
    #[serde(default)]
    pub sequence: i64,
    /// What is going on, in one line; nothing where nothing is.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// The waves in short, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<WaveStatus>,
    /// The clusters that a change is under way to, by name. A cluster that is settled is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clusters: Vec<ClusterRollout>,
}

/// How a wave is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Name of the wave.
    pub name: String,
    /// How it is.
    pub state: WaveState,
    /// Clusters in the wave.
    #[serde(default)]
    pub clusters: i32,
    /// Clusters in the wave that a change is under way to.
    #[serde(default)]
    pub changing: i32,
    /// Of these, clusters that have it and are healthy.
    #[serde(default)]
    pub healthy: i32,
    /// Of these, clusters that failed.
    #[serde(default)]
    pub failed: i32,
    /// What it waits for.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// When it began, while it is not done.
    #[serde(
        default,
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started: Option<Timestamp>,
    /// How its checks stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub checks: Vec<Evidence>,
    /// Stands for what the checks are about: clusters, and what they have since when.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub checked: Option<String>,
}

/// How a wave is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WaveState {
    /// No change is under way.
    #[default]
    Done,
    /// An earlier wave comes first.
    Waiting,
    /// Clusters change.
    Progressing,
    /// All clusters are healthy, and have to stay so for a while.
    Soaking,
    /// More clusters have failed than may.
    Failed,
}

/// How one cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterState {
    /// It is not its turn yet: the cluster stays at what it has.
    #[default]
    Pending,
    /// It takes the change.
    Progressing,
    /// It has the change and is healthy, and has to stay so for a while.
    Soaking,
    /// It has the change for good; others have not yet.
    Done,
    /// It failed, and is not tried again until something else is rendered for it.
    Failed,
    /// It cannot be reached, or is suspended; others do not wait for it, and it catches up later.
    Skipped,
    /// The rollout is halted, or a Promotion holds the cluster: it stays at what it has.
    Held,
    /// It had the change, and went back to its last good revision.
    HeldBack,
}

/// What is rendered for a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Rendered {
    /// The revision, such as `main@sha1:<commit>`.
    pub revision: String,
    /// The rendered digest, `sha256:<hex>`.
    pub digest: String,
}

/// A change that a cluster takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenChange {
    /// Its number.
    pub number: i64,
    /// Since when the cluster is healthy with it.
    #[serde(
        default,
        with = "optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub healthy_since: Option<Timestamp>,
}

/// One cluster on its way to a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRollout {
    /// Name of the Cluster.
    pub name: String,
    /// Its wave.
    pub wave: String,
    /// How it is.
    pub state: ClusterState,
    /// What it is to have in the end.
    pub target: Rendered,
    /// What it may have now; nothing where it has had nothing before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Rendered>,
    /// What it had before the changes that are not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Rendered>,
    /// What it had last that was healthy for long enough, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Rendered>,
    /// The changes that it has yet to take, or to be healthy with for long enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<OpenChange>,
    /// The changes that it has, and that others have not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<i64>,
    /// Since when it is in this state.
    #[serde(with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Milliseconds that it took to become healthy, while it soaks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub took: i64,
    /// Whether it cannot be reached while it is waited for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unreachable: bool,
    /// The rendered digest that failed last, which is not tried again.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub failed: Option<String>,
    /// What to know about it, cut to [`ClusterRollout::MAX_MESSAGE`] characters.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
}

impl ClusterRollout {
    /// The most characters that are kept of a message.
    pub const MAX_MESSAGE: usize = 256;

    /// Whether it may have what it is to have in the end.
    pub fn is_admitted(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.digest == self.target.digest)
    }
}

impl RolloutStatus {
    /// The cluster of this name, where a change is under way to it.
    pub fn cluster(&self, name: &str) -> Option<&ClusterRollout> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Times to the millisecond: a soak time may be shorter than a second.
mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn format(time: Timestamp) -> String {
        time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

mod optional_millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::millis::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::<Timestamp>::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_reads_back_as_it_was_written() {
        let json = json!({
            "waves": [{
                "name": "canary", "clusterSelector": {"matchLabels": {"region": "eu-west-1"}},
                "maxConcurrent": 1, "soak": "1m0s", "progressDeadline": "10m0s", "maxFailed": "10%",
            }],
            "maxConcurrent": "25%", "soak": "30s", "maxFailed": 0, "unreachable": "skip", "onFailure": "holdBack",
        });
        let rollout: Rollout = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(rollout.waves[0].max_concurrent.unwrap().of(9), 1);
        assert_eq!(rollout.max_concurrent.unwrap().of(9), 3);
        assert_eq!(serde_json::to_value(&rollout).unwrap(), json);
        let empty: Rollout = serde_json::from_value(json!({})).unwrap();
        assert_eq!(empty.on_failure, OnFailure::Halt);
        assert_eq!(serde_json::to_value(&empty).unwrap(), json!({}));
    }

    #[test]
    fn numbers_and_shares_of_clusters() {
        for bad in ["", "%", "101%", "-1", "+5", "5 %", "1.5%", "99999999999"] {
            assert!(bad.parse::<IntOrPercent>().is_err(), "{bad}");
        }
        assert_eq!(IntOrPercent::Percent(10).rounded_down(9), 0);
        assert_eq!(IntOrPercent::Percent(10).rounded_up(9), 1);
        assert_eq!(IntOrPercent::Percent(100).rounded_down(7), 7);
        assert_eq!(MaxConcurrent(IntOrPercent::Int(0)).of(5), 1);
        assert_eq!(MaxConcurrent(IntOrPercent::Percent(1)).of(5), 1);
    }

    #[test]
    fn times_keep_their_milliseconds() {
        let entry = ClusterRollout {
            name: "a".into(),
            since: Timestamp::from_millisecond(1_763_798_675_123).unwrap(),
            ..ClusterRollout::default()
        };
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(json["since"], "2025-11-22T08:04:35.123Z");
        assert_eq!(
            serde_json::from_value::<ClusterRollout>(json).unwrap(),
            entry
        );
    }
}
