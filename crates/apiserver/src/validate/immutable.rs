//! Fields that cannot change once an object exists.

use serde_json::Value;

use crate::resources::Resource;
use crate::status::FieldError;

const IMMUTABLE: &str = "field is immutable";

pub(super) fn check(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut fixed = |pointer: &str| {
        if new.pointer(pointer) != old.pointer(pointer) {
            let field = pointer[1..].replace('/', ".");
            let value = new.pointer(pointer).unwrap_or(&Value::Null);
            errors.push(FieldError::invalid(field, value, IMMUTABLE));
        }
    };
    match (&*resource.id.group, &*resource.id.resource) {
        ("apps", "deployments" | "daemonsets" | "replicasets") => fixed("/spec/selector"),
        ("batch", "jobs") => {
            fixed("/spec/selector");
            // A suspended Job that never started may still get other scheduling directives.
            if old["spec"]["suspend"] != true {
                fixed("/spec/template");
            }
            fixed("/spec/completionMode");
            if new["spec"]["completionMode"] != "Indexed" {
                fixed("/spec/completions");
            }
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings")
            if new["roleRef"] != old["roleRef"] =>
        {
            let role = &new["roleRef"];
            let shown = serde_json::json!({
                "APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"],
            });
            errors.push(FieldError::invalid(
                "roleRef",
                &shown,
                "cannot change roleRef",
            ));
        }
        ("storage.k8s.io", "storageclasses") => {
            for key in [
                "provisioner",
                "parameters",
                "reclaimPolicy",
                "volumeBindingMode",
            ] {
                if new[key] != old[key] {
                    errors.push(FieldError::forbidden(
                        key,
                        &format!("updates to {key} are forbidden."),
                    ));
                }
            }
        }
        ("apps", "statefulsets") => stateful_set(new, old, &mut errors),
        ("", "services") => service(new, old, &mut errors),
        ("", "configmaps") => sealed(new, old, &["data", "binaryData"], &mut errors),
        ("", "secrets") => {
            if new["type"] != old["type"] {
                errors.push(FieldError::invalid("type", &new["type"], IMMUTABLE));
            }
            sealed(new, old, &["data"], &mut errors);
        }
        ("", "persistentvolumeclaims") => claim(new, old, &mut errors),
        ("", "pods") => pod(new, old, &mut errors),
        _ => {}
    }
    errors
}

/// ConfigMaps and Secrets with `immutable: true`.
fn sealed(new: &Value, old: &Value, keys: &[&str], errors: &mut Vec<FieldError>) {
    if old["immutable"] != true {
        return;
    }
    const WHY: &str = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", WHY));
    }
    for key in keys {
        if new[key] != old[key] {
            errors.push(FieldError::forbidden(*key, WHY));
        }
    }
}

fn stateful_set(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FREE: [&str; 7] = [
        "replicas",
        "template",
        "updateStrategy",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
    ];
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|key, _| !FREE.contains(&key.as_str()));
        }
        spec
    };
    if fixed(&new["spec"]) != fixed(&old["spec"]) {
        errors.push(FieldError::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

fn service(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let (new_ip, old_ip) = (&new["spec"]["clusterIP"], &old["spec"]["clusterIP"]);
    if new_ip != old_ip && old_ip.as_str().is_some_and(|ip| !ip.is_empty()) {
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            &serde_json::json!([new_ip]),
            "may not change once set",
        ));
    }
}

fn claim(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |claim: &Value| {
        let mut spec = claim["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.remove("volumeName");
            map.remove("volumeAttributesClassName");
            // Growing is allowed; the simulator does not compare quantities.
            map.remove("resources");
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(FieldError::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ));
    }
}

fn pod(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container.as_object_mut().map(|map| map.remove("image"));
            }
        }
        if let Some(map) = spec.as_object_mut() {
            for key in [
                "activeDeadlineSeconds",
                "terminationGracePeriodSeconds",
                "tolerations",
                "nodeName",
                "schedulingGates",
            ] {
                map.remove(key);
            }
            map.retain(|_, value| !value.is_null());
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}
