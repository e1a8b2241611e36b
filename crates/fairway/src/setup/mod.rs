//! Preparing clusters: what `fairway install` applies to a management cluster, and the registration of a workload cluster.

mod flux;
mod hub;
mod objects;
mod rollout;
mod workload;

pub(crate) use flux::{RunningFlux, has_flux_objects, is_ours, leases};
pub(crate) use hub::{
    CONTROLLER, FAIRWAY, Installation, PART_OF, controller_access, definitions, flux_definitions,
    is_of_flux, prepare_hub,
};
pub(crate) use objects::{
    Change, api_for, apply, apply_as_person, apply_missing, apply_one, documents, live, subject,
};
pub(crate) use rollout::wait_for_rollout;
pub(crate) use workload::{Credentials, Registration, cluster_object, kubeconfig_secret, prepare};
