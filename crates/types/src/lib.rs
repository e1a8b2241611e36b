//! The API of Fairway: Flux's kinds as they are, and Fairway's own few.
//!
//! ```text
//!   source.toolkit.fluxcd.io/v1      GitRepository ──┐ artifact
//!                                                    ▼
//!   kustomize.toolkit.fluxcd.io/v1   Kustomization ──▶ one cluster (spec.kubeConfig, else the hub)
//!                                          ▲
//!                                          │ one per matching Cluster
//!   fleet.fairway.dev/v1alpha1       FleetKustomization ── clusterSelector ──▶ Cluster (labels)
//!                                                                    └───────▶ ClusterSelector (named rule)
//!                                  Pipeline ◀── Promotion (one attempt) ◀── Approval (one person's word)
//! ```
//!
//! Nothing in this crate does I/O or reads a clock: times come in as arguments. It holds the serde types,
//! the [condition rules](conditions), [inventory ids](inventory) both ways, [Go durations](duration),
//! [label selectors](selector), all well-known [names], and the [CRDs](crds()) themselves.
//!
//! ```
//! use fairway_types::{Kustomization, inventory::ObjectId};
//!
//! let ks: Kustomization = serde_json::from_value(serde_json::json!({
//!     "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
//!     "kind": "Kustomization",
//!     "metadata": {"name": "apps", "namespace": "flux-system"},
//!     "spec": {"interval": "10m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "flux-system"}},
//! })).unwrap();
//! assert_eq!(ks.spec.interval.to_string(), "10m0s");
//!
//! let id: ObjectId = "default_podinfo__Service".parse().unwrap();
//! assert_eq!(id.kind, "Service");
//! ```

pub mod approval;
pub mod check;
pub mod condition;
pub mod crds;
pub mod duration;
pub mod fleet;
pub mod git_repository;
pub mod history;
pub mod inventory;
pub mod kustomization;
pub mod names;
pub mod notification;
pub mod pipeline;
pub mod promotion;
pub mod reference;
pub mod rollout;
pub mod selector;

pub use approval::{Approval, ApprovalSpec};
pub use check::{Check, Evidence, Verdict};
pub use condition::{Condition, ConditionStatus, conditions};
pub use crds::crds;
pub use duration::Duration;
pub use fleet::{
    Cluster, ClusterSelector, ClusterSelectorSpec, ClusterSpec, ClusterStatus, FleetKustomization,
    FleetKustomizationSpec, FleetKustomizationStatus,
};
pub use git_repository::{Artifact, GitRepository, GitRepositorySpec, GitRepositoryStatus};
pub use inventory::{Inventory, InventoryEntry, ObjectId};
pub use kustomization::{Kustomization, KustomizationSpec, KustomizationStatus};
pub use notification::{Alert, AlertSpec, Provider, ProviderSpec};
pub use pipeline::{Pipeline, PipelineSpec, PipelineStatus};
pub use promotion::{Promotion, PromotionSpec, PromotionStatus};
