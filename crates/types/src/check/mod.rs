//! Checks: what must hold before a stage takes a version (gates), and after it took one (verification, waves).
//!
//! One shape serves all of them: a name and exactly one kind.
//!
//! | kind | passes when | where |
//! |---|---|---|
//! | `prometheus` | a query's answer is within its thresholds | everywhere |
//! | `webhook` | a server says 2xx to the subject | everywhere |
//! | `job` | a Job in the target cluster completes | everywhere |
//! | `cel` | an expression over a live object is true | everywhere |
//! | `window` | the time of day is within a schedule | gates |
//! | `semver` | the version is in a range, and no downgrade | gates |
//! | `approval` | enough of the right people said yes | gates |
//!
//! A list of checks in a spec takes its schema from [`gates`] or [`checks`], with `#[schemars(schema_with = "...")]`:
//! that bounds its length and makes names unique.

mod evidence;
mod kinds;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use evidence::{Evidence, Verdict};
pub use kinds::{
    ApprovalCheck, CelCheck, Day, JobCheck, JobClusters, PrometheusCheck, Schedule, SemverCheck,
    WebhookCheck, WindowCheck,
};

/// The most checks that one list may have.
pub const MAX_CHECKS: usize = 16;

/// A named check of exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "[has(self.prometheus), has(self.webhook), has(self.job), has(self.cel), has(self.window), has(self.semver), has(self.approval)].filter(x, x).size() == 1",
     "message": "a check has exactly one of prometheus, webhook, job, cel, window, semver and approval"},
]))]
pub struct Check {
    /// Name, unique in its list.
    #[schemars(extend("minLength" = 1), extend("maxLength" = 63), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A query to Prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// A question to an HTTP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookCheck>,
    /// A Job in the target clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
    /// An expression over a live object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel: Option<CelCheck>,
    /// Times of the week; only as a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowCheck>,
    /// A rule for the version; only as a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<SemverCheck>,
    /// The word of people; only as a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalCheck>,
}

/// The kind of a [`Check`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind<'a> {
    /// A query to Prometheus.
    Prometheus(&'a PrometheusCheck),
    /// A question to an HTTP server.
    Webhook(&'a WebhookCheck),
    /// A Job in the target clusters.
    Job(&'a JobCheck),
    /// An expression over a live object.
    Cel(&'a CelCheck),
    /// Times of the week.
    Window(&'a WindowCheck),
    /// A rule for the version.
    Semver(&'a SemverCheck),
    /// The word of people.
    Approval(&'a ApprovalCheck),
}

impl Kind<'_> {
    /// The field that it is set in, such as `prometheus`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Prometheus(_) => "prometheus",
            Self::Webhook(_) => "webhook",
            Self::Job(_) => "job",
            Self::Cel(_) => "cel",
            Self::Window(_) => "window",
            Self::Semver(_) => "semver",
            Self::Approval(_) => "approval",
        }
    }

    /// Whether it only means something before a stage takes a version.
    pub const fn is_gate_only(&self) -> bool {
        matches!(self, Self::Window(_) | Self::Semver(_) | Self::Approval(_))
    }
}

/// A check that the API server should have refused: not exactly one kind is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOneKind {
    /// Name of the check.
    pub check: String,
    /// How many kinds are set.
    pub kinds: usize,
}

impl std::fmt::Display for NotOneKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "check '{}' sets {} kinds, not one\nhint: give it exactly one of prometheus, webhook, job, cel, window, semver and approval",
            self.check, self.kinds
        )
    }
}

impl std::error::Error for NotOneKind {}

impl Check {
    /// The one kind that is set.
    pub fn kind(&self) -> Result<Kind<'_>, NotOneKind> {
        let all = [
            self.prometheus.as_ref().map(Kind::Prometheus),
            self.webhook.as_ref().map(Kind::Webhook),
            self.job.as_ref().map(Kind::Job),
            self.cel.as_ref().map(Kind::Cel),
            self.window.as_ref().map(Kind::Window),
            self.semver.as_ref().map(Kind::Semver),
            self.approval.as_ref().map(Kind::Approval),
        ];
        let mut set = all.into_iter().flatten();
        match (set.next(), set.count()) {
            (Some(kind), 0) => Ok(kind),
            (first, more) => Err(NotOneKind {
                check: self.name.clone(),
                kinds: usize::from(first.is_some()) + more,
            }),
        }
    }
}

