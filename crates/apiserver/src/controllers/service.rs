//! Services: endpoints, and load balancers that are none.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cache::Key;
use super::object::{
    condition_holds, controller_reference, is_deleting, items, labels, name, namespace, short_hash,
    uid,
};
use super::plan::Plan;
use super::replica_set::is_active;
use super::resource::{ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES};
use super::selector::map_matches;
use super::world::World;

const MANAGED_BY: &str = "endpointslice-controller.k8s.io";

/// Looks at one Service.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = world.cache.get(key) else {
        return gone(world, key);
    };
    if is_deleting(service) {
        return plan;
    }
    let external = service["spec"]["type"] == "ExternalName";
    let balanced = service["spec"]["type"] == "LoadBalancer";
    let status = if balanced {
        json!({"loadBalancer": {"ingress": [{"ip": balancer_address(uid(service)), "ipMode": "VIP"}]}})
    } else {
        json!({"loadBalancer": {}})
    };
    // Conditions of others stay; only what a real cloud controller would say changes.
    if service["status"]["loadBalancer"] != status["loadBalancer"] {
        plan.status(&SERVICES, service, status);
    }
    // Without a selector somebody else knows the endpoints.
    if !external
        && service["spec"]["selector"]
            .as_object()
            .is_some_and(|selector| !selector.is_empty())
    {
        endpoints(world, service, &mut plan);
    }
    plan
}

/// An address of the network that documents use for examples; the uid decides which.
fn balancer_address(uid: &str) -> String {
    let sum: usize = uid.bytes().map(usize::from).sum();
    format!("203.0.113.{}", sum % 250 + 4)
}

fn endpoints(world: &World<'_>, service: &Value, plan: &mut Plan) {
    let include_unready = service["spec"]["publishNotReadyAddresses"] == true;
    let pods: Vec<&Arc<Value>> = world
        .cache
        .list(&PODS, namespace(service))
        .filter(|pod| is_active(pod) && pod["status"]["podIP"].is_string())
        .filter(|pod| map_matches(&service["spec"]["selector"], labels(pod)))
        .collect();
    let is_ready = |pod: &Value| include_unready || condition_holds(pod, "Ready");
    slice(world, service, &pods, &is_ready, plan);
    legacy(world, service, &pods, &is_ready, plan);
}

fn ports(service: &Value, pods: &[&Arc<Value>]) -> Vec<Value> {
    items(&service["spec"]["ports"])
        .map(|port| {
            let target = &port["targetPort"];
            let number = match target.as_str() {
                Some(named) => pods.first().and_then(|pod| named_port(pod, named)),
                None => target.as_i64(),
            };
            let mut found = json!({
                "name": port["name"].as_str().unwrap_or_default(),
                "port": number.or_else(|| port["port"].as_i64()),
                "protocol": port["protocol"].as_str().unwrap_or("TCP"),
            });
            if let Some(protocol) = port["appProtocol"].as_str() {
                found["appProtocol"] = json!(protocol);
            }
            found
        })
        .collect()
}

fn named_port(pod: &Value, wanted: &str) -> Option<i64> {
    items(&pod["spec"]["containers"])
        .flat_map(|container| items(&container["ports"]))
        .find(|port| port["name"] == wanted)
        .and_then(|port| port["containerPort"].as_i64())
}

fn target(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)})
}

fn slice(
    world: &World<'_>,
    service: &Value,
    pods: &[&Arc<Value>],
    is_ready: &dyn Fn(&Value) -> bool,
    plan: &mut Plan,
) {
    let listed: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let ready = is_ready(pod);
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": target(pod),
            })
        })
        .collect();
    let ports = ports(service, pods);
    let slice_name = format!("{}-{}", name(service), short_hash(&json!(uid(service))));
    match world
        .cache
        .find(&ENDPOINT_SLICES, namespace(service), &slice_name)
    {
        Some(known) => {
            let mut slice = (**known).clone();
            slice["endpoints"] = listed.into();
            slice["ports"] = ports.into();
            if slice != **known {
                plan.replace(&ENDPOINT_SLICES, slice);
            }
        }
        None => plan.create(
            &ENDPOINT_SLICES,
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": slice_name,
                    "namespace": namespace(service),
                    "labels": {
                        "kubernetes.io/service-name": name(service),
                        "endpointslice.kubernetes.io/managed-by": MANAGED_BY,
                    },
                    "ownerReferences": [controller_reference(service)],
                },
                "addressType": "IPv4",
                "endpoints": listed,
                "ports": ports,
            }),
        ),
    }
}

