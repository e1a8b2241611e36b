//! Required and bounded fields of built-in kinds.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::resources::Resource;
use crate::status::FieldError;

pub(super) fn check(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &object["spec"];
    match (&*resource.id.group, &*resource.id.resource) {
        ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets") => {
            not_negative(spec, "spec", "replicas", &mut errors);
            not_negative(spec, "spec", "minReadySeconds", &mut errors);
            selector(spec, &mut errors);
            template(&spec["template"], "spec.template", "Always", &mut errors);
            if &*resource.id.resource == "deployments" {
                strategy(spec, &mut errors);
            }
        }
        ("batch", "jobs") => {
            not_negative(spec, "spec", "parallelism", &mut errors);
            not_negative(spec, "spec", "completions", &mut errors);
            not_negative(spec, "spec", "backoffLimit", &mut errors);
            template(&spec["template"], "spec.template", "", &mut errors);
        }
        ("batch", "cronjobs") => cron_job(spec, &mut errors),
        ("", "pods") => pod_spec(spec, "spec", &mut errors),
        ("", "services") => service(spec, &mut errors),
        ("", "secrets") => secret(object, &mut errors),
        ("", "configmaps") => config_map(object, &mut errors),
        ("", "persistentvolumeclaims") => claim(spec, &mut errors),
        ("networking.k8s.io", "ingresses") => ingress(spec, &mut errors),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => role(object, &mut errors),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            binding(object, &mut errors);
        }
        _ => {}
    }
    errors
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_blank(value: &Value) -> bool {
    value.as_str().unwrap_or_default().is_empty()
}

fn required(value: &Value, field: String, detail: &str, errors: &mut Vec<FieldError>) {
    if is_blank(value) {
        errors.push(FieldError::required(field, detail));
    }
}

fn one_of(value: &Value, field: String, supported: &[&str], errors: &mut Vec<FieldError>) {
    if value
        .as_str()
        .is_some_and(|text| !supported.contains(&text))
    {
        errors.push(FieldError::unsupported(field, value, supported));
    }
}

fn not_negative(spec: &Value, path: &str, key: &str, errors: &mut Vec<FieldError>) {
    if spec[key].as_i64().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(
            format!("{path}.{key}"),
            &spec[key],
            "must be greater than or equal to 0",
        ));
    }
}

fn selector(spec: &Value, errors: &mut Vec<FieldError>) {
    let selector = &spec["selector"];
    if !selector.is_object() {
        errors.push(FieldError::required("spec.selector", ""));
        return;
    }
    let empty = selector["matchLabels"]
        .as_object()
        .is_none_or(|map| map.is_empty())
        && list(&selector["matchExpressions"]).is_empty();
    if empty {
        errors.push(FieldError::invalid(
            "spec.selector",
            selector,
            "empty selector is invalid for deployment",
        ));
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let fits = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| labels[key] == *value);
    if !fits {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
    }
}

