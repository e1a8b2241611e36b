//! CustomResourceDefinitions: from an object to a served resource.

mod finalize;
mod register;
mod rules;

pub(crate) use finalize::run;
pub(crate) use register::{load, register};
pub(crate) use rules::{establish, validate};

/// The group of CRDs.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// The plural name of CRDs.
pub(crate) const RESOURCE: &str = "customresourcedefinitions";
/// Holds a CRD until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