fn list(generator: &mut SchemaGenerator, rules: Option<serde_json::Value>) -> Schema {
    let mut schema = json_schema!({
        "type": "array",
        "items": generator.subschema_for::<Check>(),
        "maxItems": MAX_CHECKS,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    });
    if let Some(rules) = rules {
        schema.insert("x-kubernetes-validations".to_owned(), rules);
    }
    schema
}

/// The schema of a list of gates: any kind.
pub fn gates(generator: &mut SchemaGenerator) -> Schema {
    list(generator, None)
}

/// The schema of a list of checks that look at what runs: no `window`, `semver` or `approval`.
pub fn checks(generator: &mut SchemaGenerator) -> Schema {
    let rules = serde_json::json!([{
        "rule": "self.all(c, !has(c.window) && !has(c.semver) && !has(c.approval))",
        "message": "window, semver and approval are gates: they can't verify what runs already",
    }]);
    list(generator, Some(rules))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: serde_json::Value) -> Check {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_check_has_one_kind() {
        let one = check(json!({"name": "a", "cel": {"expr": "true"}}));
        assert_eq!(one.kind().unwrap().name(), "cel");
        let none = check(json!({"name": "a"}));
        assert_eq!(none.kind().unwrap_err().kinds, 0);
        let two = check(json!({"name": "a", "cel": {"expr": "true"}, "semver": {}}));
        assert_eq!(two.kind().unwrap_err().kinds, 2);
    }

    #[test]
    fn checks_read_back_as_they_were_written() {
        for value in [
            json!({"name": "error-rate", "prometheus": {"address": "http://prometheus.monitoring:9090", "query": "vector(1)",
                "max": 0.01, "interval": "30s", "count": 3, "failureLimit": 1}}),
            json!({"name": "smoke", "webhook": {"url": "https://ci.example.com/smoke", "secretRef": {"name": "hook"}, "timeout": "10s",
                "headers": {"X-Team": "web"}}}),
            json!({"name": "e2e", "job": {"template": {"spec": {"template": {"spec": {"containers": []}}}}, "clusters": "all"}}),
            json!({"name": "weight", "cel": {"expr": "object.status.canaryWeight == 100", "failed": "object.status.phase == 'Failed'",
                "object": {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "web", "namespace": "web"}}}),
            json!({"name": "hours", "window": {"timeZone": "Europe/Berlin", "schedules": [
                {"days": ["Mon", "Fri"], "from": "09:00", "to": "16:30"}]}}),
            json!({"name": "semver", "semver": {"range": ">=1.0.0 <2.0.0", "allowDowngrade": true}}),
            json!({"name": "sign-off", "approval": {"groups": ["release-managers"], "count": 2}}),
        ] {
            assert_eq!(serde_json::to_value(check(value.clone())).unwrap(), value);
        }
    }

    #[test]
    fn defaults_are_what_the_documentation_says() {
        let minimal = check(
            json!({"name": "a", "prometheus": {"address": "http://p", "query": "q", "min": 1}}),
        );
        let prometheus = minimal.prometheus.unwrap();
        assert_eq!(prometheus.interval().to_string(), "30s");
        assert_eq!(prometheus.timeout().to_string(), "10m0s");
        assert_eq!((prometheus.count(), prometheus.failure_limit()), (1, 0));
    }

    #[test]
    fn lists_are_bounded_and_named() {
        let mut generator = schemars::generate::SchemaSettings::openapi3()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let (gates, checks) = (gates(&mut generator), checks(&mut generator));
        for schema in [&gates, &checks] {
            assert_eq!(
                schema.get("x-kubernetes-list-map-keys"),
                Some(&json!(["name"]))
            );
            assert_eq!(schema.get("maxItems"), Some(&json!(MAX_CHECKS)));
        }
        assert!(gates.get("x-kubernetes-validations").is_none());
        assert!(checks.get("x-kubernetes-validations").is_some());
    }
}