fn strategy(spec: &Value, errors: &mut Vec<FieldError>) {
    let strategy = &spec["strategy"];
    one_of(
        &strategy["type"],
        "spec.strategy.type".into(),
        &["Recreate", "RollingUpdate"],
        errors,
    );
    if strategy["type"] == "Recreate" && strategy["rollingUpdate"].is_object() {
        errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    let rolling = &strategy["rollingUpdate"];
    let zero = |value: &Value| *value == 0 || value == "0%";
    if rolling.is_object() && zero(&rolling["maxSurge"]) && zero(&rolling["maxUnavailable"]) {
        errors.push(FieldError::invalid(
            "spec.strategy.rollingUpdate.maxUnavailable",
            &rolling["maxUnavailable"],
            "may not be 0 when `maxSurge` is 0",
        ));
    }
}

fn template(template: &Value, path: &str, restart: &str, errors: &mut Vec<FieldError>) {
    pod_spec(&template["spec"], &format!("{path}.spec"), errors);
    let policy = &template["spec"]["restartPolicy"];
    let field = format!("{path}.spec.restartPolicy");
    if restart == "Always" {
        one_of(policy, field, &["Always"], errors);
    } else if policy == "Always" || is_blank(policy) {
        errors.push(FieldError::required(
            field,
            "valid values: \"OnFailure\", \"Never\"",
        ));
    }
}

fn pod_spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if list(&spec["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let volumes: BTreeSet<&str> = list(&spec["volumes"])
        .iter()
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    let mut seen = BTreeSet::new();
    for kind in ["initContainers", "containers"] {
        for (index, container) in list(&spec[kind]).iter().enumerate() {
            let path = format!("{path}.{kind}[{index}]");
            required(&container["name"], format!("{path}.name"), "", errors);
            required(&container["image"], format!("{path}.image"), "", errors);
            if let Some(name) = container["name"].as_str()
                && !seen.insert(name)
            {
                errors.push(FieldError::duplicate(
                    format!("{path}.name"),
                    &container["name"],
                ));
            }
            one_of(
                &container["imagePullPolicy"],
                format!("{path}.imagePullPolicy"),
                &["Always", "IfNotPresent", "Never"],
                errors,
            );
            for (at, mount) in list(&container["volumeMounts"]).iter().enumerate() {
                let path = format!("{path}.volumeMounts[{at}]");
                required(&mount["mountPath"], format!("{path}.mountPath"), "", errors);
                // Templates of StatefulSets mount claims that are no volumes of the pod.
                if let Some(name) = mount["name"].as_str()
                    && !volumes.contains(name)
                    && path.starts_with("spec.containers")
                {
                    errors.push(FieldError {
                        field: format!("{path}.name"),
                        reason: "FieldValueNotFound",
                        detail: format!("Not found: {name:?}"),
                    });
                }
            }
            for (at, port) in list(&container["ports"]).iter().enumerate() {
                port_number(
                    &port["containerPort"],
                    format!("{path}.ports[{at}].containerPort"),
                    errors,
                );
            }
            for (at, variable) in list(&container["env"]).iter().enumerate() {
                required(
                    &variable["name"],
                    format!("{path}.env[{at}].name"),
                    "",
                    errors,
                );
            }
        }
    }
    one_of(
        &spec["restartPolicy"],
        format!("{path}.restartPolicy"),
        &["Always", "OnFailure", "Never"],
        errors,
    );
}

fn port_number(value: &Value, field: String, errors: &mut Vec<FieldError>) {
    match value.as_i64() {
        None | Some(0) => errors.push(FieldError::required(field, "")),
        Some(1..=65535) => {}
        Some(_) => errors.push(FieldError::invalid(
            field,
            value,
            "must be between 1 and 65535, inclusive",
        )),
    }
}

fn cron_job(spec: &Value, errors: &mut Vec<FieldError>) {
    required(&spec["schedule"], "spec.schedule".into(), "", errors);
    if let Some(schedule) = spec["schedule"].as_str()
        && !schedule.is_empty()
        && !schedule.starts_with('@')
        && schedule.split_whitespace().count() != 5
    {
        errors.push(FieldError::invalid(
            "spec.schedule",
            &spec["schedule"],
            &format!(
                "expected exactly 5 fields, found {}: [{schedule}]",
                schedule.split_whitespace().count()
            ),
        ));
    }
    one_of(
        &spec["concurrencyPolicy"],
        "spec.concurrencyPolicy".into(),
        &["Allow", "Forbid", "Replace"],
        errors,
    );
    template(
        &spec["jobTemplate"]["spec"]["template"],
        "spec.jobTemplate.spec.template",
        "",
        errors,
    );
}

fn service(spec: &Value, errors: &mut Vec<FieldError>) {
    one_of(
        &spec["type"],
        "spec.type".into(),
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        errors,
    );
    let ports = list(&spec["ports"]);
    let headless = spec["clusterIP"] == "None";
    if ports.is_empty() && !headless && spec["type"] != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if spec["type"] == "ExternalName" {
        required(
            &spec["externalName"],
            "spec.externalName".into(),
            "",
            errors,
        );
    }
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        port_number(&port["port"], format!("{path}.port"), errors);
        if ports.len() > 1 {
            required(&port["name"], format!("{path}.name"), "", errors);
        }
        one_of(
            &port["protocol"],
            format!("{path}.protocol"),
            &["SCTP", "TCP", "UDP"],
            errors,
        );
        if !seen.insert((port["port"].as_i64(), port["protocol"].as_str())) {
            errors.push(FieldError::duplicate(path, port));
        }
    }
}

fn secret(secret: &Value, errors: &mut Vec<FieldError>) {
    data(secret, &["data"], errors);
    let keys: &[&str] = match secret["type"].as_str() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        Some("kubernetes.io/ssh-auth") => &["ssh-privatekey"],
        _ => &[],
    };
    for key in keys {
        if secret["data"][key].is_null() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    if secret["type"] == "kubernetes.io/service-account-token" {
        required(
            &secret["metadata"]["annotations"]["kubernetes.io/service-account.name"],
            "metadata.annotations[kubernetes.io/service-account.name]".into(),
            "",
            errors,
        );
    }
}

fn config_map(map: &Value, errors: &mut Vec<FieldError>) {
    data(map, &["data", "binaryData"], errors);
}

fn data(object: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    const LIMIT: usize = 1024 * 1024;
    let mut size = 0;
    for field in fields {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            size += key.len() + value.as_str().map_or(0, str::len);
            let fits = key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !fits || key.is_empty() || key.len() > 253 {
                errors.push(FieldError::invalid(
                    format!("{field}[{key}]"),
                    &key.as_str().into(),
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ));
            }
        }
    }
    // Base64 makes four thirds of the bytes that count.
    if size > LIMIT * 4 / 3 {
        errors.push(FieldError {
            field: String::new(),
            reason: "FieldValueTooLong",
            detail: format!("Too long: may not be more than {LIMIT} bytes"),
        });
    }
}

