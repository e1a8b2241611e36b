//! Who has to look when an object changes.

use std::sync::Arc;

use serde_json::Value;

use super::cache::{Cache, Key};
use super::object::{controller_of, is_deleting, items, labels, namespace, uid};
use super::resource::{
    CLAIMS, CLUSTER_ROLES, CONFIG_MAPS, CRON_JOBS, DAEMON_SETS, DEPLOYMENTS, DISRUPTION_BUDGETS,
    EVENTS, HORIZONTAL_AUTOSCALERS, INGRESSES, JOBS, NAMESPACES, NODES, PODS, QUOTAS, REPLICA_SETS,
    SECRETS, SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS,
};
use super::selector::{map_matches, matches};
use super::{garbage, quota};
use crate::store::GroupResource;

/// Which controller looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Controller {
    Namespace,
    Accounts,
    Token,
    Garbage,
    Pod,
    ReplicaSet,
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Service,
    Claim,
    Ingress,
    DisruptionBudget,
    Autoscaler,
    Quota,
    RoleAggregation,
    EventExpiry,
}

/// A controller and what it is to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Work {
    pub(crate) controller: Controller,
    pub(crate) key: Key,
}

/// A change that the cache has taken in already.
pub(crate) struct Change<'a> {
    pub(crate) key: &'a Key,
    /// The object after the change, or its last state.
    pub(crate) object: &'a Arc<Value>,
    pub(crate) previous: Option<&'a Arc<Value>>,
    pub(crate) deleted: bool,
}

impl Work {
    /// The look for old events, which is not about one object.
    pub(crate) fn expire_events() -> Self {
        Self {
            controller: Controller::EventExpiry,
            key: Key::new(&EVENTS, "", ""),
        }
    }
}

/// The controllers that look at the objects of a resource themselves.
fn own_controller(resource: &GroupResource) -> Option<Controller> {
    let table: [(&GroupResource, Controller); 13] = [
        (&PODS, Controller::Pod),
        (&REPLICA_SETS, Controller::ReplicaSet),
        (&DEPLOYMENTS, Controller::Deployment),
        (&STATEFUL_SETS, Controller::StatefulSet),
        (&DAEMON_SETS, Controller::DaemonSet),
        (&JOBS, Controller::Job),
        (&CRON_JOBS, Controller::CronJob),
        (&SERVICES, Controller::Service),
        (&CLAIMS, Controller::Claim),
        (&INGRESSES, Controller::Ingress),
        (&DISRUPTION_BUDGETS, Controller::DisruptionBudget),
        (&HORIZONTAL_AUTOSCALERS, Controller::Autoscaler),
        (&QUOTAS, Controller::Quota),
    ];
    table
        .into_iter()
        .find(|(id, _)| *id == resource)
        .map(|(_, controller)| controller)
}

