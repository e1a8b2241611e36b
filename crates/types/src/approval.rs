//! `Approval`, fleet.fairway.dev/v1alpha1: one person's word on one Promotion.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column says its type"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{LocalObjectReference, non_empty};

/// One person's word on one Promotion. It cannot be changed; the shipped admission policy ties `approver` and `groups` to
/// the caller and asks for the verb `approve` on the Pipeline.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "fleet.fairway.dev",
    version = "v1alpha1",
    kind = "Approval",
    plural = "approvals",
    shortname = "fap",
    category = "fairway",
    namespaced,
    derive = "PartialEq",
    doc = "Approval is one person's word on one Promotion.",
    printcolumn(
        name = "Promotion",
        type_ = "string",
        json_path = ".spec.promotionRef.name"
    ),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf", "message": "an Approval cannot be changed"},
]))]
pub struct ApprovalSpec {
    /// The Promotion, in the same namespace.
    pub promotion_ref: LocalObjectReference,
    /// The Promotion's Pipeline: the admission policy asks whether the caller may approve there, and an Approval that
    /// names another one does not count.
    pub pipeline_ref: LocalObjectReference,
    /// uid of the Promotion; an Approval of another one of the same name does not count.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 64))]
    pub promotion_uid: Option<String>,
    /// Yes or no.
    pub decision: Decision,
    /// Who: the name that the API server knows them by.
    #[schemars(length(min = 1, max = 512))]
    pub approver: String,
    /// The groups that the API server knows them to be in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub groups: Vec<String>,
    /// Why, in their words.
    #[serde(
        default,
        deserialize_with = "non_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No: the Promotion ends.
    Reject,
}

impl Decision {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}
