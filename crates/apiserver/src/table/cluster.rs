//! Networking, policy, storage and the rest.

use jiff::Timestamp;
use serde_json::Value;

use super::{Layout, age, items, name, number, or, selector, text};

pub(super) fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    Some(match (group, resource) {
        ("networking.k8s.io", "ingresses") => &INGRESSES,
        ("networking.k8s.io", "ingressclasses") => &INGRESS_CLASSES,
        ("networking.k8s.io", "networkpolicies") => &NETWORK_POLICIES,
        ("policy", "poddisruptionbudgets") => &BUDGETS,
        ("autoscaling", "horizontalpodautoscalers") => &AUTOSCALERS,
        ("coordination.k8s.io", "leases") => &LEASES,
        ("storage.k8s.io", "storageclasses") => &STORAGE_CLASSES,
        ("scheduling.k8s.io", "priorityclasses") => &PRIORITY_CLASSES,
        ("node.k8s.io", "runtimeclasses") => &RUNTIME_CLASSES,
        ("storage.k8s.io", "csidrivers") => &CSI_DRIVERS,
        ("discovery.k8s.io", "endpointslices") => &SLICES,
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => &WEBHOOKS,
        _ => return None,
    })
}

static RUNTIME_CLASSES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Handler", "string", false),
        ("Age", "string", false),
    ],
    cells: |class, now| vec![name(class), class["handler"].clone(), age(class, now)],
};

static CSI_DRIVERS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("AttachRequired", "boolean", false),
        ("PodInfoOnMount", "boolean", false),
        ("StorageCapacity", "boolean", false),
        ("TokenRequests", "string", false),
        ("RequiresRepublish", "boolean", false),
        ("Modes", "string", false),
        ("Age", "string", false),
    ],
    cells: |driver, now| {
        let list = |pointer: &str, key: &str| -> String {
            items(driver, pointer)
                .iter()
                .map(|item| if key.is_empty() { item } else { &item[key] })
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        vec![
            name(driver),
            driver["spec"]["attachRequired"].clone(),
            driver["spec"]["podInfoOnMount"].clone(),
            driver["spec"]["storageCapacity"].clone(),
            or(&list("/spec/tokenRequests", "audience"), "<unset>").into(),
            driver["spec"]["requiresRepublish"].clone(),
            or(&list("/spec/volumeLifecycleModes", ""), "<none>").into(),
            age(driver, now),
        ]
    },
};

static INGRESSES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Class", "string", false),
        ("Hosts", "string", false),
        ("Address", "string", false),
        ("Ports", "string", false),
        ("Age", "string", false),
    ],
    cells: ingress,
};

fn ingress(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let mut hosts: Vec<&str> = items(ingress, "/spec/rules")
        .iter()
        .map(|rule| text(rule, "/host"))
        .filter(|host| !host.is_empty())
        .collect();
    let more = hosts.len().saturating_sub(3);
    hosts.truncate(3);
    let mut shown = or(&hosts.join(","), "*").to_owned();
    if more > 0 {
        shown = format!("{shown} + {more} more...");
    }
    let addresses = items(ingress, "/status/loadBalancer/ingress")
        .iter()
        .map(|entry| or(text(entry, "/ip"), text(entry, "/hostname")))
        .collect::<Vec<_>>()
        .join(",");
    let ports = if items(ingress, "/spec/tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        name(ingress),
        or(text(ingress, "/spec/ingressClassName"), "<none>").into(),
        shown.into(),
        addresses.into(),
        ports.into(),
        age(ingress, now),
    ]
}

static INGRESS_CLASSES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Parameters", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let parameters = &object["spec"]["parameters"];
        let shown = if parameters.is_object() {
            let kind = text(parameters, "/kind");
            let kind = match text(parameters, "/apiGroup") {
                "" => kind.to_owned(),
                group => format!("{kind}.{group}"),
            };
            format!("{kind}/{}", text(parameters, "/name"))
        } else {
            "<none>".into()
        };
        vec![
            name(object),
            text(object, "/spec/controller").into(),
            shown.into(),
            age(object, now),
        ]
    },
};

