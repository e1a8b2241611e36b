//! One run over one FleetKustomization.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_types::fleet::FleetKustomizationStatus;
use fairway_types::names::{self, reason};
use fairway_types::{ConditionStatus, FleetKustomization, Kustomization, conditions};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::plan::{self, Action, Child, ChildError, Placement, Plan};
use super::summary::{self, Summary};
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::{Home, HomeId, Key};
use crate::objects::Name;
use crate::options::Controller;
use crate::queue::{Outcome, Ticket};
use crate::rollout::{self, Course, Placements, pins};
use crate::status;

/// Children that are written at the same time.
const CONCURRENCY: usize = 8;
/// Everything is heard by watches; this is the safety net.
const INTERVAL: Duration = Duration::from_mins(10);
/// How soon a fleet is looked at again that somebody else has written just now.
const AFTER_CONFLICT: Duration = Duration::from_millis(50);
/// How old a fleet may be without a rule or a cluster before that is called a failure.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn reconcile(context: Arc<Context>, ticket: Ticket<Name>) -> Outcome {
    let (namespace, name) = ticket.key().clone();
    if !context.standings.leads(Controller::Fleet) {
        return Outcome::Done;
    }
    let Some(hub) = context.hub() else {
        return Outcome::Done;
    };
    // A fleet is planned from everything or not at all: a cluster that was not listed yet has not left.
    let synced = async {
        context.clusters.synced().await;
        context.selectors.synced().await;
        // What Promotions hold stays held.
        rollout::holds::known(&context, &hub).await;
        hub.kustomizations.synced().await;
    };
    tokio::select! {
        () = synced => {}
        () = context.stop.cancelled() => return Outcome::Done,
    }
    let Some(fleet) = context.fleets.get(&namespace, &name) else {
        return Outcome::Done;
    };
    if !context.options.selects(fleet.labels()) {
        // Another shard's.
        return Outcome::Done;
    }
    if fleet.metadata.deletion_timestamp.is_some() {
        // Children go with their owner; their workloads do what `deletionPolicy` says on each of them.
        return Outcome::Done;
    }
    if fleet.spec.suspend && fleet.spec.rollout.is_none() {
        return Outcome::Done;
    }
    let clusters = context.clusters.all();
    let selector = |name: &str| context.selectors.get(&namespace, name);
    let existing = |name: &str| hub.kustomizations.get(&namespace, name);
    let mut before = fleet.status.clone().unwrap_or_default();
    let now = (context.clock)();
    let conflict = context.conflict();
    let selected = plan::select(
        &fleet.spec.cluster_selector,
        &namespace,
        &clusters,
        &selector,
    );
    let (after, outcome) = match (conflict, selected) {
        (Some(conflict), _) => {
            let (mut after, message) = (before.clone(), conflict.to_string());
            let (is, reason) = (ConditionStatus::Unknown, reason::ENGINE_CONFLICT);
            set_ready(&mut after, &fleet, is, reason, &message, now);
            conditions::set(
                &mut after.conditions,
                names::ENGINE_CONFLICT,
                ConditionStatus::True,
                reason,
                &message,
                fleet.metadata.generation,
                now,
            );
            (after, Outcome::Done)
        }
        (None, Err(error)) => {
            let mut after = before.clone();
            let (is, reason) = (ConditionStatus::False, reason::SELECTOR_FAILED);
            set_ready(&mut after, &fleet, is, reason, &error.to_string(), now);
            (after, Outcome::Backoff)
        }
        (None, Ok(matching)) => {
            let course = match rollout::plan(&context, &hub, &fleet, &matching, now).await {
                Ok(course) => course,
                Err(error) => return refuse(&context, &hub, &fleet, &error.to_string(), now).await,
            };
            if fleet.spec.suspend {
                // Nothing moves; what the children have they may go on having.
                admit(&context, &fleet, &course);
                return Outcome::Done;
            }
            if let Err(error) = course.write(&context, &hub, &fleet).await {
                if !status::is_gone(&error) {
                    tracing::debug!(fleet = name, %error, "rollout not written down, looking again");
                }
                return if is_conflict(&error) {
                    // Nothing is wrong: what was written meanwhile is about to be heard of.
                    Outcome::After(AFTER_CONFLICT)
                } else {
                    Outcome::Backoff
                };
            }
            let placements = course.place(&context, &hub, &fleet, &matching).await;
            let children: Vec<Arc<Kustomization>> = hub
                .kustomizations
                .all()
                .into_iter()
                .filter(|child| child.namespace().as_deref() == Some(&namespace))
                .collect();
            let placement = |cluster: &str| {
                let found = placements.by_cluster.get(cluster).cloned();
                found.unwrap_or(Placement::Follow)
            };
            let mut plan = plan::plan(&fleet, &matching, &children, &existing, &placement);
            let complete = carry_out(&context, &hub, &fleet, &mut plan).await;
            admit(&context, &fleet, &course);
            tell_course(&context, &fleet, &course);
            let mut summary = summary::summarize(&plan, &existing, course.status.as_ref());
            if let Some((cluster, why)) = placements.problems.first_key_value() {
                summary.ready = ConditionStatus::False;
                summary.reason = reason::REVISION_UNAVAILABLE;
                summary.message = format!("{cluster} cannot be held: {why}");
            }
            before.rollout.clone_from(&course.status);
            let after = judge(&fleet, &before, summary, now);
            let next = if complete && placements.problems.is_empty() {
                Outcome::After(next_look(&context, &hub, &placements, &course, now).await)
            } else {
                Outcome::Backoff
            };
            (after, next)
        }
    };
    let (after, outcome) = be_patient(&fleet, after, outcome, now);
    tell(&context, &fleet, &before, &after);
    let api: Api<FleetKustomization> = Api::namespaced(hub.connection.client(), &namespace);
    match status::write(
        &api,
        &context.fleets,
        &name,
        &before,
        &after,
        names::FLEET_MANAGER,
    )
    .await
    {
        Ok(Some((_, Some(change)))) => context.fleet_changed(&change),
        Err(error) if !status::is_gone(&error) => {
            tracing::warn!(fleet = name, %error, "status of FleetKustomization not written");
            return Outcome::Backoff;
        }
        _ => {}
    }
    outcome
}

