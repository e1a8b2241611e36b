//! Fairway's own kinds, fleet.fairway.dev/v1alpha1: clusters, named rules that select them, and fan-out.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column says its type"
)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    condition::{Condition, ConditionStatus, optional_seconds},
    reference::{KubeConfigReference, LocalObjectReference, SourceReference, is_false, non_empty},
    rollout::{Rollout, RolloutStatus},
    selector::{LabelSelector, Requirement},
};

/// A registered cluster. Everything selects clusters by the labels of this object.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleet.fairway.dev",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    shortname = "fcl",
    category = "fairway",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    doc = "Cluster is a registered cluster; everything selects clusters by the labels of this object.",
    printcolumn(
        name = "Environment",
        type_ = "string",
        json_path = ".metadata.labels.environment"
    ),
    printcolumn(
        name = "Region",
        type_ = "string",
        json_path = ".metadata.labels.region"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Last Contact",
        type_ = "date",
        json_path = ".status.lastContact"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// How to reach the cluster; without it, the cluster that this object is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Leaves the cluster alone while it is true: no FleetKustomization changes it, no `sync` runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Runs the cluster as if Flux were bootstrapped in it at this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<ClusterSync>,
}

/// What is reconciled in a cluster as its own Flux would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSync {
    /// The source, on the hub.
    pub source_ref: SourceReference,
    /// Directory with the cluster's Flux objects.
    #[schemars(length(min = 1))]
    pub path: String,
}

/// The observed state of a Cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The last observed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the API server answers and accepts the credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The version that the API server reports, such as `v1.37.0`.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// When the API server last answered.
    #[serde(
        default,
        with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_contact: Option<Timestamp>,
    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_handled_reconcile_at: Option<String>,
}

/// A named rule that selects clusters by their labels.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleet.fairway.dev",
    version = "v1alpha1",
    kind = "ClusterSelector",
    plural = "clusterselectors",
    shortname = "fcs",
    category = "fairway",
    namespaced,
    derive = "PartialEq",
    doc = "ClusterSelector is a named rule that selects clusters by their labels.",
    printcolumn(name = "Labels", type_ = "string", json_path = ".spec.matchLabels"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelectorSpec {
    /// Labels that a cluster must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that a cluster's labels must meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

impl ClusterSelectorSpec {
    /// The rule as a label selector.
    pub fn selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: self.match_labels.clone(),
            match_expressions: self.match_expressions.clone(),
        }
    }
}

/// Fan-out: for each matching Cluster one ordinary Kustomization exists on the hub.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleet.fairway.dev",
    version = "v1alpha1",
    kind = "FleetKustomization",
    plural = "fleetkustomizations",
    shortname = "fks",
    category = "fairway",
    namespaced,
    status = "FleetKustomizationStatus",
    derive = "PartialEq",
    doc = "FleetKustomization keeps one Kustomization for each cluster that its selector matches.",
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(
        name = "Clusters",
        type_ = "integer",
        json_path = ".status.clusters.matched"
    ),
    printcolumn(
        name = "Applied",
        type_ = "integer",
        json_path = ".status.clusters.ready"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Rollout",
        type_ = "string",
        json_path = ".status.rollout.message"
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
pub struct FleetKustomizationSpec {
    /// The clusters to fan out to.
    pub cluster_selector: ClusterMatch,
    /// The Kustomization for each of them.
    pub template: KustomizationTemplate,
    /// FleetKustomizations whose Kustomization for the same cluster must be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<LocalObjectReference>,
    /// What happens to the workloads of a cluster that stops matching; by default they stay.
    #[serde(default, skip_serializing_if = "OnLeave::is_default")]
    pub on_leave: OnLeave,
    /// How a change spreads over the clusters; without it all of them take it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Leaves the Kustomizations as they are while it is true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

/// Which clusters a FleetKustomization is for; all that is set must hold. Nothing set matches every cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterMatch {
    /// Labels that a cluster must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that a cluster's labels must meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
    /// A ClusterSelector in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector_ref: Option<LocalObjectReference>,
}

impl ClusterMatch {
    /// The labels and expressions that are given inline.
    pub fn selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: self.match_labels.clone(),
            match_expressions: self.match_expressions.clone(),
        }
    }
}