/// Lists the work that a change makes.
pub(crate) fn route(cache: &Cache, change: &Change<'_>, push: &mut dyn FnMut(Work)) {
    let Change { key, object, .. } = *change;
    let mut add = |controller, key: Key| push(Work { controller, key });
    if let Some(controller) = own_controller(&key.resource) {
        add(controller, key.clone());
    }
    let resource = &key.resource;
    if *resource == *NAMESPACES {
        add(Controller::Namespace, key.clone());
        add(Controller::Accounts, key.clone());
    } else if *resource == *SERVICE_ACCOUNTS || *resource == *CONFIG_MAPS {
        if change.deleted || change.previous.is_none() {
            add(
                Controller::Accounts,
                Key::new(&NAMESPACES, "", &key.namespace),
            );
        }
        if *resource == *SERVICE_ACCOUNTS {
            for secret in cache
                .list(&SECRETS, &key.namespace)
                .filter(|secret| super::accounts::is_token(secret))
            {
                add(Controller::Token, Key::of(&SECRETS, secret));
            }
        }
    } else if *resource == *SECRETS {
        if super::accounts::is_token(object) && !change.deleted {
            add(Controller::Token, key.clone());
        }
    } else if *resource == *PODS {
        route_pod(cache, change, &mut add);
    } else if *resource == *NODES {
        for set in cache.all(&DAEMON_SETS) {
            add(Controller::DaemonSet, Key::of(&DAEMON_SETS, set));
        }
        for pod in cache
            .all(&PODS)
            .filter(|pod| pod["spec"]["nodeName"].is_null())
        {
            add(Controller::Pod, Key::of(&PODS, pod));
        }
    } else if *resource == *CLUSTER_ROLES {
        for role in cache
            .list(&CLUSTER_ROLES, "")
            .filter(|role| !role["aggregationRule"].is_null())
        {
            add(Controller::RoleAggregation, Key::of(&CLUSTER_ROLES, role));
        }
    } else if *resource == *DEPLOYMENTS || *resource == *STATEFUL_SETS {
        for scaler in cache.list(&HORIZONTAL_AUTOSCALERS, &key.namespace) {
            let target = &scaler["spec"]["scaleTargetRef"];
            if target["kind"] == object["kind"] && target["name"] == object["metadata"]["name"] {
                add(
                    Controller::Autoscaler,
                    Key::of(&HORIZONTAL_AUTOSCALERS, scaler),
                );
            }
        }
    }
    if let Some(controller) = controller_of(object).and_then(|owner| owner["uid"].as_str())
        && let Some(owner) = cache.by_uid(controller)
        && let Some(controller) = own_controller(&owner.resource)
    {
        add(controller, owner.clone());
    }
    route_garbage(cache, change, &mut add);
    if !key.namespace.is_empty() {
        if change.deleted || is_deleting(object) {
            let home = Key::new(&NAMESPACES, "", &key.namespace);
            if cache.get(&home).is_some_and(|home| is_deleting(home)) {
                add(Controller::Namespace, home);
            }
        }
        if quota::counts(resource)
            && (change.deleted || change.previous.is_none() || *resource == *PODS)
        {
            for quota in cache.list(&QUOTAS, &key.namespace) {
                add(Controller::Quota, Key::of(&QUOTAS, quota));
            }
        }
    }
}

fn route_pod(cache: &Cache, change: &Change<'_>, add: &mut dyn FnMut(Controller, Key)) {
    let object = change.object;
    let before = change
        .previous
        .map_or(&Value::Null, |previous| labels(previous));
    for service in cache.list(&SERVICES, namespace(object)) {
        let selector = &service["spec"]["selector"];
        if map_matches(selector, labels(object)) || map_matches(selector, before) {
            add(Controller::Service, Key::of(&SERVICES, service));
        }
    }
    for budget in cache.list(&DISRUPTION_BUDGETS, namespace(object)) {
        let selector = &budget["spec"]["selector"];
        if matches(selector, labels(object)) || matches(selector, before) {
            add(
                Controller::DisruptionBudget,
                Key::of(&DISRUPTION_BUDGETS, budget),
            );
        }
    }
    // A Pod without an owner may be what an orphaned workload is waiting for.
    if controller_of(object).is_none() && !change.deleted {
        for set in cache.list(&REPLICA_SETS, namespace(object)) {
            if matches(&set["spec"]["selector"], labels(object)) {
                add(Controller::ReplicaSet, Key::of(&REPLICA_SETS, set));
            }
        }
    }
}

fn route_garbage(cache: &Cache, change: &Change<'_>, add: &mut dyn FnMut(Controller, Key)) {
    let object = change.object;
    let relevant = |object: &Value| {
        let metadata = &object["metadata"];
        (
            metadata["ownerReferences"].clone(),
            metadata["finalizers"].clone(),
            metadata["deletionTimestamp"].clone(),
        )
    };
    if !change.deleted
        && change
            .previous
            .is_some_and(|previous| relevant(previous) == relevant(object))
    {
        return;
    }
    if !change.deleted && garbage::concerns(object) {
        add(Controller::Garbage, change.key.clone());
    }
    let is_ending = change.deleted || is_deleting(object);
    if is_ending {
        for dependent in cache.dependents(uid(object)) {
            add(Controller::Garbage, dependent.clone());
        }
    }
    // Owners that wait for their dependents count again when one is gone or lets go of them.
    for owner in items(&object["metadata"]["ownerReferences"])
        .chain(
            change
                .previous
                .into_iter()
                .flat_map(|previous| items(&previous["metadata"]["ownerReferences"])),
        )
        .filter_map(|owner| owner["uid"].as_str())
    {
        if let Some(owner) = cache.by_uid(owner)
            && cache.get(owner).is_some_and(|owner| is_deleting(owner))
        {
            add(Controller::Garbage, owner.clone());
        }
    }
}
