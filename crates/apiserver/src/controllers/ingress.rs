//! Ingresses: an ingress controller that answers at one address.

use serde_json::json;

use super::cache::Key;
use super::object::is_deleting;
use super::plan::Plan;
use super::resource::INGRESSES;
use super::world::World;

/// The address of the simulated ingress controller.
const ADDRESS: &str = "203.0.113.1";

/// Looks at one Ingress.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    if let Some(ingress) = world.cache.get(key).filter(|ingress| !is_deleting(ingress)) {
        plan.status(
            &INGRESSES,
            ingress,
            json!({"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}),
        );
    }
    plan
}
