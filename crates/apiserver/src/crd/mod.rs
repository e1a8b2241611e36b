//! CustomResourceDefinitions: from an object to a served resource.

mod definitions;
mod expressions;
mod finalize;
mod path;
mod register;
mod rule;
mod rules;
mod shape;

pub(crate) use expressions::Rules;
pub(crate) use finalize::run;
pub(crate) use register::{load, register};
pub(crate) use rules::{begin, establish, validate};

use crate::store::{GroupResource, Store};
use crate::writer::is_deleting;

/// The group of CRDs.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// The plural name of CRDs.
pub(crate) const RESOURCE: &str = "customresourcedefinitions";
/// Holds a CRD until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether the CRD behind a resource is being deleted: nothing new may come into being.
pub(crate) fn is_terminating(store: &Store, defined: &GroupResource) -> bool {
    let name = format!("{}.{}", defined.resource, defined.group);
    store
        .get(&GroupResource::new(GROUP, RESOURCE), "", &name)
        .is_some_and(|crd| is_deleting(&crd))
}
