//! ResourceQuotas: what a namespace uses of what it may. They are reported, not enforced.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::cache::{Cache, Key};
use super::object::{is_deleting, items};
use super::plan::Plan;
use super::quantity::Quantity;
use super::replica_set::is_active;
use super::resource::{CLAIMS, CONFIG_MAPS, PODS, QUOTAS, SECRETS, SERVICES};
use super::world::World;
use crate::store::GroupResource;

/// Whether objects of the resource can count towards a quota at all.
pub(crate) fn counts(resource: &GroupResource) -> bool {
    !matches!(
        &*resource.resource,
        "events" | "leases" | "endpoints" | "endpointslices" | "controllerrevisions"
    )
}

/// Looks at one quota.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(quota) = world.cache.get(key).filter(|quota| !is_deleting(quota)) else {
        return plan;
    };
    let hard = &quota["spec"]["hard"];
    let used: Map<String, Value> = hard
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| {
            (
                name.clone(),
                json!(used(world.cache, &key.namespace, name).to_string()),
            )
        })
        .collect();
    plan.status(&QUOTAS, quota, json!({"hard": hard, "used": used}));
    plan
}

fn used(cache: &Cache, namespace: &str, name: &str) -> Quantity {
    let number_of =
        |resource: &GroupResource| Quantity::whole(cache.list(resource, namespace).count());
    let pods = || cache.list(&PODS, namespace).filter(|pod| is_active(pod));
    let services = |kind: &str| {
        cache
            .list(&SERVICES, namespace)
            .filter(|service| service["spec"]["type"] == kind)
            .count()
    };
    match name {
        "pods" => Quantity::whole(pods().count()),
        "services" => number_of(&SERVICES),
        "services.loadbalancers" => Quantity::whole(services("LoadBalancer")),
        "services.nodeports" => Quantity::whole(services("NodePort") + services("LoadBalancer")),
        "configmaps" => number_of(&CONFIG_MAPS),
        "secrets" => number_of(&SECRETS),
        "persistentvolumeclaims" => number_of(&CLAIMS),
        "requests.storage" => cache
            .list(&CLAIMS, namespace)
            .filter_map(|claim| quantity(&claim["spec"]["resources"]["requests"]["storage"]))
            .fold(Quantity::default(), Quantity::add),
        "cpu" | "memory" | "ephemeral-storage" => of_pods(pods(), "requests", name),
        _ => {
            if let Some(counted) = name.strip_prefix("count/") {
                let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
                return number_of(&GroupResource::new(group, resource));
            }
            match name.split_once('.') {
                Some((kind @ ("requests" | "limits"), what)) => of_pods(pods(), kind, what),
                _ => Quantity::default(),
            }
        }
    }
}

fn of_pods<'a>(pods: impl Iterator<Item = &'a Arc<Value>>, kind: &str, what: &str) -> Quantity {
    pods.flat_map(|pod| items(&pod["spec"]["containers"]))
        .filter_map(|container| {
            let resources = &container["resources"];
            // A limit without a request is its own request.
            quantity(&resources[kind][what]).or_else(|| {
                (kind == "requests")
                    .then(|| quantity(&resources["limits"][what]))
                    .flatten()
            })
        })
        .fold(Quantity::default(), Quantity::add)
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::rig::Rig;

    #[test]
    fn usage_follows_the_content() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(
            &QUOTAS,
            json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
                "spec": {"hard": {"pods": "10", "requests.cpu": "2", "limits.memory": "1Gi", "count/secrets": "5", "configmaps": "9"}},
            }),
        );
        let pod = rig.create(
            &PODS,
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c", "image": "c:1", "resources": {
                    "requests": {"cpu": "250m"}, "limits": {"memory": "256Mi"}}}]},
            }),
        );
        rig.run();
        let used = json!({
            "pods": "1", "requests.cpu": "250m", "limits.memory": "256Mi", "count/secrets": "0", "configmaps": "1",
        });
        assert_eq!(rig.get(&key)["status"]["used"], used);
        rig.delete(&pod, None);
        rig.run();
        assert_eq!(rig.get(&key)["status"]["used"]["pods"], "0");
    }
}