static NETWORK_POLICIES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Pod-Selector", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            selector(&object["spec"]["podSelector"]),
            age(object, now),
        ]
    },
};

/// A number or a percentage; `N/A` if there is none.
fn int_or_text(value: &Value) -> Value {
    match value {
        Value::Null => "N/A".into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

static BUDGETS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Min Available", "string", false),
        ("Max Unavailable", "string", false),
        ("Allowed Disruptions", "integer", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            int_or_text(&object["spec"]["minAvailable"]),
            int_or_text(&object["spec"]["maxUnavailable"]),
            number(object, "/status/disruptionsAllowed"),
            age(object, now),
        ]
    },
};

static AUTOSCALERS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Reference", "string", false),
        ("Targets", "string", false),
        ("MinPods", "string", false),
        ("MaxPods", "string", false),
        ("Replicas", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let metrics: Vec<String> = items(object, "/spec/metrics")
            .iter()
            .map(|metric| {
                let target = &metric["resource"]["target"];
                let wished = target["averageUtilization"].as_i64().map_or_else(
                    || or(text(target, "/averageValue"), "<unknown>").to_owned(),
                    |percent| format!("{percent}%"),
                );
                match text(metric, "/resource/name") {
                    "" => "<unknown>/<unknown>".to_owned(),
                    name => format!("{name}: <unknown>/{wished}"),
                }
            })
            .collect();
        vec![
            name(object),
            format!(
                "{}/{}",
                text(object, "/spec/scaleTargetRef/kind"),
                text(object, "/spec/scaleTargetRef/name")
            )
            .into(),
            or(&metrics.join(", "), "<none>").into(),
            object["spec"]["minReplicas"]
                .as_i64()
                .map_or("<unset>".into(), |least| least.to_string().into()),
            number(object, "/spec/maxReplicas"),
            number(object, "/status/currentReplicas"),
            age(object, now),
        ]
    },
};

static LEASES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Holder", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/spec/holderIdentity").into(),
            age(object, now),
        ]
    },
};

static STORAGE_CLASSES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Provisioner", "string", false),
        ("ReclaimPolicy", "string", false),
        ("VolumeBindingMode", "string", false),
        ("AllowVolumeExpansion", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let is_default = object["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"]
            == "true";
        let shown = if is_default {
            format!("{} (default)", text(object, "/metadata/name")).into()
        } else {
            name(object)
        };
        vec![
            shown,
            text(object, "/provisioner").into(),
            or(text(object, "/reclaimPolicy"), "Delete").into(),
            or(text(object, "/volumeBindingMode"), "Immediate").into(),
            (object["allowVolumeExpansion"] == true).into(),
            age(object, now),
        ]
    },
};

static PRIORITY_CLASSES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Value", "integer", false),
        ("Global-Default", "boolean", false),
        ("Age", "string", false),
        ("PreemptionPolicy", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            number(object, "/value"),
            (object["globalDefault"] == true).into(),
            age(object, now),
            or(text(object, "/preemptionPolicy"), "PreemptLowerPriority").into(),
        ]
    },
};

static SLICES: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("AddressType", "string", false),
        ("Ports", "string", false),
        ("Endpoints", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let ports = items(object, "/ports")
            .iter()
            .map(|port| port["port"].to_string())
            .collect::<Vec<_>>()
            .join(",");
        let addresses = items(object, "/endpoints")
            .iter()
            .flat_map(|endpoint| items(endpoint, "/addresses"))
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(",");
        vec![
            name(object),
            text(object, "/addressType").into(),
            or(&ports, "<unset>").into(),
            or(&addresses, "<unset>").into(),
            age(object, now),
        ]
    },
};

static WEBHOOKS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Webhooks", "integer", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        vec![
            name(object),
            items(object, "/webhooks").len().into(),
            age(object, now),
        ]
    },
};
