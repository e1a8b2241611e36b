//! The values that the API server fills in where a manifest is silent.
//!
//! Every function only adds what is missing, so filling in twice changes nothing, and a second apply of the same
//! manifest is no change.

mod pods;
mod services;
mod workloads;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::controllers::Quantity;
use crate::resources::{Origin, Resource};

/// Fills in the defaults of an object's kind.
pub(crate) fn fill(resource: &Resource, object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry("apiVersion")
            .or_insert_with(|| resource.storage_api_version().into());
        map.entry("kind")
            .or_insert_with(|| resource.kind.clone().into());
    }
    if resource.origin != Origin::Builtin {
        return;
    }
    match (&*resource.id.group, &*resource.id.resource) {
        ("apps", "deployments") => workloads::deployment(object),
        ("apps", "replicasets") => workloads::replica_set(object),
        ("apps", "statefulsets") => workloads::stateful_set(object),
        ("apps", "daemonsets") => workloads::daemon_set(object),
        ("", "replicationcontrollers") => workloads::replication_controller(object),
        ("", "podtemplates") => {
            if let Some(template) = object.get_mut("template") {
                pods::template(template);
            }
        }
        ("", "endpoints") => {
            for subset in each(object, "/subsets") {
                for port in each(subset, "/ports") {
                    top(port, "protocol", json!("TCP"));
                }
            }
        }
        ("discovery.k8s.io", "endpointslices") => {
            for port in each(object, "/ports") {
                top(port, "name", json!(""));
                top(port, "protocol", json!("TCP"));
            }
            for endpoint in each(object, "/endpoints") {
                top(endpoint, "conditions", json!({}));
            }
        }
        ("", "limitranges") => limit_range(object),
        ("storage.k8s.io", "csidrivers") => csi_driver(object),
        ("batch", "jobs") => workloads::job(object),
        ("batch", "cronjobs") => workloads::cron_job(object),
        ("", "pods") => pods::pod(object),
        ("", "services") => services::service(object),
        ("", "secrets") => secret(object),
        ("", "namespaces") => namespace(object),
        ("", "persistentvolumeclaims") => claim(object),
        ("", "persistentvolumes") => {
            set(
                object,
                "spec",
                "persistentVolumeReclaimPolicy",
                json!("Retain"),
            );
            set(object, "spec", "volumeMode", json!("Filesystem"));
            set(&mut object["spec"], "hostPath", "type", json!(""));
        }
        ("", "configmaps") => drop_empty(object, &["data", "binaryData"]),
        ("networking.k8s.io", "networkpolicies") => network_policy(object),
        ("rbac.authorization.k8s.io", _) => rbac(object),
        ("autoscaling", "horizontalpodautoscalers") => {
            set(object, "spec", "minReplicas", json!(1));
            set(
                object,
                "spec",
                "metrics",
                json!([{
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 80},
                    },
                }]),
            );
        }
        ("storage.k8s.io", "storageclasses") => {
            top(object, "reclaimPolicy", json!("Delete"));
            top(object, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "priorityclasses") => {
            if let Some(map) = object.as_object_mut()
                && map.get("globalDefault") == Some(&json!(false))
            {
                map.remove("globalDefault");
            }
            top(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd(object),
        ("admissionregistration.k8s.io", _) => {
            if object["webhooks"].as_array().is_some_and(Vec::is_empty)
                && let Some(map) = object.as_object_mut()
            {
                map.remove("webhooks");
            }
            webhooks(object);
            policies(object);
        }
        _ => {}
    }
}

/// Gives an object what only the server can know: addresses, names of its own, the first status. Nobody owns these
/// fields, so it is called after ownership is settled.
pub(crate) fn allocate(resource: &Resource, object: &mut Value, accounts: bool) {
    if resource.origin != Origin::Builtin {
        return;
    }
    match (&*resource.id.group, &*resource.id.resource) {
        ("", "services") => services::allocate(object),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            top(object, "status", json!({}));
        }
        ("", "namespaces") => namespace_content(object),
        ("", "pods") => pods::admit(object, accounts),
        ("", "events") => {
            for key in ["reportingComponent", "reportingInstance"] {
                top(object, key, json!(""));
            }
            for key in ["eventTime", "firstTimestamp", "lastTimestamp"] {
                if let Some(map) = object.as_object_mut() {
                    map.entry(key).or_insert(Value::Null);
                }
            }
        }
        ("batch", "jobs") => workloads::allocate_job(object),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => {
            if let Some(map) = object.as_object_mut() {
                map.entry("rules").or_insert(Value::Null);
            }
        }
        _ => {}
    }
    if resource.is("", "persistentvolumes") && object.pointer("/status/phase").is_none() {
        object["status"] = json!({"phase": "Pending"});
    }
    if let Some(status) = first_status(resource) {
        top(object, "status", status);
    }
}

