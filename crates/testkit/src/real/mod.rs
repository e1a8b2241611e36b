//! Real peers: kube-apiserver with etcd, kube-controller-manager, Flux's kustomize-controller and its `flux` command,
//! as `cargo xtask envtest` builds them, or as `KUBEBUILDER_ASSETS` names them.
//!
//! ```text
//!   Assets ── which programs there are
//!   ControlPlane ── one cluster; several share an etcd, each below a prefix of its own
//!    ├─ restart, further accounts by TokenRequest, RBAC as in any cluster
//!    ├─ kube-controller-manager, where asked for: garbage collection, namespaces, workloads
//!    └─ Kubelet ── says of every Pod that it runs
//!   Clusters ── several control planes by name
//!   KustomizeController ── Flux's own, as a process
//!   SourceStandIn ── in the place of Flux's source-controller: Git in, artifacts out
//!   FluxCommand ── the `flux` command
//! ```
//!
//! Without a controller manager namespaces stay `Terminating`, nothing is garbage collected and no workload starts; what
//! the API server itself does is all there.

mod assets;
mod clusters;
mod control_plane;
mod flux;
mod kubelet;
mod programs;
mod source;

pub use assets::{Assets, Program};
pub use clusters::Clusters;
pub use control_plane::{ControlPlane, Etcd, Settings};
pub use flux::{FluxCommand, KustomizeController, install_flux_kinds};
pub use kubelet::Kubelet;
pub use source::SourceStandIn;
