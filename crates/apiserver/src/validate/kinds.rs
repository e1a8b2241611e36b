//! Required and bounded fields of built-in kinds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::metadata::subdomain_error;
use super::policies;
use crate::controllers::Quantity;
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
            let claims = &*resource.id.resource == "statefulsets";
            let path = "spec.template.spec";
            pod_spec_of(&spec["template"]["spec"], path, claims, &mut errors);
            restarts(&spec["template"]["spec"], path, "Always", &mut errors);
            if &*resource.id.resource == "deployments" {
                strategy(spec, &mut errors);
                workload_status(&object["status"], &mut errors);
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
        ("", "namespaces") => {
            let deleting = !object["metadata"]["deletionTimestamp"].is_null();
            if !deleting
                && object["status"]["phase"]
                    .as_str()
                    .is_some_and(|phase| phase != "Active")
            {
                errors.push(FieldError::invalid(
                    "status.Phase",
                    &object["status"]["phase"],
                    "may only be 'Active' if `deletionTimestamp` is empty",
                ));
            }
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            policies::policy(object, &mut errors);
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => {
            policies::binding(object, &mut errors);
        }
        ("", "secrets") => secret(object, &mut errors),
        ("", "configmaps") => config_map(object, &mut errors),
        ("", "persistentvolumeclaims") => claim(spec, &mut errors),
        ("networking.k8s.io", "ingresses") => ingress(spec, &mut errors),
        ("policy", "poddisruptionbudgets") => disruption_budget(spec, &mut errors),
        ("autoscaling", "horizontalpodautoscalers") => autoscaler(spec, &mut errors),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => {
            role(object, &*resource.id.resource == "roles", &mut errors);
        }
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
        let labels = &spec["template"]["metadata"]["labels"];
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
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
    let path = format!("{path}.spec");
    pod_spec(&template["spec"], &path, errors);
    restarts(&template["spec"], &path, restart, errors);
}

/// What a workload does with pods that ended.
fn restarts(spec: &Value, path: &str, restart: &str, errors: &mut Vec<FieldError>) {
    let policy = &spec["restartPolicy"];
    let field = format!("{path}.restartPolicy");
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
    pod_spec_of(spec, path, false, errors);
}

/// `may_claim`: templates of StatefulSets mount claims that are no volumes of the pod.
fn pod_spec_of(spec: &Value, path: &str, may_claim: bool, errors: &mut Vec<FieldError>) {
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
            for (at, port) in list(&container["ports"]).iter().enumerate() {
                let path = format!("{path}.ports[{at}]");
                container_port(port, &path, errors);
            }
            for (at, variable) in list(&container["env"]).iter().enumerate() {
                let field = format!("{path}.env[{at}].name");
                required(&variable["name"], field.clone(), "", errors);
                let name = variable["name"].as_str().unwrap_or_default();
                if name.contains('=') || name.chars().any(|c| !matches!(c, ' '..='~')) {
                    errors.push(FieldError::invalid(
                        field,
                        &variable["name"],
                        "a valid environment variable name must consist only of printable ASCII characters other than '='",
                    ));
                }
            }
            for (at, mount) in list(&container["volumeMounts"]).iter().enumerate() {
                let path = format!("{path}.volumeMounts[{at}]");
                required(&mount["mountPath"], format!("{path}.mountPath"), "", errors);
                if let Some(name) = mount["name"].as_str()
                    && !volumes.contains(name)
                    && !may_claim
                {
                    errors.push(FieldError {
                        field: format!("{path}.name"),
                        reason: "FieldValueNotFound",
                        detail: format!("Not found: {name:?}"),
                    });
                }
            }
            one_of(
                &container["imagePullPolicy"],
                format!("{path}.imagePullPolicy"),
                &["Always", "IfNotPresent", "Never"],
                errors,
            );
            requests(&container["resources"], &path, errors);
            if let Some(name) = container["name"].as_str()
                && !seen.insert(name)
            {
                errors.push(FieldError::duplicate(
                    format!("{path}.name"),
                    &container["name"],
                ));
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

fn container_port(port: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(name) = port["name"].as_str().filter(|name| name.len() > 15) {
        errors.push(FieldError::invalid(
            format!("{path}.name"),
            &name.into(),
            "must be no more than 15 characters",
        ));
    }
    port_number(
        &port["containerPort"],
        format!("{path}.containerPort"),
        errors,
    );
}

/// Nobody may ask for more than the limit.
fn requests(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let quantity = |value: &Value| value.as_str().and_then(Quantity::parse);
    for (what, wanted) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][what.as_str()];
        if let (Some(wanted_quantity), Some(limit_quantity)) = (quantity(wanted), quantity(limit))
            && wanted_quantity > limit_quantity
        {
            errors.push(FieldError::invalid(
                format!("{path}.resources.requests"),
                wanted,
                &format!(
                    "must be less than or equal to {what} limit of {}",
                    limit.as_str().unwrap_or_default()
                ),
            ));
        }
    }
}

/// Counts that cannot be.
fn workload_status(status: &Value, errors: &mut Vec<FieldError>) {
    let replicas = status["replicas"].as_i64().unwrap_or(0);
    const COUNTS: [&str; 5] = [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ];
    for key in COUNTS {
        not_negative(status, "status", key, errors);
    }
    for (key, other) in [
        ("updatedReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ] {
        let count = status[key].as_i64().unwrap_or(0);
        let bound = if other == "replicas" {
            replicas
        } else {
            status[other].as_i64().unwrap_or(0)
        };
        if count > bound {
            errors.push(FieldError::invalid(
                format!("status.{key}"),
                &count.into(),
                &format!(
                    "cannot be greater than {}",
                    if other == "replicas" {
                        "status.replicas"
                    } else {
                        other
                    }
                ),
            ));
        }
    }
}

fn disruption_budget(spec: &Value, errors: &mut Vec<FieldError>) {
    let (least, most) = (&spec["minAvailable"], &spec["maxUnavailable"]);
    if !least.is_null() && !most.is_null() {
        let shown = serde_json::json!({
            "MinAvailable": least,
            "Selector": spec["selector"],
            "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec["unhealthyPodEvictionPolicy"],
        });
        errors.push(FieldError::invalid(
            "spec",
            &shown,
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
}

fn autoscaler(spec: &Value, errors: &mut Vec<FieldError>) {
    let count = |key: &str| spec[key].as_i64().unwrap_or(0);
    let (least, most) = (count("minReplicas"), count("maxReplicas"));
    if !spec["minReplicas"].is_null() && least < 1 {
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            &spec["minReplicas"],
            "must be greater than or equal to 1",
        ));
    }
    if most < 1 {
        errors.push(FieldError::required(
            "spec.maxReplicas",
            "must be set and greater than 0",
        ));
    }
    if !spec["minReplicas"].is_null() && most < least {
        errors.push(FieldError::invalid(
            "spec.maxReplicas",
            &most.into(),
            "must be greater than or equal to `minReplicas`",
        ));
    }
    let target = &spec["scaleTargetRef"];
    required(
        &target["kind"],
        "spec.scaleTargetRef.kind".into(),
        "",
        errors,
    );
    required(
        &target["name"],
        "spec.scaleTargetRef.name".into(),
        "",
        errors,
    );
    // The one that can be scaled and has no group.
    let oldest = target["kind"] == "ReplicationController" && target["apiVersion"] == "v1";
    if !oldest
        && !target["apiVersion"]
            .as_str()
            .unwrap_or_default()
            .contains('/')
    {
        errors.push(FieldError::invalid(
            "spec.scaleTargetRef.apiVersion",
            &target["apiVersion"].as_str().unwrap_or_default().into(),
            "apiVersion must specify API group",
        ));
    }
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
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        if ports.len() > 1 {
            required(&port["name"], format!("{path}.name"), "", errors);
        }
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty())
            && !names.insert(name)
        {
            errors.push(FieldError::duplicate(format!("{path}.name"), &port["name"]));
        }
        let number = port["port"].as_i64().unwrap_or(0);
        let in_range = |number: i64| (1..=65535).contains(&number);
        const RANGE: &str = "must be between 1 and 65535, inclusive";
        if !in_range(number) {
            errors.push(FieldError::invalid(
                format!("{path}.port"),
                &number.into(),
                RANGE,
            ));
        }
        one_of(
            &port["protocol"],
            format!("{path}.protocol"),
            &["SCTP", "TCP", "UDP"],
            errors,
        );
        if let Some(target) = port["targetPort"]
            .as_i64()
            .filter(|target| !in_range(*target))
        {
            errors.push(FieldError::invalid(
                format!("{path}.targetPort"),
                &target.into(),
                RANGE,
            ));
        }
    }
    one_of(
        &spec["sessionAffinity"],
        "spec.sessionAffinity".into(),
        &["ClientIP", "None"],
        errors,
    );
    one_of(
        &spec["type"],
        "spec.type".into(),
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        errors,
    );
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        if !seen.insert((port["port"].as_i64(), port["protocol"].as_str())) {
            let shown = serde_json::json!({
                "Name": "", "Protocol": port["protocol"], "AppProtocol": null,
                "Port": port["port"], "TargetPort": 0, "NodePort": 0,
            });
            errors.push(FieldError::duplicate(
                format!("spec.ports[{index}]"),
                &shown,
            ));
        }
    }
    addresses(spec, errors);
}

