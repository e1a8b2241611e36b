//! What each kind of check is told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    duration::Duration,
    reference::{LocalObjectReference, ObjectReference, is_false, non_empty},
};

/// Time between two samples, where none is said.
const INTERVAL: Duration = Duration::from_secs(30);
/// Time after which a check that was not decided has failed, where none is said.
const TIMEOUT: Duration = Duration::from_mins(10);
/// Time for one answer of a server, where none is said.
const ANSWER: Duration = Duration::from_secs(10);

/// A query to Prometheus whose answer must be within thresholds. The answer is a scalar or a vector; every series of a
/// vector must hold. No data, NaN and a server that does not answer are neither passes nor failures: the query is
/// asked again until `timeout`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.max) || has(self.min) || has(self.expr)",
     "message": "say what the answer must be: max, min or expr"},
    {"rule": "!has(self.max) || !has(self.min) || self.min <= self.max",
     "message": "min is greater than max"},
]))]
pub struct PrometheusCheck {
    /// Address of the server, such as `http://prometheus.monitoring:9090`; `/api/v1/query` is added to it.
    #[schemars(extend("pattern" = "^https?://.+$"), extend("maxLength" = 2048))]
    pub address: String,
    /// Secret with `username` and `password`, or `bearerToken`; `ca.crt`; `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// The query, in PromQL. `{{ stage }}`, `{{ version }}` and the like are replaced; see the documentation of checks.
    #[schemars(extend("minLength" = 1), extend("maxLength" = 4096))]
    pub query: String,
    /// The greatest value that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The least value that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// A CEL expression over `value` (a number), `labels` (of the series) and `subject` that is true where the answer holds.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("maxLength" = 4096))]
    pub expr: Option<String>,
    /// Time between two samples; by default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Samples that must hold; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1), extend("maximum" = 1000))]
    pub count: Option<u32>,
    /// Samples that may fail; by default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0), extend("maximum" = 1000))]
    pub failure_limit: Option<u32>,
    /// Time without a verdict after which the check has failed; by default 10m, and no less than its samples take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl PrometheusCheck {
    /// Time between two samples.
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(INTERVAL)
    }

    /// Samples that must hold.
    pub fn count(&self) -> u32 {
        self.count.unwrap_or(1).max(1)
    }

    /// Samples that may fail.
    pub fn failure_limit(&self) -> u32 {
        self.failure_limit.unwrap_or(0)
    }

    /// Time without a verdict after which the check has failed.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

/// A question to an HTTP server: the subject is posted as JSON. 2xx passes; 409, 423 and 425 mean "not yet"; 408, 429,
/// 3xx and 5xx decide nothing; any other answer fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCheck {
    /// Where to post to.
    #[schemars(extend("pattern" = "^https?://.+$"), extend("maxLength" = 2048))]
    pub url: String,
    /// Secret with `token`, the key that the body is signed with (HMAC-SHA256 in the header `X-Signature`), and as
    /// wanted `username` and `password`, `bearerToken`, `ca.crt`, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Headers to add.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Time for one answer; by default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_timeout: Option<Duration>,
    /// Time between two questions; by default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Answers that must pass; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1), extend("maximum" = 1000))]
    pub count: Option<u32>,
    /// Answers that may fail; by default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0), extend("maximum" = 1000))]
    pub failure_limit: Option<u32>,
    /// Time without a verdict after which the check has failed; by default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl WebhookCheck {
    /// Time for one answer.
    pub fn answer_timeout(&self) -> Duration {
        self.answer_timeout.unwrap_or(ANSWER)
    }

    /// Time between two questions.
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(INTERVAL)
    }

    /// Answers that must pass.
    pub fn count(&self) -> u32 {
        self.count.unwrap_or(1).max(1)
    }

    /// Answers that may fail.
    pub fn failure_limit(&self) -> u32 {
        self.failure_limit.unwrap_or(0)
    }

    /// Time without a verdict after which the check has failed.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

/// Which of the clusters a Job runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JobClusters {
    /// The first by name.
    #[default]
    First,
    /// Every one.
    All,
}

impl JobClusters {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A Job in the target clusters that must complete. It is created as the service account that the Kustomization there
/// is applied as, once for each attempt, and removed after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCheck {
    /// `metadata` (labels, annotations, namespace) and `spec` of the Job. In its texts `{{ version }}` and the like are replaced.
    #[schemars(schema_with = "free_form")]
    pub template: Map<String, Value>,
    /// The clusters that it runs in; by default the first by name.
    #[serde(default, skip_serializing_if = "JobClusters::is_default")]
    pub clusters: JobClusters,
    /// Time to complete; by default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long a finished Job stays for people to look at; by default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

impl JobCheck {
    /// Time to complete.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// How long a finished Job stays.
    pub fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(TIMEOUT)
    }
}

fn free_form(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// An expression that must become true. Variables: `object` (where one is named; in each of the clusters, and all must
/// hold), `clusters` (list of name, labels and ready) and `subject`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CelCheck {
    /// The expression. While it is false, it is waited for.
    #[schemars(extend("minLength" = 1), extend("maxLength" = 4096))]
    pub expr: String,
    /// An expression that is true where there is nothing to wait for any more: the check fails at once.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("maxLength" = 4096))]
    pub failed: Option<String>,
    /// The object in the target clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectReference>,
    /// Time between two looks; by default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Time to become true; by default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl CelCheck {
    /// Time between two looks.
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(ANSWER)
    }

    /// Time to become true.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// Times of the week: within any of the schedules the gate is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowCheck {
    /// Name in the IANA database, such as `Europe/Berlin`; by default UTC.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("maxLength" = 64))]
    pub time_zone: Option<String>,
    /// When it is open.
    #[schemars(length(min = 1, max = 32))]
    pub schedules: Vec<Schedule>,
}

/// A span of time on some days of the week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// The days on which it begins; by default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// Begin as local time, such as `09:00`; by default `00:00`.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("pattern" = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: Option<String>,
    /// End as local time, itself not in it; by default `24:00`. Where it is not after `from`, it is on the next day.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("pattern" = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub to: Option<String>,
}

/// A rule for versions. Whatever is no semantic version fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SemverCheck {
    /// Versions that pass, as in `spec.ref.semver` of a GitRepository, such as `>=1.0.0 <2.0.0`; by default all.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("maxLength" = 512))]
    pub range: Option<String>,
    /// Lets an older version than the present one pass.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_downgrade: bool,
}

/// The word of people: one Approval object each. Who asked for the promotion doesn't count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalCheck {
    /// Users who may approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub users: Vec<String>,
    /// Groups whose members may approve. With neither users nor groups, everybody may whom RBAC lets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub groups: Vec<String>,
    /// How many must; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1), extend("maximum" = 64))]
    pub count: Option<u32>,
}

impl ApprovalCheck {
    /// How many must approve.
    pub fn count(&self) -> usize {
        self.count.unwrap_or(1).max(1) as usize
    }
}
