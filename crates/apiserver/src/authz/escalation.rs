//! Nobody may grant what they do not hold: the check on writing roles and bindings.
//!
//! Ways around it, as in Kubernetes: membership of `system:masters`, the verb `escalate` on the
//! role, and, for bindings, the verb `bind` on the role that is bound.

use serde_json::Value;

use super::rules::{missing, quoted};
use super::{Index, RBAC_GROUP, Rule, authorize};
use crate::auth::{Attributes, MASTERS, User};
use crate::status::ApiError;
use crate::store::GroupResource;

/// Checks the creation (`old` is `None`) or change of a Role, ClusterRole, RoleBinding or
/// ClusterRoleBinding; other kinds pass. The error is the 403 answer.
pub fn check(index: &Index, user: &User, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    if user.in_group(MASTERS) {
        return Ok(());
    }
    match new["kind"].as_str().unwrap_or_default() {
        "Role" => check_role(index, user, old, new, "roles"),
        "ClusterRole" => check_role(index, user, old, new, "clusterroles"),
        "RoleBinding" => check_binding(index, user, old, new, "rolebindings"),
        "ClusterRoleBinding" => check_binding(index, user, old, new, "clusterrolebindings"),
        _ => Ok(()),
    }
}

fn check_role(index: &Index, user: &User, old: Option<&Value>, new: &Value, resource: &str) -> Result<(), ApiError> {
    let aggregates = !new["aggregationRule"].is_null();
    if let Some(old) = old
        && Rule::read_all(old) == Rule::read_all(new)
        && old["aggregationRule"] == new["aggregationRule"]
    {
        return Ok(());
    }
    let escalate = attributes("escalate", resource, new);
    if authorize(index, user, &escalate).allowed() {
        return Ok(());
    }
    let mut wanted = Rule::read_all(new);
    // What will be aggregated is not known, so only who may do everything may ask for it.
    if aggregates || old.is_some_and(|old| !old["aggregationRule"].is_null()) {
        wanted = Rule::full_authority();
    }
    confirm(index, user, &escalate, &wanted)
}

fn check_binding(index: &Index, user: &User, old: Option<&Value>, new: &Value, resource: &str) -> Result<(), ApiError> {
    if let Some(old) = old
        && old["roleRef"] == new["roleRef"]
        && old["subjects"] == new["subjects"]
    {
        return Ok(());
    }
    let role = &new["roleRef"];
    let role_name = role["name"].as_str().unwrap_or_default();
    let own = attributes("bind", resource, new);
    let (role_resource, role_namespace) =
        if role["kind"] == "ClusterRole" { ("clusterroles", "") } else { ("roles", own.namespace.as_str()) };
    let bind = Attributes { resource: role_resource.to_owned(), name: role_name.to_owned(), ..own.clone() };
    if authorize(index, user, &bind).allowed() {
        return Ok(());
    }
    let Some(rules) = index.role(role_namespace, role_name) else {
        return Err(ApiError::not_found(&GroupResource::new(RBAC_GROUP, role_resource), role_name));
    };
    confirm(index, user, &own, rules)
}

fn confirm(index: &Index, user: &User, written: &Attributes, wanted: &[Rule]) -> Result<(), ApiError> {
    let (held, problems) = index.rules_for(user, &written.namespace);
    let missing = missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = missing.iter().map(Rule::compact).collect();
    lines.sort();
    lines.dedup();
    let mut message = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(&user.groups),
        lines.join("\n"),
    );
    if !problems.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", problems.join(", ")));
    }
    Err(ApiError::forbidden(&GroupResource::new(RBAC_GROUP, &written.resource), &written.name, &message))
}

fn attributes(verb: &str, resource: &str, object: &Value) -> Attributes {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    Attributes {
        verb: verb.to_owned(),
        group: RBAC_GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: field("namespace"),
        name: field("name"),
        ..Attributes::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::AUTHENTICATED;

    fn eve() -> User {
        User { name: "eve".into(), groups: vec![AUTHENTICATED.into()], ..User::default() }
    }

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
        let rbac = Index::build(&objects, None);
        let eve = eve();
        assert_eq!(check(&rbac, &eve, None, &role("same", "get", "pods")), Ok(()));
        let refused = check(&rbac, &eve, None, &role("more", "get", "secrets")).unwrap_err().message;
        assert!(
            refused.starts_with(
                "clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) \
                 is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
            ),
            "{refused}"
        );
        let admin = User::admin();
        assert_eq!(check(&rbac, &admin, None, &role("more", "get", "secrets")), Ok(()));
    }

    #[test]
    fn the_verb_escalate_lifts_the_limit() {
        let objects = [role("lifter", "escalate", "clusterroles"), bound_to_eve("lifter")];
        let rbac = Index::build(&objects, None);
        let eve = eve();
        assert_eq!(check(&rbac, &eve, None, &role("more", "get", "secrets")), Ok(()));
    }

    #[test]
    fn binding_needs_the_rules_of_the_role_or_the_verb_bind() {
        let mut objects = vec![role("secrets", "get", "secrets")];
        let eve = eve();
        let wanted = bound_to_eve("secrets");
        let refused = check(&Index::build(&objects, None), &eve, None, &wanted).unwrap_err().message;
        assert!(refused.contains("clusterrolebindings.rbac.authorization.k8s.io \"secrets\" is forbidden"), "{refused}");
        objects.extend([role("binder", "bind", "clusterroles"), bound_to_eve("binder")]);
        assert_eq!(check(&Index::build(&objects, None), &eve, None, &wanted), Ok(()));
    }

    #[test]
    fn changes_that_grant_nothing_pass() {
        let rbac = Index::default();
        let eve = eve();
        let old = role("any", "*", "*");
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(check(&rbac, &eve, Some(&old), &new), Ok(()));
    }

    #[test]
    fn aggregating_asks_for_everything() {
        let objects = [role("reader", "get", "pods"), bound_to_eve("reader")];
        let rbac = Index::build(&objects, None);
        let eve = eve();
        let new = json!({"kind": "ClusterRole", "metadata": {"name": "agg"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
        assert!(check(&rbac, &eve, None, &new).unwrap_err().message.contains("{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"));
    }
}
