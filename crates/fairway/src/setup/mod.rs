//! Preparing clusters: the resource definitions and accounts of a management cluster, and the registration of a workload cluster.

mod hub;
mod objects;
mod workload;

pub(crate) use hub::{controller_access, flux_definitions, hub_objects, install};
pub(crate) use objects::{api_for, apply, apply_missing, documents};
pub(crate) use workload::{Credentials, Registration, cluster_object, kubeconfig_secret, prepare};