/// Addresses that are none.
fn addresses(spec: &Value, errors: &mut Vec<FieldError>) {
    for (index, address) in list(&spec["clusterIPs"]).iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if !matches!(text, "" | "None") && text.parse::<IpAddr>().is_err() {
            errors.push(FieldError::invalid(
                format!("spec.clusterIPs[{index}]"),
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ));
        }
    }
    for (index, address) in list(&spec["externalIPs"]).iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        let zeros = text
            .split('.')
            .any(|part| part.len() > 1 && part.starts_with('0'));
        if text.parse::<IpAddr>().is_err() {
            errors.push(FieldError::invalid(
                format!("spec.externalIPs[{index}]"),
                address,
                if zeros {
                    "must not have leading 0s"
                } else {
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                },
            ));
        }
    }
}

fn secret(secret: &Value, errors: &mut Vec<FieldError>) {
    data(secret, &["data"], errors);
    let keys: &[&str] = match secret["type"].as_str() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        Some("kubernetes.io/ssh-auth") => &["ssh-privatekey"],
        Some("kubernetes.io/basic-auth") => {
            let has = |key: &str| !secret["data"][key].is_null();
            if has("username") || has("password") {
                &[]
            } else {
                &["username", "password"]
            }
        }
        _ => &[],
    };
    if secret["type"] == "kubernetes.io/dockerconfigjson"
        && let Some(text) = secret["data"][".dockerconfigjson"].as_str()
    {
        let bytes = STANDARD.decode(text).unwrap_or_default();
        if let Err(error) = serde_json::from_slice::<Value>(&bytes) {
            errors.push(FieldError {
                field: "data[.dockerconfigjson]".into(),
                reason: "FieldValueInvalid",
                detail: format!(
                    "Invalid value: \"<secret contents redacted>\": {}",
                    crate::http::go_error(&bytes, &error)
                ),
            });
        }
    }
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
    for key in map["data"]
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
    {
        if !map["binaryData"][key].is_null() {
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                &key.as_str().into(),
                "duplicate of key present in binaryData",
            ));
        }
    }
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
        if let Some(host) = rule["host"].as_str()
            && let Some(why) = subdomain_error(host.strip_prefix("*.").unwrap_or(host))
            && !host.is_empty()
        {
            errors.push(FieldError::invalid(
                format!("spec.rules[{at}].host"),
                &rule["host"],
                why,
            ));
        }
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
            if let Some(service) = path["backend"].get("service") {
                backend(service, &format!("{field}.backend"), errors);
            }
        }
    }
}