fn legacy(
    world: &World<'_>,
    service: &Value,
    pods: &[&Arc<Value>],
    is_ready: &dyn Fn(&Value) -> bool,
    plan: &mut Plan,
) {
    let (ready, unready): (Vec<&&Arc<Value>>, Vec<&&Arc<Value>>) =
        pods.iter().partition(|pod| is_ready(pod));
    let addresses = |pods: &[&&Arc<Value>]| -> Vec<Value> {
        pods.iter()
            .map(|pod| json!({"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": target(pod)}))
            .collect()
    };
    let mut subset = json!({});
    for (field, pods) in [("addresses", &ready), ("notReadyAddresses", &unready)] {
        if !pods.is_empty() {
            subset[field] = addresses(pods).into();
        }
    }
    let mut ports = ports(service, pods);
    for port in &mut ports {
        if port["name"] == ""
            && let Some(map) = port.as_object_mut()
        {
            map.remove("name");
        }
    }
    let subsets = if pods.is_empty() {
        Value::Null
    } else {
        subset["ports"] = ports.into();
        json!([subset])
    };
    let known = world
        .cache
        .find(&ENDPOINTS, namespace(service), name(service));
    let mut endpoints = known.map_or_else(
        || {
            let mut new = json!({
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {"name": name(service), "namespace": namespace(service)},
            });
            if labels(service).is_object() {
                new["metadata"]["labels"] = labels(service).clone();
            }
            new
        },
        |known| (**known).clone(),
    );
    if let Some(map) = endpoints.as_object_mut() {
        match subsets {
            Value::Null => map.remove("subsets"),
            subsets => map.insert("subsets".to_owned(), subsets),
        };
    }
    match known {
        None => plan.create(&ENDPOINTS, endpoints),
        Some(known) if endpoints != **known => plan.replace(&ENDPOINTS, endpoints),
        Some(_) => {}
    }
}

/// Deletes the Endpoints of a Service that is gone; its slices go with their owner.
fn gone(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    if let Some(endpoints) = world.cache.find(&ENDPOINTS, &key.namespace, &key.name) {
        plan.delete(&ENDPOINTS, endpoints, None);
    }
    plan
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::rig::Rig;

    fn service(kind: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        })
    }

    fn pod(image: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
        })
    }

    #[test]
    fn ready_pods_are_endpoints() {
        let mut rig = Rig::new(SignedDuration::from_secs(1));
        let key = rig.create(&SERVICES, service("ClusterIP"));
        rig.create(&PODS, pod("nginx:1"));
        rig.run();
        let slice = |rig: &Rig| {
            rig.cache
                .list(&ENDPOINT_SLICES, "default")
                .next()
                .map(|slice| (**slice).clone())
        };
        assert_eq!(
            slice(&rig).unwrap()["endpoints"][0]["conditions"]["ready"],
            false
        );
        rig.pass(SignedDuration::from_secs(1));
        assert_eq!(
            slice(&rig).unwrap()["endpoints"][0]["conditions"]["ready"],
            true
        );
        assert_eq!(slice(&rig).unwrap()["ports"][0]["port"], 8080);
        let endpoints = rig.cache.find(&ENDPOINTS, "default", "web").unwrap();
        assert!(endpoints["subsets"][0]["addresses"][0]["ip"].is_string());
        rig.delete(&key, None);
        rig.run();
        assert!(slice(&rig).is_none());
        assert!(rig.cache.find(&ENDPOINTS, "default", "web").is_none());
    }

    #[test]
    fn load_balancers_get_an_address() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(&SERVICES, service("LoadBalancer"));
        rig.run();
        let address = rig.get(&key)["status"]["loadBalancer"]["ingress"][0]["ip"]
            .as_str()
            .unwrap();
        assert!(address.starts_with("203.0.113."), "{address}");
    }
}
