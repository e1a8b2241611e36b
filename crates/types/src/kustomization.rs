//! `Kustomization`, kustomize.toolkit.fluxcd.io/v1: what to build from a source and to keep a cluster equal to.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column says its type"
)]

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::history::{HISTORY_LENGTH, Snapshot, record};
use crate::{
    condition::Condition,
    duration::Duration,
    inventory::Inventory,
    reference::{
        DependencyReference, KubeConfigReference, LocalObjectReference, ObjectReference,
        SourceReference, is_false, non_empty,
    },
};

/// The configuration to calculate the desired state from a source using kustomize.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kustomize.toolkit.fluxcd.io",
    version = "v1",
    kind = "Kustomization",
    plural = "kustomizations",
    shortname = "ks",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-appliers",
    namespaced,
    status = "KustomizationStatus",
    derive = "PartialEq",
    doc = "Kustomization is the Schema for the kustomizations API.",
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KustomizationSpec {
    /// Labels and annotations that are set on all objects, over those that they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// Kustomizations that must be ready before this one is reconciled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// How encrypted Secrets are decrypted before they are applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// The interval at which to reconcile.
    pub interval: Duration,
    /// The interval at which to retry a failed reconciliation; by default the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
    /// The cluster to reconcile on; by default the one that this object is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Directory with the kustomization file, or with the plain YAML that one is generated for; by default the root.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub path: Option<String>,
    /// Substitution of variables after the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// Whether objects that the source no longer has are deleted.
    pub prune: bool,
    /// What happens to the objects when this Kustomization is deleted; by default what `prune` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Objects whose health counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<ObjectReference>,
    /// Health of custom resources by CEL expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<CustomHealthCheck>,
    /// A prefix to the names of all objects.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 200))]
    pub name_prefix: Option<String>,
    /// A suffix to the names of all objects.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 200))]
    pub name_suffix: Option<String>,
    /// Strategic merge and JSON 6902 patches, appended to those of the kustomization file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Image names, tags and digests to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Relative paths to kustomize components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Leaves out component paths that the source does not have.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_missing_components: bool,
    /// Which metadata of the build is added to the objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "build_metadata")]
    pub build_metadata: Vec<String>,
    /// Service account to impersonate while reconciling.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub service_account_name: Option<String>,
    /// The source with the kustomization file.
    pub source_ref: SourceReference,
    /// Stops reconciling while it is true; does not apply to runs that have started.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Sets or overrides the namespace in the kustomization file.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 63))]
    pub target_namespace: Option<String>,
    /// Time allowed for validation, apply and health checks; by default the interval less 30 s, at least 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Recreates objects where a patch fails on an immutable field.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// Checks the health of all applied objects; health checks are then ignored.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wait: bool,
    /// Fields that drift detection and apply leave alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

fn build_metadata(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {"type": "string", "enum": ["originAnnotations", "transformerAnnotations"]},
    })
}

impl KustomizationSpec {
    /// The time after which a failed reconciliation is tried again.
    pub fn retry_interval(&self) -> Duration {
        self.retry_interval.unwrap_or(self.interval)
    }

    /// The time that one reconciliation may take: `timeout`, else the interval less 30 s; never under 30 s.
    pub fn timeout(&self) -> Duration {
        const LEAST: std::time::Duration = std::time::Duration::from_secs(30);
        let wanted = self
            .timeout
            .map_or_else(|| self.interval.get().saturating_sub(LEAST), Duration::get);
        wanted.max(LEAST).into()
    }

    /// What deleting the Kustomization does with its objects: `MirrorPrune` resolved.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        match self.deletion_policy.unwrap_or_default() {
            DeletionPolicy::MirrorPrune if self.prune => DeletionPolicy::Delete,
            DeletionPolicy::MirrorPrune => DeletionPolicy::Orphan,
            policy => policy,
        }
    }
}

/// Labels and annotations for all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommonMetadata {
    /// Annotations to be added to the object's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels to be added to the object's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How Secrets are decrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decryption {
    /// Name of the decryption engine.
    #[schemars(extend("enum" = ["sops"]))]
    pub provider: String,
    /// Service account for the KMS of a cloud.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub service_account_name: Option<String>,
    /// Secret with the private keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// What is done with the objects after the build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostBuild {
    /// Variables and their values; they win over `substituteFrom`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub substitute: BTreeMap<String, String>,
    /// ConfigMaps and Secrets whose keys are variables; later ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitute_from: Vec<SubstituteReference>,
    /// When variables are substituted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substitute_strategy: Option<SubstituteStrategy>,
}

