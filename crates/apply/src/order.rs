//! The order in which objects are applied, exactly as Flux has it; deletion goes the other way round.

use std::cmp::Ordering;

use fairway_types::ObjectId;

/// Kinds that come first, in this order. Other kinds follow, then [`LAST`].
const FIRST: [&str; 23] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Rank of a kind; kinds without a place of their own share one.
pub fn rank(kind: &str) -> usize {
    match FIRST.iter().position(|first| *first == kind) {
        Some(place) => place,
        None => {
            FIRST.len()
                + LAST
                    .iter()
                    .position(|last| *last == kind)
                    .map_or(0, |place| place + 1)
        }
    }
}

/// Order of application: by rank, then group, kind, namespace, name. Total: equal means the same object.
pub fn compare(a: &ObjectId, b: &ObjectId) -> Ordering {
    rank(&a.kind)
        .cmp(&rank(&b.kind))
        .then_with(|| a.group.cmp(&b.group))
        .then_with(|| a.kind.cmp(&b.kind))
        .then_with(|| a.namespace.cmp(&b.namespace))
        .then_with(|| a.name.cmp(&b.name))
}

/// A step of an apply; the next one starts when the objects of this one can be relied upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// CustomResourceDefinitions, Namespaces and ClusterRoles: what others need in order to exist.
    Definitions,
    /// Kinds that end in `Class`.
    Classes,
    /// Everything else.
    Resources,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 3] = [Self::Definitions, Self::Classes, Self::Resources];

    /// The stage of an object.
    pub fn of(id: &ObjectId) -> Self {
        match (id.group.as_str(), id.kind.as_str()) {
            ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "Namespace")
            | ("rbac.authorization.k8s.io", "ClusterRole") => Self::Definitions,
            (_, kind) if kind.ends_with("Class") => Self::Classes,
            _ => Self::Resources,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(group: &str, kind: &str, name: &str) -> ObjectId {
        ObjectId {
            namespace: "a".into(),
            name: name.into(),
            group: group.into(),
            kind: kind.into(),
        }
    }

    #[test]
    fn definitions_come_first_and_webhooks_last() {
        let mut ids = [
            id(
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration",
                "v",
            ),
            id("example.com", "Widget", "w"),
            id("apps", "Deployment", "b"),
            id("apps", "Deployment", "a"),
            id("", "ConfigMap", "c"),
            id("", "Namespace", "n"),
            id(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "widgets",
            ),
            id(
                "admissionregistration.k8s.io",
                "MutatingWebhookConfiguration",
                "m",
            ),
            id("storage.k8s.io", "StorageClass", "s"),
        ];
        ids.sort_by(compare);
        let order: Vec<_> = ids.iter().map(|id| id.name.as_str()).collect();
        assert_eq!(order, ["widgets", "n", "s", "c", "a", "b", "w", "m", "v"]);
    }

    #[test]
    fn stages_are_flux_stages() {
        assert_eq!(Stage::of(&id("", "Namespace", "n")), Stage::Definitions);
        assert_eq!(
            Stage::of(&id("example.com", "Namespace", "n")),
            Stage::Resources
        );
        assert_eq!(
            Stage::of(&id("example.com", "WidgetClass", "n")),
            Stage::Classes
        );
        assert_eq!(Stage::of(&id("apps", "Deployment", "n")), Stage::Resources);
    }

    fn any_id() -> impl Strategy<Value = ObjectId> {
        let kind = prop::sample::select(vec![
            "Namespace",
            "Secret",
            "Widget",
            "Gadget",
            "MutatingWebhookConfiguration",
        ]);
        ("[a-b]{0,1}", "[a-c]", "[a-b]{0,1}", kind).prop_map(|(namespace, name, group, kind)| {
            ObjectId {
                namespace,
                name,
                group,
                kind: kind.to_owned(),
            }
        })
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_id(), b in any_id(), c in any_id()) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &b) == Ordering::Equal, a == b);
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }
    }
}