/// Whether somebody else has written the object meanwhile.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// A rollout whose waves cannot be told: nothing moves.
async fn refuse(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    fleet: &FleetKustomization,
    why: &str,
    now: jiff::Timestamp,
) -> Outcome {
    let before = fleet.status.clone().unwrap_or_default();
    let mut after = before.clone();
    let (is, reason) = (ConditionStatus::False, reason::SELECTOR_FAILED);
    let message = format!("spec.rollout.waves: {why}");
    set_ready(&mut after, fleet, is, reason, &message, now);
    let (after, outcome) = be_patient(fleet, after, Outcome::Backoff, now);
    tell(context, fleet, &before, &after);
    let (namespace, name) = (fleet.namespace().unwrap_or_default(), fleet.name_any());
    let api: Api<FleetKustomization> = Api::namespaced(hub.connection.client(), &namespace);
    let manager = names::FLEET_MANAGER;
    match status::write(&api, &context.fleets, &name, &before, &after, manager).await {
        Ok(Some((_, Some(change)))) => context.fleet_changed(&change),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(fleet = name, %error, "status of FleetKustomization not written");
        }
    }
    outcome
}

/// Opens the gate for what was decided, and wakes those for whom that is news.
fn admit(context: &Arc<Context>, fleet: &FleetKustomization, course: &Course) {
    let name = (fleet.namespace().unwrap_or_default(), fleet.name_any());
    if course.status.is_none() {
        context.gate.forget(&name);
        return;
    }
    for child in context.gate.publish(&name, course.admitted(&name.1)) {
        context.enqueue_kustomization(Key::new(&HomeId::Hub, &name.0, child));
    }
}

/// When to look at a fleet again, should nothing be heard.
async fn next_look(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    placements: &Placements,
    course: &Course,
    now: jiff::Timestamp,
) -> Duration {
    let mut next = context.options.interval(INTERVAL);
    if let Some(at) = course.wake_at {
        let left = at.duration_since(now).max(jiff::SignedDuration::ZERO);
        next = next.min(left.unsigned_abs());
    }
    match pins::sweep(context, hub, &placements.needed).await {
        Some(again) => next.min(again),
        None => next,
    }
}

/// Rules and clusters often come from the same commit as the fleet, a moment later: that is no failure yet.
fn be_patient(
    fleet: &FleetKustomization,
    mut status: FleetKustomizationStatus,
    outcome: Outcome,
    now: jiff::Timestamp,
) -> (FleetKustomizationStatus, Outcome) {
    let Some(ready) = conditions::get(&status.conditions, names::READY).cloned() else {
        return (status, outcome);
    };
    let age = fleet
        .creation_timestamp()
        .map(|created| now.duration_since(created.0).unsigned_abs());
    if ready.reason != reason::SELECTOR_FAILED || age.is_none_or(|age| age > PATIENCE) {
        return (status, outcome);
    }
    let (is, reason) = (ConditionStatus::Unknown, reason::PROGRESSING);
    set_ready(&mut status, fleet, is, reason, &ready.message, now);
    (status, Outcome::Backoff)
}

/// Creates, changes and deletes children. Whether all of that could be done; what could not is in the plan.
async fn carry_out(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    fleet: &FleetKustomization,
    plan: &mut Plan,
) -> bool {
    let namespace = fleet.namespace().unwrap_or_default();
    let api: Api<Kustomization> = Api::namespaced(hub.connection.client(), &namespace);
    let mut writes: Vec<BoxFuture<'_, bool>> = Vec::new();
    for child in &mut plan.children {
        writes.push(Box::pin(write_child(context, hub, api.clone(), child)));
    }
    let written: Vec<bool> = futures::stream::iter(writes)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    let mut complete = written.into_iter().all(|done| done);
    for (name, policy) in &plan.leavers {
        if let Err(error) = remove(&api, name, *policy).await {
            tracing::warn!(child = name, %error, "child not removed");
            complete = false;
        }
    }
    complete
}

