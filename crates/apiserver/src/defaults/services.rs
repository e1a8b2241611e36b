//! Services: types, ports, addresses.

use serde_json::{Value, json};

use super::{each, set, top};
use crate::writer::random;

pub(super) fn service(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    top(spec, "type", json!("ClusterIP"));
    top(spec, "sessionAffinity", json!("None"));
    if spec["sessionAffinity"] == "ClientIP" {
        top(
            spec,
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        );
    }
    for port in each(spec, "/ports") {
        top(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        let target = &port["targetPort"];
        if target.is_null() || *target == 0 || target == "" {
            port["targetPort"] = number;
        }
    }
    if spec["type"] != "ExternalName" {
        top(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        top(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if spec["type"] == "LoadBalancer" {
        top(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

/// Addresses and ports of the cluster.
pub(super) fn allocate(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    if spec["type"] != "ExternalName" {
        top(spec, "ipFamilyPolicy", json!("SingleStack"));
        top(spec, "ipFamilies", json!(["IPv4"]));
        top(spec, "clusterIP", json!(cluster_ip()));
        let address = spec["clusterIP"].clone();
        top(spec, "clusterIPs", json!([address]));
    }
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        for port in each(spec, "/ports") {
            if port["nodePort"] == 0 {
                port["nodePort"] = Value::Null;
            }
            top(port, "nodePort", json!(node_port()));
        }
    }
}

/// An address of 10.96.0.0/12, the usual range of Services. Random: a simulated cluster routes nothing.
fn cluster_ip() -> String {
    let [a, b, c] = random::<3>();
    format!("10.{}.{b}.{}", 96 + (a & 15), c.clamp(1, 254))
}

fn node_port() -> u16 {
    30_000 + u16::from_be_bytes(random::<2>()) % 2768
}

/// A Service that is no longer reached from outside keeps nothing of that, unless the update says so anew.
pub(super) fn drop_of_type(current: &Value, object: &mut Value) {
    let outside = |service: &Value| {
        matches!(
            service["spec"]["type"].as_str(),
            Some("NodePort" | "LoadBalancer")
        )
    };
    if !outside(current) || outside(object) {
        return;
    }
    for key in [
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
    ] {
        let same = object["spec"].get(key) == current["spec"].get(key);
        if let Some(spec) = object["spec"].as_object_mut().filter(|_| same) {
            spec.remove(key);
        }
    }
    let taken: Vec<Value> = current["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| port["nodePort"].clone())
        .collect();
    for port in each(object, "/spec/ports") {
        let known = port
            .get("nodePort")
            .is_some_and(|port| taken.contains(port));
        if let Some(port) = port.as_object_mut().filter(|_| known) {
            port.remove("nodePort");
        }
    }
}

/// What was allocated at creation stays with the Service when an update leaves it out.
pub(super) fn carry_over(current: &Value, object: &mut Value) {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    if external(object) || external(current) {
        return;
    }
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = current["spec"].get(key) {
            set(object, "spec", key, value.clone());
        }
    }
    let known = current["spec"]["ports"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let wants_node_ports = matches!(
        object["spec"]["type"].as_str(),
        Some("NodePort" | "LoadBalancer")
    );
    for port in each(object, "/spec/ports") {
        let same = known
            .iter()
            .find(|old| old["port"] == port["port"] && old["name"] == port["name"]);
        if let Some(old) = same
            && wants_node_ports
            && !old["nodePort"].is_null()
        {
            top(port, "nodePort", old["nodePort"].clone());
        }
    }
}
