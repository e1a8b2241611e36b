//! Random Kubernetes objects.

use std::fmt::Write as _;

use crate::dice::Dice;
use crate::values::{NAMES, NAMESPACES, image, pairs, scalar, text, value};

pub(crate) const KINDS: [(&str, &str); 17] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    ("v1", "Namespace"),
    ("v1", "Pod"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("batch/v1", "CronJob"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("v1", "PersistentVolumeClaim"),
    ("example.org/v1", "Widget"),
];

/// What names an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Id {
    pub(crate) api: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) namespace: Option<&'static str>,
}

impl Id {
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let (api, kind) = KINDS[dice.below(KINDS.len())];
        let namespace = (kind != "Namespace" && dice.percent(20)).then(|| dice.pick(&NAMESPACES));
        Self {
            api,
            kind,
            name: dice.pick(&NAMES[..4]),
            namespace,
        }
    }

    /// apiVersion, kind and metadata.
    pub(crate) fn head(&self) -> String {
        let mut out = format!(
            "apiVersion: {}\nkind: {}\nmetadata:\n  name: {}\n",
            self.api, self.kind, self.name
        );
        if let Some(namespace) = self.namespace {
            let _ = writeln!(out, "  namespace: {namespace}");
        }
        out
    }
}

/// An object of the id.
pub(crate) fn object(dice: &mut Dice, id: &Id) -> String {
    let mut out = id.head();
    for field in ["labels", "annotations"] {
        if dice.percent(30) {
            let _ = write!(out, "  {field}:\n{}", pairs(dice, "    "));
        }
    }
    out.push_str(&body(dice, id.kind));
    if dice.percent(10) {
        let _ = writeln!(out, "extra: {}", value(dice, 2));
    }
    out
}

fn body(dice: &mut Dice, kind: &str) -> String {
    let mut out = String::new();
    match kind {
        "Deployment" | "StatefulSet" => {
            out.push_str("spec:\n");
            if dice.percent(70) {
                let _ = writeln!(out, "  replicas: {}", 1 + dice.below(5));
            }
            if dice.percent(50) {
                let _ = write!(out, "  selector:\n    matchLabels:\n{}", pairs(dice, "      "));
            }
            if kind == "StatefulSet" {
                let _ = writeln!(out, "  serviceName: {}", dice.pick(&NAMES[..4]));
            }
            out.push_str("  template:\n");
            if dice.percent(60) {
                let _ = write!(out, "    metadata:\n      labels:\n{}", pairs(dice, "        "));
            }
            out.push_str(&pod(dice, "    "));
        }
        "Pod" => out.push_str(&pod(dice, "")),
        "CronJob" => {
            out.push_str("spec:\n  schedule: '* * * * *'\n  jobTemplate:\n    spec:\n      template:\n");
            out.push_str(&pod(dice, "        "));
        }
        "Service" => {
            out.push_str("spec:\n");
            if dice.percent(60) {
                let _ = write!(out, "  selector:\n{}", pairs(dice, "    "));
            }
            out.push_str("  ports:\n");
            for port in 0..=dice.below(3) {
                let _ = writeln!(out, "  - port: {}", 80 + port * dice.below(3));
                if dice.percent(50) {
                    let _ = writeln!(out, "    protocol: {}", dice.pick(&["TCP", "UDP"]));
                }
                if dice.percent(50) {
                    let _ = writeln!(out, "    name: p{port}");
                }
            }
        }
        "ConfigMap" | "Secret" => {
            let field = if kind == "Secret" && dice.percent(50) { "stringData" } else { "data" };
            let _ = writeln!(out, "{field}:");
            for key in ["key", "other", "file.txt"].iter().take(1 + dice.below(3)) {
                if dice.percent(20) {
                    let header = dice.pick(&["|", "|-", ">", ">-", "|+"]);
                    let _ = write!(out, "  {key}: {header}\n    first line\n      deeper\n    last: line\n");
                } else {
                    let _ = writeln!(out, "  {key}: {}", text(dice));
                }
            }
        }
        "Ingress" => {
            let _ = write!(
                out,
                "spec:\n  tls:\n  - hosts: [a.example.org]\n    secretName: {}\n  rules:\n  - host: a.example.org\n    http:\n      paths:\n      - path: /\n        backend:\n          service:\n            name: {}\n            port: {{number: 80}}\n",
                dice.pick(&NAMES[..4]),
                dice.pick(&NAMES[..4])
            );
        }
        "NetworkPolicy" => {
            let _ = write!(
                out,
                "spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector:\n        matchLabels:\n{}",
                pairs(dice, "          ")
            );
        }
        "Role" => out.push_str("rules:\n- apiGroups: ['']\n  resources: [configmaps]\n  resourceNames: [web]\n  verbs: [get]\n"),
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = dice.pick(&["Role", "ClusterRole"]);
            let _ = write!(
                out,
                "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {role}\n  name: {}\nsubjects:\n- kind: ServiceAccount\n  name: {}\n",
                dice.pick(&NAMES[..4]),
                dice.pick(&["default", "web", "db"])
            );
            if dice.percent(60) {
                let _ = writeln!(out, "  namespace: {}", dice.pick(&NAMESPACES));
            }
        }
        "HorizontalPodAutoscaler" => {
            let _ = write!(
                out,
                "spec:\n  scaleTargetRef:\n    apiVersion: apps/v1\n    kind: {}\n    name: {}\n  minReplicas: 1\n  metrics:\n  - type: Resource\n    resource: {{name: cpu}}\n",
                dice.pick(&["Deployment", "StatefulSet"]),
                dice.pick(&NAMES[..4])
            );
        }
        "Widget" => {
            out.push_str("spec:\n");
            for key in ["size", "list", "map", "image"].iter().take(1 + dice.below(4)) {
                let _ = writeln!(out, "  {key}: {}", value(dice, 3));
            }
        }
        _ => {}
    }
    out
}

