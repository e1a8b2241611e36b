//! One run over one Cluster: is it there, what is it, and is it run from here?

use std::sync::Arc;
use std::time::Duration;

use fairway_apply::RequestError;
use fairway_types::fleet::ClusterStatus;
use fairway_types::names::{self, reason};
use fairway_types::{Cluster, ConditionStatus, conditions};
use kube::ResourceExt;
use kube::api::Api;

use super::{Target, sync};
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::HomeId;
use crate::objects::Name;
use crate::options::Controller;
use crate::queue::{Outcome, Ticket};
use crate::status;

/// Condition: the synced cluster's own objects are reconciled from here.
const SYNCED: &str = "Synced";
/// Condition: changes on the cluster are seen as they happen.
const WATCHING: &str = "Watching";
/// `lastContact` is no heartbeat: it is written at most this often while nothing else changes.
const CONTACT: Duration = Duration::from_mins(5);

enum Seen {
    Suspended,
    Conflict(String),
    Failed(&'static str, String),
    Answers {
        version: String,
        sync: Option<Result<Vec<String>, String>>,
        degraded: Option<String>,
    },
}

pub(crate) async fn reconcile(context: Arc<Context>, ticket: Ticket<Name>) -> Outcome {
    let (namespace, name) = ticket.key().clone();
    let Some(hub) = context.hub() else {
        return Outcome::Done;
    };
    let id = HomeId::Cluster((namespace.clone(), name.clone()));
    let Some(cluster) = context.clusters.get(&namespace, &name) else {
        context.homes.remove(&id);
        return Outcome::Done;
    };
    let ours =
        context.standings.leads(Controller::Fleet) && context.options.selects(cluster.labels());
    if cluster.metadata.deletion_timestamp.is_some() || !ours {
        context.homes.remove(&id);
        return Outcome::Done;
    }
    let seen = match context.conflict() {
        Some(conflict) => {
            context.homes.remove(&id);
            Seen::Conflict(conflict.to_string())
        }
        None => look(&context, &cluster, &id).await,
    };
    let retry = context.options.interval(context.options.cluster_interval);
    let api: Api<Cluster> = Api::namespaced(hub.connection.client(), &namespace);
    let before = cluster.status.clone().unwrap_or_default();
    let after = judge(&cluster, &before, &seen, (context.clock)());
    let ready = |status: &ClusterStatus| {
        conditions::get(&status.conditions, names::READY)
            .map(|ready| (ready.status, ready.message.clone()))
    };
    if ready(&before) != ready(&after)
        && let Some(condition) = conditions::get(&after.conditions, names::READY)
    {
        let failed = condition.status == ConditionStatus::False
            || condition.reason == reason::ENGINE_CONFLICT;
        context.fleet_events.record(Happening {
            object: reference(&*cluster),
            severity: if failed {
                Severity::Error
            } else {
                Severity::Info
            },
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            metadata: std::collections::BTreeMap::new(),
        });
    }
    match status::write(
        &api,
        &context.clusters,
        &name,
        &before,
        &after,
        names::FLEET_MANAGER,
    )
    .await
    {
        Ok(Some((_, Some(change)))) => context.cluster_changed(&change),
        Err(error) if !status::is_gone(&error) => {
            tracing::warn!(cluster = name, %error, "status of Cluster not written");
            return Outcome::Backoff;
        }
        _ => {}
    }
    match seen {
        Seen::Suspended | Seen::Conflict(_) => Outcome::Done,
        Seen::Failed(..) => Outcome::RetryAfter(retry),
        Seen::Answers {
            sync: Some(Err(_)), ..
        } => Outcome::Backoff,
        Seen::Answers { .. } => Outcome::After(retry),
    }
}

async fn look(context: &Arc<Context>, cluster: &Cluster, id: &HomeId) -> Seen {
    if cluster.spec.suspend {
        context.homes.remove(id);
        return Seen::Suspended;
    }
    let Some(hub) = context.hub() else {
        return Seen::Suspended;
    };
    let namespace = cluster.namespace().unwrap_or_default();
    let target = match &cluster.spec.kube_config {
        None => hub.target.clone(),
        Some(reference) => {
            let make = |connection| context.target(connection);
            match context
                .connections
                .resolve(&hub, &namespace, reference, &context.options, make)
                .await
            {
                Ok(target) => target,
                Err(error) => return Seen::Failed("KubeConfigFailed", error.to_string()),
            }
        }
    };
    context.cluster_leads_to((namespace.clone(), cluster.name_any()), &target);
    match ask(&target).await {
        Err(error) if error.is_unreachable() => {
            target.went_down(error.to_string());
            Seen::Failed(reason::CLUSTER_UNREACHABLE, error.to_string())
        }
        Err(error) if error.is_unauthorized() || error.is_forbidden() => Seen::Failed(
            reason::AUTHENTICATION_FAILED,
            format!("the cluster refuses the credentials: {error}"),
        ),
        Err(error) => Seen::Failed(reason::FAILED, error.to_string()),
        Ok(version) => {
            target.came_up();
            let sync = match &cluster.spec.sync {
                None => {
                    context.homes.remove(id);
                    None
                }
                Some(wanted) => Some(sync::ensure(context, cluster, wanted, id, &target).await),
            };
            Seen::Answers {
                version,
                sync,
                degraded: target.observer.degraded(),
            }
        }
    }
}

async fn ask(target: &Target) -> Result<String, RequestError> {
    let version = target.connection.version().await?;
    if !target.residents.is_fresh() {
        target
            .residents
            .refresh(&target.connection, &target.mapper)
            .await?;
    }
    Ok(version)
}

fn judge(
    cluster: &Cluster,
    before: &ClusterStatus,
    seen: &Seen,
    now: jiff::Timestamp,
) -> ClusterStatus {
    let mut status = before.clone();
    let generation = cluster.metadata.generation;
    status.observed_generation = generation;
    if let Some(requested) = cluster.annotations().get(names::REQUESTED_AT) {
        status.last_handled_reconcile_at = Some(requested.clone());
    }
    let list = &mut status.conditions;
    if !matches!(seen, Seen::Conflict(_)) {
        conditions::remove(list, names::ENGINE_CONFLICT);
    }
    let mut set = |type_, is, reason: &str, message: &str| {
        conditions::set(list, type_, is, reason, message, generation, now);
    };
    match seen {
        Seen::Suspended => set(
            names::READY,
            ConditionStatus::Unknown,
            reason::SUSPENDED,
            "suspended",
        ),
        Seen::Conflict(message) => {
            let reason = reason::ENGINE_CONFLICT;
            set(names::READY, ConditionStatus::Unknown, reason, message);
            set(
                names::ENGINE_CONFLICT,
                ConditionStatus::True,
                reason,
                message,
            );
        }
        Seen::Failed(reason, message) => set(names::READY, ConditionStatus::False, reason, message),
        Seen::Answers {
            version,
            sync,
            degraded,
        } => {
            let message = format!("{version} answers");
            match sync {
                None => {
                    set(
                        names::READY,
                        ConditionStatus::True,
                        reason::SUCCEEDED,
                        &message,
                    );
                    conditions::remove(list, SYNCED);
                }
                Some(Ok(superseded)) => {
                    set(
                        names::READY,
                        ConditionStatus::True,
                        reason::SUCCEEDED,
                        &message,
                    );
                    let mut text =
                        "its own sources and Kustomizations are reconciled from here".to_owned();
                    if !superseded.is_empty() {
                        text = format!("{text}; superseded: {}", superseded.join(", "));
                    }
                    conditions::set(
                        list,
                        SYNCED,
                        ConditionStatus::True,
                        reason::SUCCEEDED,
                        &text,
                        generation,
                        now,
                    );
                }
                Some(Err(error)) => {
                    set(names::READY, ConditionStatus::False, "SyncFailed", error);
                    conditions::set(
                        list,
                        SYNCED,
                        ConditionStatus::False,
                        reason::FAILED,
                        error,
                        generation,
                        now,
                    );
                }
            }
            match degraded {
                None => {
                    conditions::remove(list, WATCHING);
                }
                Some(why) => {
                    let is = ConditionStatus::False;
                    conditions::set(
                        list,
                        WATCHING,
                        is,
                        reason::WATCH_FORBIDDEN,
                        why,
                        generation,
                        now,
                    );
                }
            }
            let stale = before
                .last_contact
                .is_none_or(|at| now.duration_since(at).unsigned_abs() >= CONTACT);
            let was_ready = conditions::is_true(&before.conditions, names::READY);
            if stale || !was_ready || before.version.as_ref() != Some(version) {
                status.last_contact = Some(now);
            }
            status.version = Some(version.clone());
        }
    }
    conditions::ready_first(&mut status.conditions);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    fn cluster() -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "a", "namespace": "ns", "generation": 1}, "spec": {},
        }))
        .unwrap()
    }

    fn answers() -> Seen {
        Seen::Answers {
            version: "v1.37.0".into(),
            sync: None,
            degraded: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_steady_cluster_costs_a_write_in_five_minutes() {
        let first = judge(&cluster(), &ClusterStatus::default(), &answers(), at(0));
        assert_eq!(first.version.as_deref(), Some("v1.37.0"));
        assert_eq!(judge(&cluster(), &first, &answers(), at(299)), first);
        assert_eq!(
            judge(&cluster(), &first, &answers(), at(300)).last_contact,
            Some(at(300))
        );
    }

    #[test]
    fn another_engine_is_told_until_it_has_gone() {
        let good = judge(&cluster(), &ClusterStatus::default(), &answers(), at(0));
        let held = Seen::Conflict("another engine leads".into());
        let waits = judge(&cluster(), &good, &held, at(10));
        let ready = conditions::get(&waits.conditions, names::READY).unwrap();
        assert_eq!(
            (ready.status, ready.reason.as_str()),
            (ConditionStatus::Unknown, "EngineConflict")
        );
        assert!(conditions::is_true(
            &waits.conditions,
            names::ENGINE_CONFLICT
        ));
        let again = judge(&cluster(), &waits, &answers(), at(20));
        assert!(conditions::is_true(&again.conditions, names::READY));
        assert!(conditions::get(&again.conditions, names::ENGINE_CONFLICT).is_none());
    }

    #[test]
    fn an_outage_is_told_and_so_is_its_end() {
        let good = judge(&cluster(), &ClusterStatus::default(), &answers(), at(0));
        let bad = judge(
            &cluster(),
            &good,
            &Seen::Failed(reason::CLUSTER_UNREACHABLE, "refused".into()),
            at(10),
        );
        assert!(conditions::is(
            &bad.conditions,
            names::READY,
            ConditionStatus::False
        ));
        assert_eq!(bad.last_contact, Some(at(0)), "when it last answered");
        let again = judge(&cluster(), &bad, &answers(), at(20));
        assert_eq!(again.last_contact, Some(at(20)));
    }
}