/// A ConfigMap or Secret with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubstituteReference {
    /// Kind of the referent.
    #[schemars(extend("enum" = ["Secret", "ConfigMap"]))]
    pub kind: String,
    /// Name of the referent, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// When variables are substituted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubstituteStrategy {
    /// Only where at least one variable is given.
    #[default]
    WithVariables,
    /// Also where none is given.
    Always,
}

/// What happens to the objects of a deleted Kustomization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Delete where `prune` is set, else orphan.
    #[default]
    MirrorPrune,
    /// Delete them.
    Delete,
    /// Delete them and wait until they are gone.
    WaitForTermination,
    /// Leave them.
    Orphan,
}

/// A patch and the objects that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Patch {
    /// A strategic merge patch, or an array of JSON 6902 operations, as YAML.
    pub patch: String,
    /// The objects to patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSelector>,
}

/// Selects built objects; what is not set matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetSelector {
    /// API group, a regular expression.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub group: Option<String>,
    /// API version, a regular expression.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// Kind, a regular expression.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<String>,
    /// Namespace, a regular expression.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub namespace: Option<String>,
    /// Name, a regular expression.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<String>,
    /// A label selection expression over annotations.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub annotation_selector: Option<String>,
    /// A label selection expression over labels.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub label_selector: Option<String>,
}

/// Replaces an image's name, tag or digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Image name without a tag.
    pub name: String,
    /// The name to use instead.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub new_name: Option<String>,
    /// The tag to use instead.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub new_tag: Option<String>,
    /// The digest to use instead of a tag; wins over `newTag`.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub digest: Option<String>,
}

/// Health of one kind by CEL expressions over the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomHealthCheck {
    /// API version of the kind.
    pub api_version: String,
    /// The kind.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<String>,
    /// True where the object has not yet reached its desired state.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub in_progress: Option<String>,
    /// True where the object failed to reach its desired state.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub failed: Option<String>,
    /// True where the object has reached its desired state.
    pub current: String,
}

/// Fields that are left to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IgnoreRule {
    /// JSON pointers (RFC 6901).
    pub paths: Vec<String>,
    /// The objects that the rule is for; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSelector>,
}

/// The observed state of a Kustomization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KustomizationStatus {
    /// The last value of the reconcile request annotation that was acted upon.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_handled_reconcile_at: Option<String>,
    /// The last reconciled generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, Healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last successfully applied revision.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_applied_revision: Option<String>,
    /// The last successfully applied origin revision, of OCI artifacts.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_applied_origin_revision: Option<String>,
    /// The revision of the last attempt.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_attempted_revision: Option<String>,
    /// The objects that have been applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// The last attempts, newest first: at most five, one for each digest and status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Snapshot>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_and_retry_default_to_the_interval() {
        let mut spec = KustomizationSpec {
            interval: Duration::from_mins(10),
            ..Default::default()
        };
        assert_eq!(spec.timeout().to_string(), "9m30s");
        assert_eq!(spec.retry_interval().to_string(), "10m0s");
        spec.interval = Duration::from_secs(5);
        assert_eq!(spec.timeout().to_string(), "30s");
        spec.timeout = Some(Duration::from_secs(90));
        assert_eq!(spec.timeout().to_string(), "1m30s");
    }

    #[test]
    fn deleting_mirrors_prune_by_default() {
        let mut spec = KustomizationSpec::default();
        assert_eq!(spec.deletion_policy(), DeletionPolicy::Orphan);
        spec.prune = true;
        assert_eq!(spec.deletion_policy(), DeletionPolicy::Delete);
        spec.deletion_policy = Some(DeletionPolicy::Orphan);
        assert_eq!(spec.deletion_policy(), DeletionPolicy::Orphan);
    }

    #[test]
    fn an_empty_service_account_is_none() {
        let spec: KustomizationSpec = serde_json::from_value(serde_json::json!({
            "interval": "1m", "prune": false, "serviceAccountName": "",
            "sourceRef": {"kind": "GitRepository", "name": "a", "namespace": ""},
        }))
        .unwrap();
        assert_eq!(spec.service_account_name, None);
        assert_eq!(spec.source_ref.namespace, None);
    }
}
