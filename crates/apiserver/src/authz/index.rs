//! RBAC objects, arranged so that a decision looks only at what is bound to the asking user.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::{Rule, service_account_user};
use crate::auth::{Attributes, Decision, User};

/// The kinds that the index is built from.
const ROLE: &str = "Role";
const CLUSTER_ROLE: &str = "ClusterRole";

/// What was read from one role; kept between builds, since roles change far less than bindings.
#[derive(Debug)]
struct ParsedRole {
    resource_version: String,
    uid: String,
    rules: Arc<[Rule]>,
    aggregates: Vec<Value>,
    labels: Value,
}

/// A role by namespace (empty for ClusterRoles) and name.
type RoleKey = (String, String);

/// All roles and bindings of one cluster at one moment.
#[derive(Debug, Default)]
pub struct Index {
    parsed: HashMap<RoleKey, Arc<ParsedRole>>,
    roles: HashMap<RoleKey, Arc<[Rule]>>,
    cluster: Bound,
    namespaces: HashMap<String, Bound>,
}

/// Grants by whom they are given to.
#[derive(Debug, Default)]
struct Bound {
    users: HashMap<String, Vec<Arc<Grant>>>,
    groups: HashMap<String, Vec<Arc<Grant>>>,
}

/// One subject of one binding.
#[derive(Debug)]
struct Grant {
    /// Orders grants as a list of bindings would.
    position: usize,
    /// `ClusterRoleBinding "x"`, or `RoleBinding "x/namespace"`.
    binding: String,
    role_kind: String,
    role_name: String,
    /// `Group "dev"`.
    subject: String,
    /// `None` where the role does not exist.
    rules: Option<Arc<[Rule]>>,
}

/// A role that a binding refers to, and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    kind: String,
    pub(super) name: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.rbac.authorization.k8s.io {:?} not found",
            self.kind.to_lowercase(),
            self.name
        )
    }
}

