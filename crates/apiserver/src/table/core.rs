//! Kinds of the core group.

use jiff::Timestamp;
use serde_json::Value;

use super::{Layout, age, items, name, or, pairs, text};

pub(super) fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    Some(match (group, resource) {
        ("", "pods") => &PODS,
        ("", "services") => &SERVICES,
        ("", "configmaps") => &CONFIG_MAPS,
        ("", "secrets") => &SECRETS,
        ("", "namespaces") => &NAMESPACES,
        ("", "nodes") => &NODES,
        ("", "serviceaccounts") => &SERVICE_ACCOUNTS,
        ("", "endpoints") => &ENDPOINTS,
        ("", "persistentvolumeclaims") => &CLAIMS,
        ("", "persistentvolumes") => &VOLUMES,
        ("", "resourcequotas") => &QUOTAS,
        _ => return None,
    })
}

static PODS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Status", "string", false),
        ("Restarts", "string", false),
        ("Age", "string", false),
        ("IP", "string", true),
        ("Node", "string", true),
        ("Nominated Node", "string", true),
        ("Readiness Gates", "string", true),
    ],
    cells: pod,
};

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let statuses = items(pod, "/status/containerStatuses");
    let ready = statuses.iter().filter(|s| s["ready"] == true).count();
    let all = items(pod, "/spec/containers").len();
    let restarts: i64 = statuses
        .iter()
        .filter_map(|s| s["restartCount"].as_i64())
        .sum();
    vec![
        name(pod),
        format!("{ready}/{all}").into(),
        pod_status(pod).into(),
        restarts.to_string().into(),
        age(pod, now),
        or(text(pod, "/status/podIP"), "<none>").into(),
        or(text(pod, "/spec/nodeName"), "<none>").into(),
        or(text(pod, "/status/nominatedNodeName"), "<none>").into(),
        gates(pod).into(),
    ]
}

/// How many of a pod's readiness gates are open.
fn gates(pod: &Value) -> String {
    let gates = items(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates
        .iter()
        .filter(|gate| {
            items(pod, "/status/conditions")
                .iter()
                .any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
        })
        .count();
    format!("{open}/{}", gates.len())
}

/// The phase, or what keeps a container from running.
fn pod_status(pod: &Value) -> String {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".into();
    }
    let mut status = or(
        text(pod, "/status/reason"),
        or(text(pod, "/status/phase"), "Unknown"),
    );
    for container in items(pod, "/status/containerStatuses") {
        let waiting = text(container, "/state/waiting/reason");
        let terminated = text(container, "/state/terminated/reason");
        status = or(waiting, or(terminated, status));
    }
    status.to_owned()
}

static SERVICES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Type", "string", false),
        ("Cluster-IP", "string", false),
        ("External-IP", "string", false),
        ("Port(s)", "string", false),
        ("Age", "string", false),
        ("Selector", "string", true),
    ],
    cells: service,
};

fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    let kind = text(service, "/spec/type");
    let ports: Vec<String> = items(service, "/spec/ports")
        .iter()
        .map(|port| {
            let node = port["nodePort"]
                .as_i64()
                .filter(|n| *n > 0)
                .map(|n| format!(":{n}"))
                .unwrap_or_default();
            format!("{}{node}/{}", port["port"], text(port, "/protocol"))
        })
        .collect();
    vec![
        name(service),
        or(kind, "ClusterIP").into(),
        or(text(service, "/spec/clusterIP"), "<none>").into(),
        external_ip(service, kind).into(),
        or(&ports.join(","), "<none>").into(),
        age(service, now),
        pairs(&service["spec"]["selector"]),
    ]
}

fn external_ip(service: &Value, kind: &str) -> String {
    let mut addresses: Vec<&str> = items(service, "/spec/externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match kind {
        "ExternalName" => return text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            addresses.extend(
                items(service, "/status/loadBalancer/ingress")
                    .iter()
                    .map(|ingress| or(text(ingress, "/ip"), text(ingress, "/hostname"))),
            );
            if addresses.is_empty() {
                return "<pending>".into();
            }
        }
        _ => {}
    }
    or(&addresses.join(","), "<none>").to_owned()
}

fn size(object: &Value, keys: &[&str]) -> Value {
    keys.iter()
        .filter_map(|key| object[key].as_object())
        .map(|map| map.len())
        .sum::<usize>()
        .into()
}

static CONFIG_MAPS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Data", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            size(object, &["data", "binaryData"]),
            age(object, now),
        ]
    },
};

static SECRETS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Type", "string", false),
        ("Data", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/type").into(),
            size(object, &["data"]),
            age(object, now),
        ]
    },
};

static NAMESPACES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/status/phase").into(),
            age(object, now),
        ]
    },
};

