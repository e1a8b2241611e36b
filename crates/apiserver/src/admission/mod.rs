//! What the API server itself decides about writes beyond the rules of their kinds: priorities, limit ranges, policies,
//! quotas.

mod limits;
mod policy;
mod quota;

use serde_json::{Value, json};

pub(crate) use policy::{Attempt, Compiler, Policies, Wanted, review};
pub(crate) use quota::Quotas;

use crate::resources::{Origin, Resource};
use crate::status::ApiError;
use crate::store::{GroupResource, Store};
use crate::writer::names;

/// Fills in and checks what other objects of the cluster say about a new one.
pub(crate) fn admit(
    store: &Store,
    resource: &Resource,
    object: &mut Value,
) -> Result<(), ApiError> {
    if resource.origin != Origin::Builtin {
        return Ok(());
    }
    if resource.is("", "pods") {
        priority(store, resource, object)?;
    }
    limits::admit(store, resource, object)
}

/// A pod's priority is that of its class, or of the class that is the default.
fn priority(store: &Store, resource: &Resource, pod: &mut Value) -> Result<(), ApiError> {
    let classes = GroupResource::new("scheduling.k8s.io", "priorityclasses");
    let (_, name) = names(pod);
    let name = name.to_owned();
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else {
        return Ok(());
    };
    let wanted = spec["priorityClassName"]
        .as_str()
        .filter(|class| !class.is_empty())
        .map(str::to_owned);
    let class = match &wanted {
        Some(wanted) => match (wanted.as_str(), store.get(&classes, "", wanted)) {
            (_, Some(class)) => Some((*class).clone()),
            ("system-cluster-critical", None) => Some(json!({"value": 2_000_000_000})),
            ("system-node-critical", None) => Some(json!({"value": 2_000_001_000})),
            (_, None) => {
                return Err(ApiError::forbidden(
                    &resource.id,
                    &name,
                    &format!("no PriorityClass with name {wanted} was found"),
                ));
            }
        },
        None => store
            .list(&classes, None)
            .items
            .iter()
            .find(|class| class["globalDefault"] == true)
            .map(|class| (**class).clone()),
    };
    if let Some(class) = class {
        spec["priority"] = class["value"].clone();
        if wanted.is_none() {
            spec["priorityClassName"] = class["metadata"]["name"].clone();
        }
        if class["preemptionPolicy"].is_string() {
            spec["preemptionPolicy"] = class["preemptionPolicy"].clone();
        }
    }
    Ok(())
}
