//! Pods and pod templates.

use serde_json::{Value, json};

use super::{each, set, top};

pub(super) fn pod(pod: &mut Value) {
    if let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) {
        pod_spec(spec);
        top(spec, "enableServiceLinks", json!(true));
        for list in ["/initContainers", "/containers"] {
            for container in each(spec, list) {
                request_limits(container);
            }
        }
    }
}

/// What admission adds to a pod: the account that it runs as and its priority.
pub(super) fn admit(pod: &mut Value, accounts: bool) {
    let is_new = pod.pointer("/status/phase").is_none();
    if let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) {
        if accounts && !spec["serviceAccountName"].is_string() {
            spec["serviceAccountName"] = json!("default");
        }
        let account = spec["serviceAccountName"].clone();
        if account.is_string() {
            top(spec, "serviceAccount", account);
        }
        if is_new {
            tolerate(spec);
        }
        top(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
        top(spec, "priority", json!(0));
    }
    if pod.pointer("/status/phase").is_none() {
        pod["status"] = json!({"phase": "Pending", "qosClass": quality(&pod["spec"])});
    }
}

/// A Node that is in trouble keeps its pods for five minutes.
fn tolerate(spec: &mut Value) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    let Some(list) = spec["tolerations"].as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = list.iter().any(|toleration| {
            let of = |field: &str| toleration[field].as_str().unwrap_or_default();
            (of("key") == key || of("key").is_empty()) && matches!(of("effect"), "NoExecute" | "")
        });
        if !tolerated {
            list.push(json!({
                "effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300,
            }));
        }
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by what the containers ask for.
fn quality(spec: &Value) -> &'static str {
    crate::controllers::quality(spec)
}

/// What a pod template gets.
pub(super) fn template(template: &mut Value) {
    if !template.is_object() {
        return;
    }
    if let Some(spec) = template.get_mut("spec").filter(|spec| spec.is_object()) {
        pod_spec(spec);
    }
    // As the API server shows it: templates have metadata of their own.
    if let Some(meta) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("creationTimestamp");
    }
}

fn pod_spec(spec: &mut Value) {
    top(spec, "restartPolicy", json!("Always"));
    top(spec, "dnsPolicy", json!("ClusterFirst"));
    top(spec, "terminationGracePeriodSeconds", json!(30));
    top(spec, "securityContext", json!({}));
    top(spec, "schedulerName", json!("default-scheduler"));
    // The two names of one field.
    if let Some(name) = spec
        .get("serviceAccountName")
        .filter(|n| n.is_string())
        .cloned()
    {
        spec["serviceAccount"] = name;
    } else if let Some(name) = spec
        .get("serviceAccount")
        .filter(|n| n.is_string())
        .cloned()
    {
        spec["serviceAccountName"] = name;
    }
    for list in ["/initContainers", "/containers"] {
        for container in each(spec, list) {
            self::container(container);
        }
    }
    for volume in each(spec, "/volumes") {
        self::volume(volume);
    }
    for constraint in each(spec, "/topologySpreadConstraints") {
        top(constraint, "whenUnsatisfiable", json!("DoNotSchedule"));
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    top(container, "imagePullPolicy", json!(policy));
    top(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    top(container, "terminationMessagePolicy", json!("File"));
    top(container, "resources", json!({}));
    for kind in ["requests", "limits"] {
        super::canonical(&mut container["resources"], kind);
    }
    for port in each(container, "/ports") {
        top(port, "protocol", json!("TCP"));
    }
    for variable in each(container, "/env") {
        if let Some(from) = variable.get_mut("valueFrom") {
            set(from, "fieldRef", "apiVersion", json!("v1"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            self::probe(probe);
        }
    }
}

/// A limit without a request is also the request: of pods, not of their templates.
fn request_limits(container: &mut Value) {
    let limits = container
        .pointer("/resources/limits")
        .and_then(Value::as_object)
        .filter(|limits| !limits.is_empty())
        .cloned();
    if let (Some(limits), Some(resources)) = (limits, container.get_mut("resources")) {
        top(resources, "requests", json!({}));
        for (key, value) in limits {
            set(resources, "requests", &key, value);
        }
    }
}

fn probe(probe: &mut Value) {
    for (key, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        // Zero means the default too.
        if probe[key] == 0 {
            probe[key] = Value::Null;
        }
        top(probe, key, json!(value));
    }
    set(probe, "httpGet", "path", json!("/"));
    set(probe, "httpGet", "scheme", json!("HTTP"));
    set(probe, "grpc", "service", json!(""));
}

fn volume(volume: &mut Value) {
    for kind in ["configMap", "secret", "projected", "downwardAPI"] {
        set(volume, kind, "defaultMode", json!(420));
    }
    set(volume, "hostPath", "type", json!(""));
    // A volume without a source is an empty folder.
    if volume.as_object().is_some_and(|map| map.len() == 1) {
        volume["emptyDir"] = json!({});
    }
    for item in each(volume, "/downwardAPI/items") {
        set(item, "fieldRef", "apiVersion", json!("v1"));
    }
    for source in each(volume, "/projected/sources") {
        set(
            source,
            "serviceAccountToken",
            "expirationSeconds",
            json!(3600),
        );
        for item in each(source, "/downwardAPI/items") {
            set(item, "fieldRef", "apiVersion", json!("v1"));
        }
    }
}

/// Whether an image is of the tag `latest`, said or unsaid. A digest is a fixed image.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.27", false),
            ("registry:5000/nginx", true),
            ("registry:5000/nginx@sha256:00", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