impl Index {
    /// Indexes these Roles, ClusterRoles, RoleBindings and ClusterRoleBindings (other kinds are
    /// passed over); roles that `previous` has read already are not read again.
    pub fn build<'a>(
        objects: impl IntoIterator<Item = &'a Value>,
        previous: Option<&Self>,
    ) -> Self {
        let mut index = Self::default();
        let mut bindings: BTreeMap<(String, String), &Value> = BTreeMap::new();
        for object in objects {
            match object["kind"].as_str() {
                Some(ROLE | CLUSTER_ROLE) => {
                    let key = object_key(object);
                    let known = previous
                        .and_then(|previous| previous.parsed.get(&key))
                        .filter(|known| {
                            text(&object["metadata"], "resourceVersion") == known.resource_version
                                && text(&object["metadata"], "uid") == known.uid
                        });
                    let role = known.map_or_else(|| Arc::new(ParsedRole::read(object)), Arc::clone);
                    index.parsed.insert(key, role);
                }
                Some("RoleBinding" | "ClusterRoleBinding") => {
                    bindings.insert(object_key(object), object);
                }
                _ => {}
            }
        }
        index.resolve_roles();
        for (position, ((namespace, name), binding)) in bindings.into_iter().enumerate() {
            index.bind(position, &namespace, &name, binding);
        }
        index
    }

    /// Whether RBAC allows the request.
    pub fn decide(&self, user: &User, asked: &Attributes) -> Decision {
        let mut problems = Vec::new();
        for grant in self.grants(user, &asked.namespace) {
            let Some(rules) = &grant.rules else {
                problems.push(grant.role_missing().to_string());
                continue;
            };
            if rules.iter().any(|rule| rule.allows(asked)) {
                return Decision::Allow(format!(
                    "RBAC: allowed by {} of {} {:?} to {}",
                    grant.binding, grant.role_kind, grant.role_name, grant.subject
                ));
            }
        }
        problems.dedup();
        Decision::Deny(match problems.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// All rules that apply to the user in the namespace (empty: at the cluster scope), and what
    /// was wrong with the bindings looked at.
    pub(super) fn rules_for(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<Missing>) {
        let mut rules = Vec::new();
        let mut problems = Vec::new();
        for grant in self.grants(user, namespace) {
            match &grant.rules {
                Some(granted) => rules.extend(granted.iter().cloned()),
                None => problems.push(grant.role_missing()),
            }
        }
        (rules, problems)
    }

    /// The rules of a role, those that it aggregates included; `namespace` is empty for a
    /// ClusterRole.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&[Rule]> {
        self.roles
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(|rules| &**rules)
    }

    fn grants(&self, user: &User, namespace: &str) -> Vec<&Arc<Grant>> {
        let mut found = self.cluster.of(user);
        if !namespace.is_empty()
            && let Some(bound) = self.namespaces.get(namespace)
        {
            found.extend(bound.of(user));
        }
        found
    }

    fn resolve_roles(&mut self) {
        let mut roles: HashMap<RoleKey, Arc<[Rule]>> = HashMap::with_capacity(self.parsed.len());
        for (key, role) in &self.parsed {
            let rules = if role.aggregates.is_empty() {
                Arc::clone(&role.rules)
            } else {
                let mut path = vec![key.1.as_str()];
                self.aggregated(role, &mut path).into()
            };
            roles.insert(key.clone(), rules);
        }
        self.roles = roles;
    }

    /// Rules of all ClusterRoles that the role's selectors match, ordered by name.
    fn aggregated<'a>(&'a self, role: &'a ParsedRole, path: &mut Vec<&'a str>) -> Vec<Rule> {
        let mut members: Vec<(&RoleKey, &Arc<ParsedRole>)> = self
            .parsed
            .iter()
            .filter(|((namespace, name), member)| {
                namespace.is_empty()
                    && !path.contains(&name.as_str())
                    && role
                        .aggregates
                        .iter()
                        .any(|selector| selects(selector, &member.labels))
            })
            .collect();
        members.sort_by(|left, right| left.0.cmp(right.0));
        let mut rules: Vec<Rule> = Vec::new();
        for ((_, name), member) in members {
            let own = if member.aggregates.is_empty() {
                member.rules.to_vec()
            } else {
                path.push(name);
                let own = self.aggregated(member, path);
                path.pop();
                own
            };
            for rule in own {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        rules
    }

    fn bind(&mut self, position: usize, namespace: &str, name: &str, binding: &Value) {
        let role_kind = text(&binding["roleRef"], "kind");
        let role_name = text(&binding["roleRef"], "name");
        let role_namespace = if role_kind == ROLE { namespace } else { "" };
        let rules = self
            .roles
            .get(&(role_namespace.to_owned(), role_name.to_owned()))
            .cloned();
        let bound = if namespace.is_empty() {
            &mut self.cluster
        } else {
            self.namespaces.entry(namespace.to_owned()).or_default()
        };
        let label = if namespace.is_empty() {
            format!("ClusterRoleBinding {name:?}")
        } else {
            format!("RoleBinding {:?}", format!("{name}/{namespace}"))
        };
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let kind = text(subject, "kind");
            let subject_name = text(subject, "name");
            let (map, user, shown) = match kind {
                "User" => (
                    &mut bound.users,
                    subject_name.to_owned(),
                    subject_name.to_owned(),
                ),
                "Group" => (
                    &mut bound.groups,
                    subject_name.to_owned(),
                    subject_name.to_owned(),
                ),
                "ServiceAccount" => {
                    let account_namespace = match text(subject, "namespace") {
                        "" => namespace,
                        other => other,
                    };
                    (
                        &mut bound.users,
                        service_account_user(account_namespace, subject_name),
                        format!("{subject_name}/{account_namespace}"),
                    )
                }
                _ => continue,
            };
            map.entry(user).or_default().push(Arc::new(Grant {
                position,
                binding: label.clone(),
                role_kind: role_kind.to_owned(),
                role_name: role_name.to_owned(),
                subject: format!("{kind} {shown:?}"),
                rules: rules.clone(),
            }));
        }
    }
}

impl Bound {
    fn of(&self, user: &User) -> Vec<&Arc<Grant>> {
        let mut found: Vec<&Arc<Grant>> = Vec::new();
        found.extend(self.users.get(&user.name).into_iter().flatten());
        for group in &user.groups {
            found.extend(self.groups.get(group).into_iter().flatten());
        }
        found.sort_by_key(|grant| grant.position);
        found
    }
}

impl Grant {
    fn role_missing(&self) -> Missing {
        Missing {
            kind: self.role_kind.clone(),
            name: self.role_name.clone(),
        }
    }
}

