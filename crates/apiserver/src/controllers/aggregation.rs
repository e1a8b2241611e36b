//! ClusterRoles that consist of others: their rules, written out for people to read.

use serde_json::Value;

use super::cache::Key;
use super::object::name;
use super::plan::Plan;
use super::resource::CLUSTER_ROLES;
use super::world::World;
use crate::authz::{Index, Rule};

/// Looks at one ClusterRole with an aggregation rule.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(role) = world
        .cache
        .get(key)
        .filter(|role| !role["aggregationRule"].is_null())
    else {
        return plan;
    };
    let index = Index::build(
        world.cache.list(&CLUSTER_ROLES, "").map(|role| &**role),
        None,
    );
    let rules = index.role("", name(role)).unwrap_or_default();
    if Rule::read_all(role) != rules {
        let mut role = (**role).clone();
        role["rules"] = rules
            .iter()
            .map(Rule::to_json)
            .collect::<Vec<Value>>()
            .into();
        plan.replace(&CLUSTER_ROLES, role);
    }
    plan
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::controllers::rig::Rig;

    #[test]
    fn rules_are_written_out() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let outer = rig.create(
            &CLUSTER_ROLES,
            json!({
                "kind": "ClusterRole", "metadata": {"name": "outer"}, "rules": [],
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "outer"}}]},
            }),
        );
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let part = rig.create(
            &CLUSTER_ROLES,
            json!({"kind": "ClusterRole", "metadata": {"name": "part", "labels": {"to": "outer"}}, "rules": [rule]}),
        );
        rig.run();
        assert_eq!(rig.get(&outer)["rules"], json!([rule]));
        rig.delete(&part, None);
        rig.run();
        assert_eq!(rig.get(&outer)["rules"], json!([]));
    }
}