static NODES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Roles", "string", false),
        ("Age", "string", false),
        ("Version", "string", false),
        ("Internal-IP", "string", true),
        ("External-IP", "string", true),
        ("OS-Image", "string", true),
        ("Kernel-Version", "string", true),
        ("Container-Runtime", "string", true),
    ],
    cells: node,
};

fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    let ready = items(node, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "Ready")
        .map_or("Unknown", |condition| {
            if condition["status"] == "True" {
                "Ready"
            } else {
                "NotReady"
            }
        });
    let mut status = ready.to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = node["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| -> Value {
        items(node, "/status/addresses")
            .iter()
            .find(|address| address["type"] == kind)
            .map_or("<none>", |address| text(address, "/address"))
            .into()
    };
    let info = |key: &str| -> Value {
        or(text(node, &format!("/status/nodeInfo/{key}")), "<unknown>").into()
    };
    vec![
        name(node),
        status.into(),
        or(&roles.join(","), "<none>").into(),
        age(node, now),
        text(node, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

static SERVICE_ACCOUNTS: Layout = Layout {
    headings: &[("Name", "string", false), ("Age", "string", false)],
    cells: |object, now| vec![name(object), age(object, now)],
};

static ENDPOINTS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Endpoints", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let mut list = Vec::new();
        for subset in items(object, "/subsets") {
            for port in items(subset, "/ports") {
                for address in items(subset, "/addresses") {
                    list.push(format!("{}:{}", text(address, "/ip"), port["port"]));
                }
            }
        }
        let more = list.len().saturating_sub(3);
        list.truncate(3);
        let mut shown = list.join(",");
        if more > 0 {
            shown = format!("{shown} + {more} more...");
        }
        vec![name(object), or(&shown, "<none>").into(), age(object, now)]
    },
};

/// `RWO,ROX` for a list of access modes.
fn access_modes(modes: &[Value]) -> String {
    let mut short: Vec<&str> = modes
        .iter()
        .filter_map(Value::as_str)
        .map(|mode| match mode {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        })
        .collect();
    short.dedup();
    short.join(",")
}

static CLAIMS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Volume", "string", false),
        ("Capacity", "string", false),
        ("Access Modes", "string", false),
        ("StorageClass", "string", false),
        ("VolumeAttributesClass", "string", false),
        ("Age", "string", false),
        ("VolumeMode", "string", true),
    ],
    cells: |object, now| {
        let bound = !text(object, "/spec/volumeName").is_empty();
        let (capacity, modes) = if bound {
            (
                text(object, "/status/capacity/storage").to_owned(),
                access_modes(items(object, "/status/accessModes")),
            )
        } else {
            (String::new(), String::new())
        };
        vec![
            name(object),
            text(object, "/status/phase").into(),
            text(object, "/spec/volumeName").into(),
            capacity.into(),
            modes.into(),
            text(object, "/spec/storageClassName").into(),
            or(text(object, "/spec/volumeAttributesClassName"), "<unset>").into(),
            age(object, now),
            or(text(object, "/spec/volumeMode"), "<unset>").into(),
        ]
    },
};

static VOLUMES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Capacity", "string", false),
        ("Access Modes", "string", false),
        ("Reclaim Policy", "string", false),
        ("Status", "string", false),
        ("Claim", "string", false),
        ("StorageClass", "string", false),
        ("VolumeAttributesClass", "string", false),
        ("Reason", "string", false),
        ("Age", "string", false),
        ("VolumeMode", "string", true),
    ],
    cells: |object, now| {
        let claim = &object["spec"]["claimRef"];
        let claim = if claim.is_object() {
            format!("{}/{}", text(claim, "/namespace"), text(claim, "/name"))
        } else {
            String::new()
        };
        vec![
            name(object),
            text(object, "/spec/capacity/storage").into(),
            access_modes(items(object, "/spec/accessModes")).into(),
            text(object, "/spec/persistentVolumeReclaimPolicy").into(),
            text(object, "/status/phase").into(),
            claim.into(),
            text(object, "/spec/storageClassName").into(),
            or(text(object, "/spec/volumeAttributesClassName"), "<unset>").into(),
            text(object, "/status/reason").into(),
            age(object, now),
            or(text(object, "/spec/volumeMode"), "<unset>").into(),
        ]
    },
};

static QUOTAS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Request", "string", false),
        ("Limit", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (key, hard) in object["status"]["hard"].as_object().into_iter().flatten() {
            let used = &object["status"]["used"][key];
            let line = format!(
                "{key}: {}/{}",
                used.as_str().unwrap_or("0"),
                hard.as_str().unwrap_or_default()
            );
            if key.starts_with("limits") {
                limits.push(line);
            } else {
                requests.push(line);
            }
        }
        vec![
            name(object),
            requests.join(", ").into(),
            limits.join(", ").into(),
            age(object, now),
        ]
    },
};
