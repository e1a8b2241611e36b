//! Nobody may grant what they do not hold: the check on writing roles and bindings.
//!
//! Ways around it, as in Kubernetes: membership of `system:masters`, the verb `escalate` on the
//! role, and, for bindings, the verb `bind` on the role that is bound.

use serde_json::Value;

use super::rules::{missing, quoted};
use super::{Index, RBAC_GROUP, Rule};
use crate::auth::{Attributes, Authorizer, MASTERS, User};
use crate::status::ApiError;
use crate::store::GroupResource;

/// Checks the creation (`old` is `None`) or change of an object of RBAC's own `resource`; others pass. The error
/// is the 403 answer. `index` is asked for only where no verb of the caller decides.
pub(super) fn check(
    authorizer: &dyn Authorizer,
    index: &dyn Fn() -> Index,
    user: &User,
    resource: &str,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), ApiError> {
    if user.in_group(MASTERS) {
        return Ok(());
    }
    let same = |fields: [&str; 2]| {
        old.is_some_and(|old| fields.iter().all(|field| old[*field] == new[*field]))
    };
    match resource {
        "roles" | "clusterroles" if !same(["rules", "aggregationRule"]) => {
            let escalate = attributes("escalate", resource, new);
            if authorizer.authorize(user, &escalate).allowed() {
                return Ok(());
            }
            let aggregates = |role: &Value| !role["aggregationRule"].is_null();
            // What will be aggregated is not known, so only who may do everything may ask for it.
            let wanted = if aggregates(new) || old.is_some_and(aggregates) {
                Rule::full_authority()
            } else {
                Rule::read_all(new)
            };
            confirm(&index(), user, &escalate, &wanted)
        }
        "rolebindings" | "clusterrolebindings" if !same(["roleRef", "subjects"]) => {
            let role = &new["roleRef"];
            let name = role["name"].as_str().unwrap_or_default();
            let own = attributes("bind", resource, new);
            let (role_resource, namespace) = if role["kind"] == "ClusterRole" {
                ("clusterroles", "")
            } else {
                ("roles", own.namespace.as_str())
            };
            let bind = Attributes {
                resource: role_resource.to_owned(),
                name: name.to_owned(),
                ..own.clone()
            };
            if authorizer.authorize(user, &bind).allowed() {
                return Ok(());
            }
            let index = index();
            let Some(rules) = index.role(namespace, name) else {
                // A real server, too, names the resource that is written.
                return Err(ApiError::not_found(
                    &GroupResource::new(RBAC_GROUP, resource),
                    name,
                ));
            };
            confirm(&index, user, &own, rules)
        }
        _ => Ok(()),
    }
}

fn confirm(
    index: &Index,
    user: &User,
    written: &Attributes,
    wanted: &[Rule],
) -> Result<(), ApiError> {
    let (held, problems) = index.rules_for(user, &written.namespace);
    let missing = missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = missing.iter().map(Rule::compact).collect();
    lines.sort();
    lines.dedup();
    let resolution = if problems.is_empty() {
        String::new()
    } else {
        let texts: Vec<String> = problems
            .iter()
            .map(|missing| {
                format!(
                    "{}.{RBAC_GROUP} {:?} not found",
                    written.resource, missing.name
                )
            })
            .collect();
        format!("; resolution errors: [{}]", texts.join(", "))
    };
    let message = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}{resolution}",
        user.name,
        quoted(&user.groups),
        lines.join("\n"),
    );
    Err(ApiError::forbidden(
        &GroupResource::new(RBAC_GROUP, &written.resource),
        &written.name,
        &message,
    ))
}

fn attributes(verb: &str, resource: &str, object: &Value) -> Attributes {
    let field = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
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

    use super::{ApiError, Index, RBAC_GROUP, User, Value};
    use crate::auth::AUTHENTICATED;

    fn check(
        objects: &[Value],
        user: &User,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), ApiError> {
        let index = || Index::build(objects, None);
        let resource = format!("{}s", new["kind"].as_str().unwrap().to_lowercase());
        super::check(&index(), &index, user, &resource, old, new)
    }

    fn eve() -> User {
        User {
            name: "eve".into(),
            groups: vec![AUTHENTICATED.into()],
            ..User::default()
        }
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
        let eve = eve();
        assert_eq!(
            check(&objects, &eve, None, &role("same", "get", "pods")),
            Ok(())
        );
        let refused = check(&objects, &eve, None, &role("more", "get", "secrets"))
            .unwrap_err()
            .message;
        assert!(
            refused.starts_with(
                "clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) \
                 is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
            ),
            "{refused}"
        );
        let admin = User::admin();
        assert_eq!(
            check(&objects, &admin, None, &role("more", "get", "secrets")),
            Ok(())
        );
    }

    #[test]
    fn the_verb_escalate_lifts_the_limit() {
        let objects = [
            role("lifter", "escalate", "clusterroles"),
            bound_to_eve("lifter"),
        ];
        let eve = eve();
        assert_eq!(
            check(&objects, &eve, None, &role("more", "get", "secrets")),
            Ok(())
        );
    }

    #[test]
    fn binding_needs_the_rules_of_the_role_or_the_verb_bind() {
        let mut objects = vec![role("secrets", "get", "secrets")];
        let eve = eve();
        let wanted = bound_to_eve("secrets");
        let refused = check(&objects, &eve, None, &wanted).unwrap_err().message;
        assert!(
            refused
                .contains("clusterrolebindings.rbac.authorization.k8s.io \"secrets\" is forbidden"),
            "{refused}"
        );
        objects.extend([
            role("binder", "bind", "clusterroles"),
            bound_to_eve("binder"),
        ]);
        assert_eq!(check(&objects, &eve, None, &wanted), Ok(()));
    }

    #[test]
    fn changes_that_grant_nothing_pass() {
        let eve = eve();
        let old = role("any", "*", "*");
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(check(&[], &eve, Some(&old), &new), Ok(()));
    }

    #[test]
    fn aggregating_asks_for_everything() {
        let objects = [role("reader", "get", "pods"), bound_to_eve("reader")];
        let eve = eve();
        let new = json!({"kind": "ClusterRole", "metadata": {"name": "agg"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
        assert!(
            check(&objects, &eve, None, &new)
                .unwrap_err()
                .message
                .contains("{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}")
        );
    }
}
