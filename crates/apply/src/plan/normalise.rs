//! Makes an object from Git into one that server-side apply takes, as Flux does.

use fairway_types::{ObjectId, names};
use serde_json::{Map, Value};

use super::Owner;

/// Removes what belongs to the server, adds the owner's labels, and rewrites what apply is known to stumble over.
pub(super) fn normalise(object: &mut Value, id: &ObjectId, owner: &Owner) {
    let Some(root) = object.as_object_mut() else {
        return;
    };
    root.remove("status");
    if let Some(metadata) = root.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "managedFields",
            "resourceVersion",
            "uid",
            "generation",
            "creationTimestamp",
            "selfLink",
            "deletionTimestamp",
        ] {
            metadata.remove(key);
        }
        for key in ["labels", "annotations"] {
            if let Some(values) = metadata.get_mut(key)
                && values.is_null()
            {
                metadata.remove(key);
            } else if let Some(Value::Object(values)) = metadata.get_mut(key) {
                // The API has strings here; YAML that says `"1": true` without quotes means the text.
                values.retain(|_, value| !value.is_null());
            }
        }
        let labels = metadata
            .entry("labels")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(names::OWNER_NAME.to_owned(), owner.name.as_str().into());
            labels.insert(
                names::OWNER_NAMESPACE.to_owned(),
                owner.namespace.as_str().into(),
            );
        }
    }
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Secret") => string_data(root),
        ("", "Service") => {
            default_protocol(root.get_mut("spec").and_then(|spec| spec.get_mut("ports")));
        }
        ("", "Pod") => pod_protocols(root.get_mut("spec")),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            pod_protocols(at(root.get_mut("spec"), &["template", "spec"]));
        }
        ("batch", "CronJob") => {
            pod_protocols(at(
                root.get_mut("spec"),
                &["jobTemplate", "spec", "template", "spec"],
            ));
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            // cert-manager's injector owns it; one in Git would fight with it (as in Flux).
            let webhook = at(
                root.get_mut("spec"),
                &["conversion", "webhook", "clientConfig"],
            );
            if let Some(config) = webhook.and_then(Value::as_object_mut)
                && config
                    .get("caBundle")
                    .is_some_and(|bundle| !is_certificate(bundle))
            {
                config.remove("caBundle");
            }
        }
        _ => {}
    }
}

fn at<'a>(value: Option<&'a mut Value>, path: &[&str]) -> Option<&'a mut Value> {
    path.iter()
        .try_fold(value?, |value, step| value.get_mut(step))
}

/// Whether a caBundle could be a certificate: base64 of PEM starts with `LS0tLS1CRUdJTi`.
fn is_certificate(bundle: &Value) -> bool {
    bundle
        .as_str()
        .is_some_and(|text| text.starts_with("LS0tLS1CRUdJTi"))
}

/// Moves `stringData` into `data`: applied as such, removed keys would stay (kubernetes#108008).
fn string_data(root: &mut Map<String, Value>) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let Some(Value::Object(plain)) = root.remove("stringData") else {
        return;
    };
    let data = root
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            if let Some(text) = value.as_str() {
                data.insert(key, STANDARD.encode(text).into());
            }
        }
    }
}

/// Ports are merged by port and protocol, so the protocol must not be left to the server
/// (structured-merge-diff#130).
fn default_protocol(ports: Option<&mut Value>) {
    for port in ports
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if port
            .get("protocol")
            .is_none_or(|protocol| protocol.is_null() || protocol == "")
        {
            port.insert("protocol".to_owned(), "TCP".into());
        }
    }
}

fn pod_protocols(spec: Option<&mut Value>) {
    let Some(spec) = spec else { return };
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            default_protocol(container.get_mut("ports"));
        }
    }
}