impl ParsedRole {
    fn read(role: &Value) -> Self {
        let aggregates = role["aggregationRule"]["clusterRoleSelectors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        // Labels matter only for being aggregated, which namespaced roles never are.
        let labels = if role["kind"] == CLUSTER_ROLE {
            role["metadata"]["labels"].clone()
        } else {
            Value::Null
        };
        Self {
            resource_version: text(&role["metadata"], "resourceVersion").to_owned(),
            uid: text(&role["metadata"], "uid").to_owned(),
            rules: Rule::read_all(role).into(),
            aggregates,
            labels,
        }
    }
}

fn object_key(object: &Value) -> RoleKey {
    let metadata = &object["metadata"];
    (
        text(metadata, "namespace").to_owned(),
        text(metadata, "name").to_owned(),
    )
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Whether a label selector (`matchLabels`, `matchExpressions`) matches these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    crate::controllers::selector_matches(selector, labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::authz::service_account_groups;

    fn cluster_role(name: &str, resource: &str) -> Value {
        json!({"kind": "ClusterRole", "metadata": {"name": name, "labels": {"part": name}},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]})
    }

    fn binding(namespace: Option<&str>, name: &str, role: &str, subject: &Value) -> Value {
        let kind = if namespace.is_some() {
            "RoleBinding"
        } else {
            "ClusterRoleBinding"
        };
        json!({"kind": kind, "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [subject]})
    }

    fn get(resource: &str, namespace: &str) -> Attributes {
        Attributes {
            verb: "get".into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: "x".into(),
            ..Attributes::default()
        }
    }

    fn account(namespace: &str, name: &str) -> User {
        User {
            name: service_account_user(namespace, name),
            groups: service_account_groups(namespace),
            ..User::default()
        }
    }

    #[test]
    fn a_role_binding_grants_in_its_namespace_only() {
        let objects = [
            cluster_role("reader", "pods"),
            binding(
                Some("a"),
                "readers",
                "reader",
                &json!({"kind": "ServiceAccount", "name": "bot"}),
            ),
        ];
        let rbac = Index::build(&objects, None);
        let bot = account("a", "bot");
        assert_eq!(
            rbac.decide(&bot, &get("pods", "a")),
            Decision::Allow(
                r#"RBAC: allowed by RoleBinding "readers/a" of ClusterRole "reader" to ServiceAccount "bot/a""#.into()
            )
        );
        assert!(!rbac.decide(&bot, &get("pods", "b")).allowed());
        assert!(!rbac.decide(&bot, &get("secrets", "a")).allowed());
        assert!(
            !rbac
                .decide(&account("b", "bot"), &get("pods", "a"))
                .allowed()
        );
    }

    #[test]
    fn a_missing_role_is_told_to_those_it_is_bound_to() {
        let objects = [binding(
            None,
            "gone",
            "nowhere",
            &json!({"kind": "Group", "name": "dev"}),
        )];
        let rbac = Index::build(&objects, None);
        let dev = User {
            groups: vec!["dev".into()],
            ..User::default()
        };
        assert_eq!(
            rbac.decide(&dev, &get("pods", "")),
            Decision::Deny(
                r#"RBAC: clusterrole.rbac.authorization.k8s.io "nowhere" not found"#.into()
            )
        );
        assert_eq!(
            rbac.decide(&User::default(), &get("pods", "")),
            Decision::Deny(String::new())
        );
    }

    #[test]
    fn aggregated_roles_hold_the_rules_of_those_they_select() {
        let outer = json!({"kind": "ClusterRole", "metadata": {"name": "outer"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "a"}}, {"matchLabels": {"part": "b"}}]}});
        let objects = [
            outer,
            cluster_role("a", "pods"),
            cluster_role("b", "secrets"),
            cluster_role("c", "nodes"),
        ];
        let rbac = Index::build(&objects, None);
        let resources: Vec<&str> = rbac
            .role("", "outer")
            .unwrap()
            .iter()
            .map(|rule| rule.resources[0].as_str())
            .collect();
        assert_eq!(resources, ["pods", "secrets"]);
    }

    #[test]
    fn unchanged_roles_are_not_read_again() {
        let mut role = cluster_role("a", "pods");
        role["metadata"]["resourceVersion"] = json!("1");
        let first = Index::build([&role], None);
        let second = Index::build([&role], Some(&first));
        let key = (String::new(), "a".to_owned());
        assert!(Arc::ptr_eq(&first.parsed[&key], &second.parsed[&key]));
        role["metadata"]["resourceVersion"] = json!("2");
        let third = Index::build([&role], Some(&second));
        assert!(!Arc::ptr_eq(&first.parsed[&key], &third.parsed[&key]));
    }
}
