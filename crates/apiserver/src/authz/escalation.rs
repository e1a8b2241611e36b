//! Nobody may grant what they do not hold: the check on writing roles and bindings.
//!
//! Ways around it, as in Kubernetes: membership of `system:masters`, the verb `escalate` on the
//! role, and, for bindings, the verb `bind` on the role that is bound.

use serde_json::Value;

use super::rules::{missing, quoted};
use super::{Attributes, MASTERS, RBAC_GROUP, Rbac, ResourceTarget, Rule, User, authorize};

/// Checks the creation (`old` is `None`) or change of a Role, ClusterRole, RoleBinding or
/// ClusterRoleBinding; other kinds pass. The error is the message of the 403 answer.
pub fn check(rbac: &Rbac, user: &User, old: Option<&Value>, new: &Value) -> Result<(), String> {
    if user.in_group(MASTERS) {
        return Ok(());
    }
    match new["kind"].as_str().unwrap_or_default() {
        "Role" => check_role(rbac, user, old, new, "roles"),
        "ClusterRole" => check_role(rbac, user, old, new, "clusterroles"),
        "RoleBinding" => check_binding(rbac, user, old, new, "rolebindings"),
        "ClusterRoleBinding" => check_binding(rbac, user, old, new, "clusterrolebindings"),
        _ => Ok(()),
    }
}

fn check_role(rbac: &Rbac, user: &User, old: Option<&Value>, new: &Value, resource: &str) -> Result<(), String> {
    let aggregates = !new["aggregationRule"].is_null();
    if let Some(old) = old
        && Rule::read_all(old) == Rule::read_all(new)
        && old["aggregationRule"] == new["aggregationRule"]
    {
        return Ok(());
    }
    let target = target(resource, new);
    if authorize(rbac, &Attributes::resource(user, "escalate", target)).allowed {
        return Ok(());
    }
    let mut wanted = Rule::read_all(new);
    // What will be aggregated is not known, so only who may do everything may ask for it.
    if aggregates || old.is_some_and(|old| !old["aggregationRule"].is_null()) {
        wanted = Rule::full_authority();
    }
    confirm(rbac, user, target, &wanted)
}

fn check_binding(rbac: &Rbac, user: &User, old: Option<&Value>, new: &Value, resource: &str) -> Result<(), String> {
    if let Some(old) = old
        && old["roleRef"] == new["roleRef"]
        && old["subjects"] == new["subjects"]
    {
        return Ok(());
    }
    let role = &new["roleRef"];
    let role_name = role["name"].as_str().unwrap_or_default();
    let own = target(resource, new);
    let (role_resource, role_namespace) =
        if role["kind"] == "ClusterRole" { ("clusterroles", "") } else { ("roles", own.namespace) };
    let bind = ResourceTarget {
        group: RBAC_GROUP,
        version: "v1",
        resource: role_resource,
        namespace: own.namespace,
        name: role_name,
        ..ResourceTarget::default()
    };
    if authorize(rbac, &Attributes::resource(user, "bind", bind)).allowed {
        return Ok(());
    }
    let Some(rules) = rbac.role(role_namespace, role_name) else {
        return Err(format!("{role_resource}.{RBAC_GROUP} {role_name:?} not found"));
    };
    confirm(rbac, user, own, rules)
}

fn confirm(rbac: &Rbac, user: &User, target: ResourceTarget<'_>, wanted: &[Rule]) -> Result<(), String> {
    let (held, problems) = rbac.rules_for(user, target.namespace);
    let missing = missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = missing.iter().map(Rule::compact).collect();
    lines.sort();
    lines.dedup();
    let mut message = format!(
        "{} is forbidden: user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        target.qualified_name(),
        user.name,
        quoted(&user.groups),
        lines.join("\n"),
    );
    if !problems.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", problems.join(", ")));
    }
    Err(message)
}

fn target<'a>(resource: &'a str, object: &'a Value) -> ResourceTarget<'a> {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    ResourceTarget {
        group: RBAC_GROUP,
        version: "v1",
        resource,
        namespace: field("namespace"),
        name: field("name"),
        ..ResourceTarget::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(name: &str, verb: &str, resource: &str) -> Value {
        json!({"kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"verbs": [verb], "apiGroups": ["", RBAC_GROUP], "resources": [resource]}]})
    }

    fn bound_to_eve(role: &str) -> Value {
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": role},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "eve"}]})
    }

    #[test]
    fn a_role_may_hold_only_what_its_writer_holds() {
        let objects = [role("reader", "get", "pods"), bound_to_eve("reader")];
        let rbac = Rbac::build(&objects, None);
        let eve = User::authenticated("eve", &[]);
        assert_eq!(check(&rbac, &eve, None, &role("same", "get", "pods")), Ok(()));
        let refused = check(&rbac, &eve, None, &role("more", "get", "secrets")).unwrap_err();
        assert!(
            refused.starts_with(
                "clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) \
                 is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
            ),
            "{refused}"
        );
        let admin = User::authenticated("root", &[MASTERS]);
        assert_eq!(check(&rbac, &admin, None, &role("more", "get", "secrets")), Ok(()));
    }

    #[test]
    fn the_verb_escalate_lifts_the_limit() {
        let objects = [role("lifter", "escalate", "clusterroles"), bound_to_eve("lifter")];
        let rbac = Rbac::build(&objects, None);
        let eve = User::authenticated("eve", &[]);
        assert_eq!(check(&rbac, &eve, None, &role("more", "get", "secrets")), Ok(()));
    }

    #[test]
    fn binding_needs_the_rules_of_the_role_or_the_verb_bind() {
        let mut objects = vec![role("secrets", "get", "secrets")];
        let eve = User::authenticated("eve", &[]);
        let wanted = bound_to_eve("secrets");
        let refused = check(&Rbac::build(&objects, None), &eve, None, &wanted).unwrap_err();
        assert!(refused.contains("clusterrolebindings.rbac.authorization.k8s.io \"secrets\" is forbidden"), "{refused}");
        objects.extend([role("binder", "bind", "clusterroles"), bound_to_eve("binder")]);
        assert_eq!(check(&Rbac::build(&objects, None), &eve, None, &wanted), Ok(()));
    }

    #[test]
    fn changes_that_grant_nothing_pass() {
        let rbac = Rbac::default();
        let eve = User::authenticated("eve", &[]);
        let old = role("any", "*", "*");
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(check(&rbac, &eve, Some(&old), &new), Ok(()));
    }

    #[test]
    fn aggregating_asks_for_everything() {
        let objects = [role("reader", "get", "pods"), bound_to_eve("reader")];
        let rbac = Rbac::build(&objects, None);
        let eve = User::authenticated("eve", &[]);
        let new = json!({"kind": "ClusterRole", "metadata": {"name": "agg"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
        assert!(check(&rbac, &eve, None, &new).unwrap_err().contains("{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"));
    }
}
