//! What a check is about.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// What a check is about; posted to webhooks as JSON, and the variables of templates and expressions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Namespace of all that is named here, on the hub; Secrets of checks are read in it.
    pub namespace: String,
    /// The Pipeline; empty for a rollout that no promotion started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pipeline: String,
    /// The Promotion.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub promotion: String,
    /// The stage.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// `promote` or `rollback`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub intent: String,
    /// The version that is promoted: a tag, a digest, a commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The version before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The commit that the clusters are to be at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// The wave of the rollout.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wave: String,
    /// The FleetKustomizations whose Kustomizations go to the clusters: their accounts are used there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fleets: Vec<String>,
    /// Names of the clusters.
    pub clusters: Vec<String>,
    /// What makes this attempt another one than the last: uid of the Promotion, digest of the rollout. Names of Jobs come from it.
    #[serde(skip)]
    pub attempt: String,
}

impl Subject {
    /// As JSON.
    pub fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| Value::Object(Map::new()))
    }

    /// Its fields as texts. Fields that say nothing are left out: a template that names one is refused.
    pub(crate) fn variables(&self) -> BTreeMap<&'static str, String> {
        [
            ("namespace", &self.namespace),
            ("pipeline", &self.pipeline),
            ("promotion", &self.promotion),
            ("stage", &self.stage),
            ("intent", &self.intent),
            ("version", &self.version),
            ("from", &self.from),
            ("commit", &self.commit),
            ("wave", &self.wave),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.clone()))
        .chain((!self.clusters.is_empty()).then(|| ("clusters", self.clusters.join("|"))))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_of_what_is_not_there() {
        let subject = Subject {
            namespace: "flux-system".into(),
            stage: "prod".into(),
            clusters: vec!["prod-eu".into(), "prod-us".into()],
            attempt: "uid".into(),
            ..Subject::default()
        };
        assert_eq!(
            subject.json(),
            serde_json::json!({"namespace": "flux-system", "stage": "prod", "clusters": ["prod-eu", "prod-us"]})
        );
        let variables = subject.variables();
        assert_eq!(variables["clusters"], "prod-eu|prod-us");
        assert!(!variables.contains_key("wave"));
    }
}
