//! The order of the output.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::id::{Gvk, ResId};
use crate::kustomization::SortOptions;
use crate::options::Order;
use crate::resources::Resources;

/// What others depend on.
const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// What could stop the others.
const LAST: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// The place of a kind in the legacy order: below zero first, above zero last.
pub(crate) fn rank(kind: &str) -> i32 {
    if let Some(at) = FIRST.iter().position(|first| *first == kind) {
        return at as i32 - FIRST.len() as i32;
    }
    LAST.iter()
        .position(|last| *last == kind)
        .map_or(0, |at| at as i32 + 1)
}

/// Sorts as the kustomization says, or else as the build was asked to.
pub(crate) fn sort(
    resources: &mut Resources,
    options: Option<&SortOptions>,
    order: Order,
) -> Result<()> {
    let Some(options) = options else {
        if order == Order::Legacy {
            legacy(resources, &|kind| rank(kind));
        }
        return Ok(());
    };
    match (options.order.as_str(), &options.legacy) {
        ("legacy", None) => legacy(resources, &|kind| rank(kind)),
        ("legacy", Some((first, last))) => {
            let mut ranks: HashMap<&str, i32> = HashMap::new();
            for (at, kind) in first.iter().enumerate() {
                ranks.insert(kind, at as i32 - first.len() as i32);
            }
            for (at, kind) in last.iter().enumerate() {
                ranks.insert(kind, at as i32 + 1);
            }
            legacy(resources, &|kind| ranks.get(kind).copied().unwrap_or(0));
        }
        ("fifo", None) => {}
        ("fifo", Some(_)) => {
            return Err(Error::invalid(
                "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'",
            )
            .in_field("sortOptions.legacySortOptions"));
        }
        _ => {
            return Err(Error::invalid(
                "the field 'sortOptions.order' must be one of [fifo, legacy]",
            )
            .in_field("sortOptions.order"));
        }
    }
    Ok(())
}

fn legacy(resources: &mut Resources, rank: &dyn Fn(&str) -> i32) {
    let items = std::mem::take(resources.items_mut());
    let mut keyed: Vec<(ResId, String, _)> = items
        .into_iter()
        .map(|resource| {
            let id = resource.id();
            let namespace = if id.namespace.is_empty() {
                "~X"
            } else {
                &id.namespace
            };
            let name = if id.name.is_empty() { "~N" } else { &id.name };
            let text = format!("{}|{namespace}|{name}", id.gvk);
            (id, text, resource)
        })
        .collect();
    keyed.sort_by(|(a, a_text, _), (b, b_text, _)| {
        if a.gvk == b.gvk {
            a_text.cmp(b_text)
        } else {
            by_kind(&a.gvk, &b.gvk, rank)
        }
    });
    *resources.items_mut() = keyed.into_iter().map(|(_, _, resource)| resource).collect();
}

fn by_kind(a: &Gvk, b: &Gvk, rank: &dyn Fn(&str) -> i32) -> Ordering {
    let or = |part: &str, none: &'static str| {
        if part.is_empty() {
            none.to_owned()
        } else {
            part.to_owned()
        }
    };
    let text = |gvk: &Gvk| {
        format!(
            "{}_{}_{}",
            or(&gvk.group, "~G"),
            or(&gvk.version, "~V"),
            or(&gvk.kind, "~K")
        )
    };
    let by_text = || {
        let order = text(a).cmp(&text(b));
        // Kubernetes' own namespaces go before other groups' kinds of that name.
        let namespaces = a.kind == "Namespace" && b.kind == "Namespace";
        if namespaces && (a.group.is_empty() || b.group.is_empty()) {
            order.reverse()
        } else {
            order
        }
    };
    rank(&a.kind).cmp(&rank(&b.kind)).then_with(by_text)
}
