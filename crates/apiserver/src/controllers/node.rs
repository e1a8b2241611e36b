//! The simulated Nodes, and which of them a Pod may go to.

use serde_json::{Value, json};

use super::cache::Cache;
use super::object::{items, labels, name, stamp};
use super::resource::NODES;
use crate::controllers::selector_matches;

/// How many Nodes a cluster has.
const NODE_COUNT: usize = 2;
const KUBELET_VERSION: &str = "v1.37.0";

/// The Nodes of a cluster, as objects to be created.
pub(crate) fn objects(cluster: &str, now: jiff::Timestamp) -> Vec<Value> {
    (1..=NODE_COUNT)
        .map(|number| {
            let node = format!("{cluster}-node-{number}");
            let address = address(&node, cluster);
            let resources = json!({
                "cpu": "8", "memory": "32Gi", "pods": "1000", "ephemeral-storage": "100Gi",
            });
            json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": node,
                    "labels": {
                        "kubernetes.io/hostname": node,
                        "kubernetes.io/os": "linux",
                        "kubernetes.io/arch": "amd64",
                        "beta.kubernetes.io/os": "linux",
                        "beta.kubernetes.io/arch": "amd64",
                    },
                },
                "spec": {"providerID": format!("simulated://{cluster}/{node}")},
                "status": {
                    "addresses": [
                        {"type": "InternalIP", "address": address},
                        {"type": "Hostname", "address": node},
                    ],
                    "capacity": resources,
                    "allocatable": resources,
                    "conditions": conditions(now),
                    "nodeInfo": {
                        "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "simulated",
                        "osImage": "Fairway simulated node", "containerRuntimeVersion": "simulated://1",
                        "kubeletVersion": KUBELET_VERSION, "kubeProxyVersion": KUBELET_VERSION,
                        "operatingSystem": "linux", "architecture": "amd64",
                    },
                },
            })
        })
        .collect()
}

fn conditions(now: jiff::Timestamp) -> Vec<Value> {
    [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        (
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ]
    .into_iter()
    .map(|(kind, status, reason, message)| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": stamp(now), "lastTransitionTime": stamp(now),
        })
    })
    .collect()
}

/// The address of a Node: its number in the cluster's network.
pub(crate) fn address(node: &str, cluster: &str) -> String {
    let number: u8 = node
        .strip_prefix(cluster)
        .and_then(|rest| rest.strip_prefix("-node-"))
        .and_then(|number| number.parse().ok())
        .unwrap_or(100);
    format!("172.18.0.{}", number.saturating_add(1))
}

/// The Node for a Pod: one that its selector and affinity allow, spread by uid. The error is what the scheduler
/// says where there is none.
pub(crate) fn pick(cache: &Cache, spec: &Value, uid: &str) -> Result<String, String> {
    let mut all = 0;
    let mut fitting = Vec::new();
    let mut closed = 0;
    for node in cache.all(&NODES) {
        all += 1;
        if node["spec"]["unschedulable"] == true {
            closed += 1;
        } else if fits(node, spec) {
            fitting.push(node);
        }
    }
    if fitting.is_empty() {
        let mut reasons = Vec::new();
        if closed > 0 {
            reasons.push(format!("{closed} node(s) were unschedulable"));
        }
        if all > closed {
            reasons.push(format!(
                "{} node(s) didn't match Pod's node affinity/selector",
                all - closed
            ));
        }
        return Err(format!(
            "0/{all} nodes are available: {}.",
            reasons.join(", ")
        ));
    }
    let sum: usize = uid.bytes().map(usize::from).sum();
    Ok(name(fitting[sum % fitting.len()]).to_owned())
}

/// Whether the Node has the labels that the Pod asks for, by selector and by required affinity.
pub(crate) fn fits(node: &Value, spec: &Value) -> bool {
    let selected = spec["nodeSelector"].as_object().is_none_or(|wanted| {
        wanted
            .iter()
            .all(|(key, value)| labels(node).get(key) == Some(value))
    });
    let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    let affine = terms
        .as_array()
        .is_none_or(|terms| terms.iter().any(|term| term_fits(node, term)));
    selected && affine
}

fn term_fits(node: &Value, term: &Value) -> bool {
    let by_name = items(&term["matchFields"]).all(|field| {
        field["key"] == "metadata.name"
            && items(&field["values"]).any(|value| *value == *name(node))
    });
    // Gt and Lt compare numbers; the simulated Nodes have no such labels.
    by_name
        && selector_matches(
            &json!({"matchExpressions": term["matchExpressions"]}),
            labels(node),
        )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::controllers::cache::Key;

    fn cache() -> Cache {
        let mut cache = Cache::default();
        for node in objects("dev", Timestamp::UNIX_EPOCH) {
            cache.put(&Key::of(&NODES, &node), node.into(), Timestamp::UNIX_EPOCH);
        }
        cache
    }

    #[test]
    fn pods_go_where_their_selector_fits() {
        let cache = cache();
        let named = json!({"nodeSelector": {"kubernetes.io/hostname": "dev-node-2"}});
        assert_eq!(pick(&cache, &named, "x"), Ok("dev-node-2".to_owned()));
        let linux = json!({"nodeSelector": {"kubernetes.io/os": "linux"}});
        assert!(pick(&cache, &linux, "x").is_ok());
        let gpu = json!({"nodeSelector": {"gpu": "yes"}});
        assert_eq!(
            pick(&cache, &gpu, "x").unwrap_err(),
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
        );
    }

    #[test]
    fn nodes_have_addresses_of_their_own() {
        assert_eq!(address("dev-node-1", "dev"), "172.18.0.2");
        assert_eq!(address("dev-node-2", "dev"), "172.18.0.3");
    }
}