/// Creates or changes one child. Whether that is settled; a refusal is, and is noted in the plan.
async fn write_child(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    api: Api<Kustomization>,
    child: &mut Child,
) -> bool {
    let object = match &child.action {
        Action::Apply(object) => object,
        Action::Hold(patch) => return hold_child(context, hub, api, &child.name, patch).await,
        Action::Keep | Action::Refuse(_) => return true,
    };
    let params = PatchParams::apply(names::FLEET_MANAGER).force();
    let is_new = hub
        .kustomizations
        .get(&namespace_of(object), &child.name)
        .is_none();
    match api.patch(&child.name, &params, &Patch::Apply(object)).await {
        Ok(answer) => {
            let change = if is_new {
                hub.kustomizations.observed(answer)
            } else {
                hub.kustomizations.wrote(answer).1
            };
            if let Some(change) = change {
                context.kustomization_changed(&HomeId::Hub, &change);
            }
            true
        }
        Err(error) => {
            let refused =
                matches!(&error, kube::Error::Api(status) if matches!(status.code, 400 | 422));
            tracing::warn!(child = child.name, %error, "child not written");
            child.action = Action::Refuse(ChildError::Invalid(error.to_string()));
            refused
        }
    }
}

/// Points a child at a hold. Whether that is settled.
async fn hold_child(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    api: Api<Kustomization>,
    name: &str,
    patch: &serde_json::Value,
) -> bool {
    let params = PatchParams {
        field_manager: Some(names::FLEET_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match api.patch(name, &params, &Patch::Merge(patch)).await {
        Ok(answer) => {
            if let (_, Some(change)) = hub.kustomizations.wrote(answer) {
                context.kustomization_changed(&HomeId::Hub, &change);
            }
            true
        }
        Err(error) => {
            tracing::warn!(child = name, %error, "child not held");
            false
        }
    }
}

fn namespace_of(object: &serde_json::Value) -> String {
    object["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Says first what is to become of the workloads, then removes the child.
async fn remove(
    api: &Api<Kustomization>,
    name: &str,
    policy: Option<&'static str>,
) -> Result<(), kube::Error> {
    let gone = |error: kube::Error| {
        if status::is_gone(&error) {
            Ok(())
        } else {
            Err(error)
        }
    };
    if let Some(policy) = policy {
        let patch = json!({"spec": {"deletionPolicy": policy}});
        let params = PatchParams {
            field_manager: Some(names::FLEET_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        if let Err(error) = api.patch(name, &params, &Patch::Merge(&patch)).await {
            return gone(error);
        }
    }
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(error) => gone(error),
    }
}

fn set_ready(
    status: &mut FleetKustomizationStatus,
    fleet: &FleetKustomization,
    is: ConditionStatus,
    reason: &str,
    message: &str,
    now: jiff::Timestamp,
) {
    let generation = fleet.metadata.generation;
    conditions::remove(&mut status.conditions, names::ENGINE_CONFLICT);
    conditions::set(
        &mut status.conditions,
        names::READY,
        is,
        reason,
        message,
        generation,
        now,
    );
    status.observed_generation = generation;
    if let Some(requested) = fleet.annotations().get(names::REQUESTED_AT) {
        status.last_handled_reconcile_at = Some(requested.clone());
    }
}

fn judge(
    fleet: &FleetKustomization,
    before: &FleetKustomizationStatus,
    summary: Summary,
    now: jiff::Timestamp,
) -> FleetKustomizationStatus {
    let mut after = before.clone();
    after.clusters = summary.counts;
    after.summary = summary.clusters;
    set_ready(
        &mut after,
        fleet,
        summary.ready,
        summary.reason,
        &summary.message,
        now,
    );
    after
}

fn tell(
    context: &Context,
    fleet: &FleetKustomization,
    before: &FleetKustomizationStatus,
    after: &FleetKustomizationStatus,
) {
    let ready = |status: &FleetKustomizationStatus| {
        conditions::get(&status.conditions, names::READY).cloned()
    };
    let Some(now) = ready(after) else { return };
    let was = ready(before);
    let same = was
        .as_ref()
        .is_some_and(|was| was.status == now.status && was.reason == now.reason);
    let conflict = now.reason == reason::ENGINE_CONFLICT;
    if same || (now.status == ConditionStatus::Unknown && !conflict) {
        return;
    }
    let failed = now.status == ConditionStatus::False || conflict;
    context.fleet_events.record(Happening {
        object: reference(fleet),
        severity: if failed {
            Severity::Error
        } else {
            Severity::Info
        },
        reason: now.reason,
        message: now.message,
        metadata: BTreeMap::new(),
    });
}

fn tell_course(context: &Context, fleet: &FleetKustomization, course: &Course) {
    for told in &course.told {
        context.metrics.rollouts.count(told.reason);
        tracing::info!(
            fleet = fleet.name_any(),
            reason = told.reason,
            "{}",
            told.message
        );
        context.fleet_events.record(Happening {
            object: reference(fleet),
            severity: if told.is_bad {
                Severity::Error
            } else {
                Severity::Info
            },
            reason: told.reason.to_owned(),
            message: told.message.clone(),
            metadata: BTreeMap::new(),
        });
    }
}