fn pod(dice: &mut Dice, indent: &str) -> String {
    let mut out = format!("{indent}spec:\n");
    if dice.percent(30) {
        let _ = writeln!(
            out,
            "{indent}  serviceAccountName: {}",
            dice.pick(&NAMES[..4])
        );
    }
    let _ = writeln!(out, "{indent}  containers:");
    for name in ["main", "side"].iter().take(1 + dice.below(2)) {
        let _ = write!(
            out,
            "{indent}  - name: {name}\n{indent}    image: {}\n",
            image(dice)
        );
        if dice.percent(60) {
            let most = if dice.percent(10) { 3 } else { 2 };
            let _ = writeln!(out, "{indent}    env:");
            for env in ["ONE", "TWO", "ONE"].iter().take(1 + dice.below(most)) {
                let _ = writeln!(out, "{indent}    - name: {env}");
                match dice.below(4) {
                    0 => {
                        let _ = write!(
                            out,
                            "{indent}      valueFrom:\n{indent}        configMapKeyRef:\n{indent}          name: {}\n{indent}          key: key\n",
                            dice.pick(&["web", "settings", "db"])
                        );
                    }
                    1 => {
                        let _ = writeln!(
                            out,
                            "{indent}      valueFrom: {{secretKeyRef: {{name: {}, key: k}}}}",
                            dice.pick(&["web", "keys", "db"])
                        );
                    }
                    _ => {
                        let _ = writeln!(out, "{indent}      value: {}", scalar(dice));
                    }
                }
            }
        }
        if dice.percent(40) {
            let _ = writeln!(out, "{indent}    ports:");
            for _ in 0..=dice.below(2) {
                let _ = writeln!(out, "{indent}    - containerPort: {}", 80 + dice.below(2));
                if dice.percent(50) {
                    let _ = writeln!(
                        out,
                        "{indent}      protocol: {}",
                        dice.pick(&["TCP", "UDP"])
                    );
                }
            }
        }
        if dice.percent(30) {
            let _ = writeln!(out, "{indent}    args: {}", value(dice, 1));
        }
    }
    if dice.percent(40) {
        let _ = write!(
            out,
            "{indent}  volumes:\n{indent}  - name: v\n{indent}    configMap:\n{indent}      name: {}\n",
            dice.pick(&["web", "settings", "db"])
        );
        if dice.percent(50) {
            let _ = write!(
                out,
                "{indent}  - name: w\n{indent}    secret: {{secretName: {}}}\n",
                dice.pick(&["web", "keys"])
            );
        }
    }
    out
}