/// The status of a new object: Go writes the zeros of its fields.
fn first_status(resource: &Resource) -> Option<Value> {
    Some(match (&*resource.id.group, &*resource.id.resource) {
        ("apps", "deployments") | ("batch", _) | ("", "resourcequotas") => json!({}),
        ("apps", "replicasets") | ("", "replicationcontrollers") => json!({"replicas": 0}),
        ("apps", "statefulsets") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "daemonsets") => json!({
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }),
        ("", "services") | ("networking.k8s.io", "ingresses") => json!({"loadBalancer": {}}),
        ("policy", "poddisruptionbudgets") => json!({
            "disruptionsAllowed": 0,
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
        }),
        ("autoscaling", "horizontalpodautoscalers") => {
            json!({"desiredReplicas": 0, "currentMetrics": null})
        }
        _ => return None,
    })
}

/// Conditions of built-in kinds always tell their times, be they unknown: so Go writes them.
pub(crate) fn condition_times(resource: &Resource, object: &mut Value) {
    let keys: &[&str] = match (&*resource.id.group, &*resource.id.resource) {
        ("apps", "deployments") => &["lastTransitionTime", "lastUpdateTime"],
        ("apps" | "autoscaling", _) | ("", "namespaces") => &["lastTransitionTime"],
        ("", "pods") | ("batch", "jobs") => &["lastProbeTime", "lastTransitionTime"],
        _ => return,
    };
    for condition in each(object, "/status/conditions") {
        if let Some(map) = condition.as_object_mut() {
            for key in keys {
                map.entry(*key).or_insert(Value::Null);
            }
        }
    }
    // The two forms of one field.
    if resource.is("", "pods")
        && let Some(address) = object["status"]["podIP"].as_str().map(str::to_owned)
        && !object["status"]["podIPs"].is_array()
    {
        object["status"]["podIPs"] = json!([{"ip": address}]);
    }
}

/// Drops what goes with a type that an object no longer has. Whoever owned it still does.
pub(crate) fn settle(resource: &Resource, current: &Value, object: &mut Value) {
    if resource.is("", "services") {
        services::drop_of_type(current, object);
    }
}

/// Takes over what the server allocated and an update leaves out.
pub(crate) fn carry_over(resource: &Resource, current: &Value, object: &mut Value) {
    if resource.origin != Origin::Builtin {
        return;
    }
    match (&*resource.id.group, &*resource.id.resource) {
        ("", "services") => services::carry_over(current, object),
        ("batch", "jobs") => workloads::carry_over_job(current, object),
        ("apps", "daemonsets") => workloads::carry_over_daemon_set(current, object),
        ("", "namespaces") if !object["spec"]["finalizers"].is_array() => {
            object["spec"] = current["spec"].clone();
        }
        _ => {}
    }
}

/// Sets a field at the top of an object if it is missing.
fn top(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        missing(map, key, value);
    }
}

/// Sets a field of a nested object if it is missing; nothing happens where the nested object is missing.
fn set(object: &mut Value, within: &str, key: &str, value: Value) {
    if let Some(map) = object.get_mut(within).and_then(Value::as_object_mut) {
        missing(map, key, value);
    }
}

fn missing(map: &mut Map<String, Value>, key: &str, value: Value) {
    let absent = map
        .get(key)
        .is_none_or(|found| found.is_null() || (found == "" && value.is_string()));
    if absent {
        map.insert(key.to_owned(), value);
    }
}

/// The items of a list somewhere below an object, if it is there.
fn each<'v>(object: &'v mut Value, pointer: &str) -> impl Iterator<Item = &'v mut Value> {
    object
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Writes the quantities in a map as Kubernetes writes them: `1000m` is `1`.
fn canonical(object: &mut Value, key: &str) {
    for value in object
        .get_mut(key)
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|map| map.values_mut())
    {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        if let Some(quantity) = Quantity::parse(&text) {
            *value = quantity.to_string().into();
        }
    }
}

fn drop_empty(object: &mut Value, keys: &[&str]) {
    if let Some(map) = object.as_object_mut() {
        for key in keys {
            if map
                .get(*key)
                .and_then(Value::as_object)
                .is_some_and(Map::is_empty)
            {
                map.remove(*key);
            }
        }
    }
}

