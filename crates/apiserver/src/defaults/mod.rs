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
        ("", "replicationcontrollers") => workloads::replica_set(object),
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
        }
        ("", "configmaps") => drop_empty(object, &["data", "binaryData"]),
        ("", "events") => {
            for key in ["reportingComponent", "reportingInstance"] {
                top(object, key, json!(""));
            }
        }
        ("networking.k8s.io", "networkpolicies") => network_policy(object),
        ("rbac.authorization.k8s.io", _) => rbac(object),
        ("autoscaling", "horizontalpodautoscalers") => {
            set(object, "spec", "minReplicas", json!(1));
        }
        ("storage.k8s.io", "storageclasses") => {
            top(object, "reclaimPolicy", json!("Delete"));
            top(object, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "priorityclasses") => {
            top(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd(object),
        ("admissionregistration.k8s.io", _) => webhooks(object),
        _ => {}
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
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
    // Only at the beginning: later an empty list means that the namespace may go.
    if object.pointer("/status/phase").is_none() {
        set(object, "spec", "finalizers", json!(["kubernetes"]));
        object["status"] = json!({"phase": "Active"});
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
            for port in rule["ports"].as_array_mut().into_iter().flatten() {
                top(port, "protocol", json!("TCP"));
            }
        }
    }
}

fn rbac(object: &mut Value) {
    set(
        object,
        "roleRef",
        "apiGroup",
        json!("rbac.authorization.k8s.io"),
    );
    for subject in object["subjects"].as_array_mut().into_iter().flatten() {
        let group = if subject["kind"] == "ServiceAccount" {
            ""
        } else {
            "rbac.authorization.k8s.io"
        };
        if !group.is_empty() {
            top(subject, "apiGroup", json!(group));
        }
    }
    if object.get("subjects").is_some_and(Value::is_null)
        && let Some(map) = object.as_object_mut()
    {
        map.remove("subjects");
    }
}

fn crd(object: &mut Value) {
    let kind = object["spec"]["names"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if let Some(names) = object["spec"]["names"].as_object_mut() {
        missing(names, "singular", json!(kind.to_lowercase()));
        missing(names, "listKind", json!(format!("{kind}List")));
    }
    set(object, "spec", "conversion", json!({"strategy": "None"}));
}

fn webhooks(object: &mut Value) {
    for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
        for (key, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            top(webhook, key, value);
        }
        set(&mut webhook["clientConfig"], "service", "port", json!(443));
        for rule in webhook["rules"].as_array_mut().into_iter().flatten() {
            top(rule, "scope", json!("*"));
        }
    }
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    if mutating {
        for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
            top(webhook, "reinvocationPolicy", json!("Never"));
        }
    }
}