/// The Kustomization for each cluster. In its quoted strings `{{ cluster.name }}`, `{{ cluster.labels.region }}`
/// and the like are replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KustomizationTemplate {
    /// Labels and annotations of the Kustomization.
    #[serde(default, skip_serializing_if = "TemplateMetadata::is_empty")]
    pub metadata: TemplateMetadata,
    /// Spec of the Kustomization, checked when it is rendered for a cluster.
    #[schemars(schema_with = "free_form")]
    pub spec: Map<String, Value>,
}

fn free_form(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Labels and annotations of a rendered Kustomization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateMetadata {
    /// Labels, besides the cluster's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl TemplateMetadata {
    fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// What happens to the workloads of a cluster that stops matching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnLeave {
    /// The Kustomization goes, its workloads stay.
    #[default]
    Orphan,
    /// The Kustomization goes and takes its workloads with it.
    Prune,
}

impl OnLeave {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The observed state of a FleetKustomization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetKustomizationStatus {
    /// The last observed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: every matching cluster has its Kustomization, and all of them are ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many clusters match, and how they are.
    #[serde(default)]
    pub clusters: ClusterCounts,
    /// The clusters by name, those that are not ready first; at most [`SUMMARY_LENGTH`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summary: Vec<ClusterSummary>,
    /// How far the last changes have come; only with a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_handled_reconcile_at: Option<String>,
}

/// The most clusters that a summary lists.
pub const SUMMARY_LENGTH: usize = 100;

/// How many clusters a FleetKustomization has, and how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCounts {
    /// Clusters that match the selector.
    #[serde(default)]
    pub matched: i32,
    /// Clusters whose Kustomization is ready.
    #[serde(default)]
    pub ready: i32,
    /// Clusters whose Kustomization failed or could not be rendered.
    #[serde(default)]
    pub failed: i32,
}

/// How one cluster of a FleetKustomization is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// Name of the Cluster.
    pub name: String,
    /// Name of its Kustomization on the hub.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub kustomization: Option<String>,
    /// Whether that is ready.
    pub ready: ConditionStatus,
    /// Why it is not.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub reason: Option<String>,
    /// What to know about it, cut to 256 characters.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// The revision that is applied.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub revision: Option<String>,
}

impl ClusterSummary {
    /// The most characters that are kept of a message.
    pub const MAX_MESSAGE: usize = 256;
}

/// Orders a summary (not ready first, then by name), cuts its messages and its length, so that the status
/// of a large fleet stays small.
pub fn bound_summary(summary: &mut Vec<ClusterSummary>) {
    let rank = |status: ConditionStatus| match status {
        ConditionStatus::False => 0,
        ConditionStatus::Unknown => 1,
        ConditionStatus::True => 2,
    };
    summary.sort_by(|a, b| {
        rank(a.ready)
            .cmp(&rank(b.ready))
            .then_with(|| a.name.cmp(&b.name))
    });
    summary.truncate(SUMMARY_LENGTH);
    for message in summary
        .iter_mut()
        .filter_map(|cluster| cluster.message.as_mut())
    {
        if let Some((end, _)) = message.char_indices().nth(ClusterSummary::MAX_MESSAGE) {
            message.truncate(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_bounded_and_shows_trouble_first() {
        let mut summary: Vec<_> = (0..150)
            .map(|n| ClusterSummary {
                name: format!("c{n:03}"),
                kustomization: None,
                ready: if n == 149 {
                    ConditionStatus::False
                } else {
                    ConditionStatus::True
                },
                reason: None,
                message: Some("ü".repeat(1000)),
                revision: None,
            })
            .collect();
        bound_summary(&mut summary);
        assert_eq!(summary.len(), SUMMARY_LENGTH);
        assert_eq!(summary[0].name, "c149");
        assert_eq!(summary[1].name, "c000");
        assert_eq!(
            summary[0].message.as_ref().unwrap().chars().count(),
            ClusterSummary::MAX_MESSAGE
        );
    }

    #[test]
    fn a_template_keeps_what_it_does_not_know() {
        let json = serde_json::json!({
            "clusterSelector": {"selectorRef": {"name": "dev-clusters"}},
            "template": {"spec": {"path": "clusters/{{ cluster.labels.environment }}", "futureField": {"a": [1]}}},
            "onLeave": "Prune",
        });
        let spec: FleetKustomizationSpec = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(spec.on_leave, OnLeave::Prune);
        assert_eq!(serde_json::to_value(&spec).unwrap(), json);
    }
}