fn secret(object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    // Write-only: what is in it lands, encoded, in `data`.
    if let Some(Value::Object(plain)) = map.remove("stringData")
        && !plain.is_empty()
    {
        let data = map.entry("data").or_insert_with(|| json!({}));
        if !data.is_object() {
            *data = json!({});
        }
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data[key] = BASE64.encode(text).into();
        }
    }
    missing(map, "type", json!("Opaque"));
    drop_empty(object, &["data"]);
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}

fn namespace_content(object: &mut Value) {
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
    // Only at the beginning: later an empty list means that the namespace may go.
    if object.pointer("/status/phase").is_none() {
        let mut list = object["spec"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if !list.contains(&json!("kubernetes")) {
            list.push(json!("kubernetes"));
        }
        object["spec"]["finalizers"] = list.into();
        object["status"] = json!({"phase": "Active"});
    }
}

/// Bounds of containers are defaults too: what may be asked for at most is what is given.
fn limit_range(object: &mut Value) {
    for limit in each(object, "/spec/limits") {
        if limit["type"] != "Container" {
            continue;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            for (key, value) in limit[from].as_object().cloned().into_iter().flatten() {
                if limit[to][&key].is_null() {
                    limit[to][&key] = value;
                }
            }
        }
    }
}

fn csi_driver(object: &mut Value) {
    for (key, value) in [
        ("attachRequired", json!(true)),
        ("podInfoOnMount", json!(false)),
        ("storageCapacity", json!(false)),
        ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
        ("volumeLifecycleModes", json!(["Persistent"])),
        ("requiresRepublish", json!(false)),
        ("seLinuxMount", json!(false)),
    ] {
        set(object, "spec", key, value);
    }
}

fn claim(object: &mut Value) {
    set(object, "spec", "volumeMode", json!("Filesystem"));
    if object.pointer("/status/phase").is_none() {
        object["status"] = json!({"phase": "Pending"});
    }
}

fn network_policy(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let mut types = vec!["Ingress"];
    if spec
        .get("egress")
        .and_then(Value::as_array)
        .is_some_and(|rules| !rules.is_empty())
    {
        types.push("Egress");
    }
    missing(spec, "policyTypes", json!(types));
    missing(spec, "podSelector", json!({}));
    for direction in ["ingress", "egress"] {
        for rule in spec
            .get_mut(direction)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for port in each(rule, "/ports") {
                top(port, "protocol", json!("TCP"));
            }
        }
    }
}

fn rbac(object: &mut Value) {
    let role = matches!(object["kind"].as_str(), Some("Role" | "ClusterRole"));
    if role && object["rules"].as_array().is_some_and(Vec::is_empty) {
        object["rules"] = Value::Null;
    }
    set(
        object,
        "roleRef",
        "apiGroup",
        json!("rbac.authorization.k8s.io"),
    );
    for subject in each(object, "/subjects") {
        let group = if subject["kind"] == "ServiceAccount" {
            ""
        } else {
            "rbac.authorization.k8s.io"
        };
        if !group.is_empty() {
            top(subject, "apiGroup", json!(group));
        }
    }
}

fn crd(object: &mut Value) {
    let kind = object["spec"]["names"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if let Some(names) = object
        .pointer_mut("/spec/names")
        .and_then(Value::as_object_mut)
    {
        missing(names, "singular", json!(kind.to_lowercase()));
        missing(names, "listKind", json!(format!("{kind}List")));
    }
    set(object, "spec", "conversion", json!({"strategy": "None"}));
}

fn policies(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default();
    let place = match kind {
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            set(object, "spec", "failurePolicy", json!("Fail"));
            "/spec/matchConstraints"
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            "/spec/matchResources"
        }
        _ => return,
    };
    let Some(constraints) = object.pointer_mut(place).filter(|value| value.is_object()) else {
        return;
    };
    top(constraints, "matchPolicy", json!("Equivalent"));
    top(constraints, "namespaceSelector", json!({}));
    top(constraints, "objectSelector", json!({}));
    for key in ["/resourceRules", "/excludeResourceRules"] {
        for rule in each(constraints, key) {
            top(rule, "scope", json!("*"));
        }
    }
}

fn webhooks(object: &mut Value) {
    for webhook in each(object, "/webhooks") {
        for (key, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            top(webhook, key, value);
        }
        if let Some(client) = webhook.get_mut("clientConfig") {
            set(client, "service", "port", json!(443));
        }
        for rule in each(webhook, "/rules") {
            top(rule, "scope", json!("*"));
        }
    }
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    if mutating {
        for webhook in each(object, "/webhooks") {
            top(webhook, "reinvocationPolicy", json!("Never"));
        }
    }
}
