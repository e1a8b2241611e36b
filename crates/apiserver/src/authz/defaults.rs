//! The roles and bindings that every cluster has from the start.
//!
//! Those that people and GitOps tools refer to are here with the rules of Kubernetes itself; the
//! roles of its own components, which this server has no use for, are left out.

use serde_json::{Value, json};

use super::{Index, RBAC_GROUP, Rule, SERVICE_ACCOUNTS};
use crate::auth::{AUTHENTICATED, MASTERS, UNAUTHENTICATED};

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const READ_WRITE: &str = "create delete deletecollection get list patch update watch";
/// Stands for the core group in the tables below.
const CORE: &str = "-";

/// A rule: verbs, API groups, resources; each a list separated by spaces.
type Row = (&'static str, &'static str, &'static str);

struct DefaultRole {
    name: &'static str,
    /// The roles that this one is aggregated to.
    aggregate_to: &'static [&'static str],
    rules: &'static [Row],
    /// Paths that may be read.
    urls: &'static str,
}

const ROLES: &[DefaultRole] = &[
    DefaultRole {
        name: "cluster-admin",
        aggregate_to: &[],
        rules: &[("*", "*", "*")],
        urls: "*",
    },
    DefaultRole {
        name: "system:aggregate-to-admin",
        aggregate_to: &["admin"],
        rules: &[
            (
                "create",
                "authorization.k8s.io",
                "localsubjectaccessreviews",
            ),
            (READ_WRITE, RBAC_GROUP, "rolebindings roles"),
        ],
        urls: "",
    },
    DefaultRole {
        name: "system:aggregate-to-edit",
        aggregate_to: &["edit"],
        rules: &[
            (
                READ,
                CORE,
                "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
            ),
            ("impersonate", CORE, "serviceaccounts"),
            (
                WRITE,
                CORE,
                "pods pods/attach pods/exec pods/portforward pods/proxy",
            ),
            ("create", CORE, "pods/eviction"),
            (
                WRITE,
                CORE,
                "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale \
                 secrets serviceaccounts services services/proxy",
            ),
            ("create", CORE, "serviceaccounts/token"),
            (WRITE, "- events.k8s.io", "events"),
            (
                WRITE,
                "apps",
                "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale \
                 statefulsets statefulsets/scale",
            ),
            (WRITE, "autoscaling", "horizontalpodautoscalers"),
            (WRITE, "batch", "cronjobs jobs"),
            (
                WRITE,
                "extensions",
                "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies \
                 replicasets replicasets/scale replicationcontrollers/scale",
            ),
            (WRITE, "policy", "poddisruptionbudgets"),
            (WRITE, "networking.k8s.io", "ingresses networkpolicies"),
            (READ_WRITE, "coordination.k8s.io", "leases"),
            (
                WRITE,
                "resource.k8s.io",
                "resourceclaims resourceclaimtemplates",
            ),
        ],
        urls: "",
    },
    DefaultRole {
        name: "system:aggregate-to-view",
        aggregate_to: &["view"],
        rules: &[
            (
                READ,
                CORE,
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
                 replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
            ),
            (
                READ,
                CORE,
                "bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status \
                 resourcequotas resourcequotas/status",
            ),
            (READ, CORE, "namespaces"),
            (READ, "- events.k8s.io", "events"),
            (READ, "discovery.k8s.io", "endpointslices"),
            (
                READ,
                "apps",
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status \
                 replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
            ),
            (
                READ,
                "autoscaling",
                "horizontalpodautoscalers horizontalpodautoscalers/status",
            ),
            (READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
            (
                READ,
                "extensions",
                "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses \
                 ingresses/status networkpolicies replicasets replicasets/scale replicasets/status \
                 replicationcontrollers/scale",
            ),
            (
                READ,
                "policy",
                "poddisruptionbudgets poddisruptionbudgets/status",
            ),
            (
                READ,
                "networking.k8s.io",
                "ingresses ingresses/status networkpolicies",
            ),
            (
                READ,
                "resource.k8s.io",
                "resourceclaims resourceclaims/status resourceclaimtemplates",
            ),
        ],
        urls: "",
    },
    DefaultRole {
        name: "system:auth-delegator",
        aggregate_to: &[],
        rules: &[
            ("create", "authentication.k8s.io", "tokenreviews"),
            ("create", "authorization.k8s.io", "subjectaccessreviews"),
        ],
        urls: "",
    },
    DefaultRole {
        name: "system:basic-user",
        aggregate_to: &[],
        rules: &[
            (
                "create",
                "authorization.k8s.io",
                "selfsubjectaccessreviews selfsubjectrulesreviews",
            ),
            ("create", "authentication.k8s.io", "selfsubjectreviews"),
        ],
        urls: "",
    },
    DefaultRole {
        name: "system:discovery",
        aggregate_to: &[],
        rules: &[],
        urls: "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
    },
    DefaultRole {
        name: "system:monitoring",
        aggregate_to: &[],
        rules: &[("get", CORE, "nodes/metrics")],
        urls: "/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz",
    },
    DefaultRole {
        name: "system:public-info-viewer",
        aggregate_to: &[],
        rules: &[],
        urls: "/healthz /livez /readyz /version /version/",
    },
    DefaultRole {
        name: "system:service-account-issuer-discovery",
        aggregate_to: &[],
        rules: &[],
        urls: "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
    },
    DefaultRole {
        name: "system:persistent-volume-provisioner",
        aggregate_to: &[],
        rules: &[
            ("create delete get list watch", CORE, "persistentvolumes"),
            ("get list update watch", CORE, "persistentvolumeclaims"),
            (READ, "storage.k8s.io", "storageclasses"),
            ("watch", CORE, "events"),
            ("create patch update", "- events.k8s.io", "events"),
        ],
        urls: "",
    },
];

/// Roles that consist of others, and what they are aggregated to themselves.
const AGGREGATED: &[(&str, &[&str])] = &[("view", &["edit"]), ("edit", &["admin"]), ("admin", &[])];

/// Bindings of roles to groups.
const BINDINGS: &[(&str, &[&str])] = &[
    ("cluster-admin", &[MASTERS]),
    ("system:basic-user", &[AUTHENTICATED]),
    ("system:discovery", &[AUTHENTICATED]),
    ("system:monitoring", &["system:monitoring"]),
    (
        "system:public-info-viewer",
        &[AUTHENTICATED, UNAUTHENTICATED],
    ),
    (
        "system:service-account-issuer-discovery",
        &[SERVICE_ACCOUNTS],
    ),
];

/// All default ClusterRoles and ClusterRoleBindings, the rules of aggregated roles filled in.
pub(super) fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = ROLES
        .iter()
        .map(|role| {
            let mut object = skeleton("ClusterRole", role.name, role.aggregate_to);
            object["rules"] = rules(role).iter().map(Rule::to_json).collect();
            object
        })
        .collect();
    for (name, aggregate_to) in AGGREGATED {
        let mut object = skeleton("ClusterRole", name, aggregate_to);
        object["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {aggregation_label(name): "true"}}]});
        objects.push(object);
    }
    let resolved = Index::build(&objects, None);
    for object in objects
        .iter_mut()
        .filter(|object| !object["aggregationRule"].is_null())
    {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        object["rules"] = resolved
            .role("", name)
            .unwrap_or_default()
            .iter()
            .map(Rule::to_json)
            .collect();
    }
    for (role, groups) in BINDINGS {
        let mut object = skeleton("ClusterRoleBinding", role, &[]);
        object["roleRef"] = json!({"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role});
        object["subjects"] = groups
            .iter()
            .map(|group| json!({"apiGroup": RBAC_GROUP, "kind": "Group", "name": group}))
            .collect();
        objects.push(object);
    }
    objects
}

fn skeleton(kind: &str, name: &str, aggregate_to: &[&str]) -> Value {
    let mut object = json!({
        "apiVersion": format!("{RBAC_GROUP}/v1"),
        "kind": kind,
        "metadata": {
            "name": name,
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
    });
    for target in aggregate_to {
        object["metadata"]["labels"][aggregation_label(target)] = json!("true");
    }
    object
}

fn aggregation_label(role: &str) -> String {
    format!("{RBAC_GROUP}/aggregate-to-{role}")
}

fn rules(role: &DefaultRole) -> Vec<Rule> {
    let words = |text: &str| -> Vec<String> {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| {
                if word == CORE {
                    String::new()
                } else {
                    word.to_owned()
                }
            })
            .collect()
    };
    let mut rules: Vec<Rule> = role
        .rules
        .iter()
        .map(|(verbs, groups, resources)| Rule {
            verbs: words(verbs),
            groups: words(groups),
            resources: words(resources),
            ..Rule::default()
        })
        .collect();
    if !role.urls.is_empty() {
        let verbs = if role.urls == "*" { "*" } else { "get" };
        rules.push(Rule {
            verbs: words(verbs),
            urls: words(role.urls),
            ..Rule::default()
        });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Attributes, Authorizer, User};

    #[test]
    fn admin_holds_the_rules_of_edit_and_view() {
        let objects = objects();
        let rules = |name: &str| {
            let role = objects
                .iter()
                .find(|object| {
                    object["kind"] == "ClusterRole" && object["metadata"]["name"] == name
                })
                .unwrap();
            Rule::read_all(role)
        };
        let admin = rules("admin");
        assert!(
            rules("edit")
                .iter()
                .chain(&rules("view"))
                .all(|rule| admin.contains(rule))
        );
        assert!(
            admin
                .iter()
                .any(|rule| rule.resources == ["rolebindings", "roles"])
        );
        assert!(
            !rules("view")
                .iter()
                .any(|rule| rule.resources.contains(&"secrets".to_owned()))
        );
    }

    #[test]
    fn strangers_see_the_version_and_no_more() {
        let objects = objects();
        let index = Index::build(&objects, None);
        let allowed = |user: &User, path: &str| {
            let asked = Attributes {
                verb: "get".into(),
                path: Some(path.into()),
                ..Attributes::default()
            };
            index.authorize(user, &asked).allowed()
        };
        assert!(allowed(&User::anonymous(), "/version"));
        assert!(!allowed(&User::anonymous(), "/apis"));
        let user = User {
            groups: vec![AUTHENTICATED.into()],
            ..User::default()
        };
        assert!(allowed(&user, "/apis/apps/v1"));
        assert!(!allowed(&user, "/metrics"));
        let review = Attributes {
            verb: "create".into(),
            group: "authorization.k8s.io".into(),
            resource: "selfsubjectaccessreviews".into(),
            ..Attributes::default()
        };
        assert!(index.authorize(&user, &review).allowed());
    }
}