fn claim(spec: &Value, errors: &mut Vec<FieldError>) {
    if list(&spec["accessModes"]).is_empty() {
        errors.push(FieldError::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        ));
    }
    if spec.pointer("/resources/requests/storage").is_none() {
        errors.push(FieldError::required("spec.resources[storage]", ""));
    }
}

fn ingress(spec: &Value, errors: &mut Vec<FieldError>) {
    if list(&spec["rules"]).is_empty() && !spec["defaultBackend"].is_object() {
        errors.push(FieldError::invalid(
            "spec",
            &Value::Null,
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    for (at, rule) in list(&spec["rules"]).iter().enumerate() {
        for (index, path) in list(&rule["http"]["paths"]).iter().enumerate() {
            let field = format!("spec.rules[{at}].http.paths[{index}]");
            if is_blank(&path["pathType"]) {
                errors.push(FieldError::required(
                    format!("{field}.pathType"),
                    "pathType must be specified",
                ));
            }
            one_of(
                &path["pathType"],
                format!("{field}.pathType"),
                &["Exact", "ImplementationSpecific", "Prefix"],
                errors,
            );
            let text = path["path"].as_str().unwrap_or_default();
            if matches!(path["pathType"].as_str(), Some("Exact" | "Prefix"))
                && !text.starts_with('/')
            {
                errors.push(FieldError::invalid(
                    format!("{field}.path"),
                    &text.into(),
                    "must be an absolute path",
                ));
            }
        }
    }
}

fn role(role: &Value, errors: &mut Vec<FieldError>) {
    for (index, rule) in list(&role["rules"]).iter().enumerate() {
        if list(&rule["verbs"]).is_empty() {
            errors.push(FieldError::required(
                format!("rules[{index}].verbs"),
                "verbs must contain at least one value",
            ));
        }
        if list(&rule["nonResourceURLs"]).is_empty() {
            if list(&rule["apiGroups"]).is_empty() {
                errors.push(FieldError::required(
                    format!("rules[{index}].apiGroups"),
                    "resource rules must supply at least one api group",
                ));
            }
            if list(&rule["resources"]).is_empty() {
                errors.push(FieldError::required(
                    format!("rules[{index}].resources"),
                    "resource rules must supply at least one resource",
                ));
            }
        }
    }
}

fn binding(binding: &Value, errors: &mut Vec<FieldError>) {
    let role = &binding["roleRef"];
    one_of(
        &role["kind"],
        "roleRef.kind".into(),
        &["ClusterRole", "Role"],
        errors,
    );
    required(&role["name"], "roleRef.name".into(), "", errors);
    for (index, subject) in list(&binding["subjects"]).iter().enumerate() {
        let path = format!("subjects[{index}]");
        required(&subject["name"], format!("{path}.name"), "", errors);
        one_of(
            &subject["kind"],
            format!("{path}.kind"),
            &["Group", "ServiceAccount", "User"],
            errors,
        );
    }
}