fn backend(service: &Value, path: &str, errors: &mut Vec<FieldError>) {
    required(&service["name"], format!("{path}.service.name"), "", errors);
    let port = &service["port"];
    let named = !is_blank(&port["name"]);
    let numbered = port["number"].as_i64().unwrap_or(0) != 0;
    if !named && !numbered {
        errors.push(FieldError::required(
            path,
            "port name or number is required",
        ));
    } else if named && numbered {
        errors.push(FieldError::invalid(
            path,
            port,
            "cannot set both port name & port number",
        ));
    }
}

fn role(role: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for (index, rule) in list(&role["rules"]).iter().enumerate() {
        let urls = &rule["nonResourceURLs"];
        let resources = !list(&rule["apiGroups"]).is_empty()
            || !list(&rule["resources"]).is_empty()
            || !list(&rule["resourceNames"]).is_empty();
        if !list(urls).is_empty() && (namespaced || resources) {
            errors.push(FieldError::invalid(
                format!("rules[{index}].nonResourceURLs"),
                urls,
                if namespaced {
                    "namespaced rules cannot apply to non-resource URLs"
                } else {
                    "rules cannot apply to both regular resources and non-resource URLs"
                },
            ));
            continue;
        }
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
        &["Role", "ClusterRole"],
        errors,
    );
    required(&role["name"], "roleRef.name".into(), "", errors);
    for (index, subject) in list(&binding["subjects"]).iter().enumerate() {
        let path = format!("subjects[{index}]");
        required(&subject["name"], format!("{path}.name"), "", errors);
        one_of(
            &subject["kind"],
            format!("{path}.kind"),
            &["ServiceAccount", "User", "Group"],
            errors,
        );
    }
}
