//! What the observer of a cluster sees, told to the Kustomizations that it concerns.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fairway_apply::drift::{Backoff, Correction};
use fairway_apply::health::Status;
use fairway_apply::observe::{ObjectChange, ObjectEvent};
use fairway_types::names::{self, reason};
use fairway_types::{ConditionStatus, Kustomization, ObjectId, conditions};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::Target;
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::Key;
use crate::metrics::Metrics;
use crate::options::Controller;
use crate::queue::Priority;

/// Listens until the target is given up.
pub(crate) async fn listen(context: Weak<Context>, target: Weak<Target>) {
    let Some((mut events, stop)) = target
        .upgrade()
        .map(|t| (t.observer.subscribe(), t.stop.clone()))
    else {
        return;
    };
    let mut corrections = Corrections::default();
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = stop.cancelled() => return,
        };
        let (Some(context), Some(target)) = (context.upgrade(), target.upgrade()) else {
            return;
        };
        match event {
            Ok(event) => heard(&context, &target, &event, &mut corrections),
            Err(RecvError::Lagged(_)) => {
                for key in context.keys_of(&target) {
                    context.memory.touched(&key);
                    context.enqueue_kustomization_with(key, Duration::ZERO, Priority::Low);
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn heard(
    context: &Arc<Context>,
    target: &Arc<Target>,
    event: &ObjectEvent,
    corrections: &mut Corrections,
) {
    if !context.standings.leads(Controller::Kustomize) {
        return;
    }
    let owner = |key: &Key| key.name == event.owner.name && key.namespace == event.owner.namespace;
    for key in context.keys_of(target).into_iter().filter(owner) {
        let Some(home) = context.homes.get(&key.home) else {
            continue;
        };
        let Some(object) = home.kustomizations.get(&key.namespace, &key.name) else {
            continue;
        };
        if object.spec.suspend || object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let what = match &event.change {
            ObjectChange::Health(health) => {
                let is_under_way = context.is_under_way(&key, &object);
                if matters(&object, health.status, is_under_way) {
                    context.memory.touched(&key);
                    context.enqueue_kustomization(key);
                }
                continue;
            }
            ObjectChange::Gone { finished: true } => {
                // It comes back at the interval or with a new revision: then there is something to ask.
                context.memory.touched(&key);
                continue;
            }
            ObjectChange::Gone { finished: false } => "deleted".to_owned(),
            ObjectChange::Drifted(drift) => drift.to_string(),
        };
        let now = Instant::now();
        let drifted = matches!(event.change, ObjectChange::Drifted(_));
        if let Some(again) = corrections.under_way(&event.id, now)
            && drifted
        {
            // The correction may not have reached the object yet; if it has, this costs nothing.
            context.memory.touched(&key);
            context.enqueue_kustomization_with(key, again, Priority::Normal);
            continue;
        }
        let interval = object
            .spec
            .interval
            .get()
            .clamp(Duration::from_secs(10), Duration::from_hours(24));
        let correction = corrections.plan(&event.id, now, interval);
        Metrics::count(&context.metrics.drifts);
        tracing::info!(%key, object = event.id.subject(), count = correction.count, "drift: {what}");
        if correction.report {
            home.kustomize_events.record(Happening {
                object: reference(&*object),
                severity: Severity::Error,
                reason: reason::DRIFT_CORRECTED.to_owned(),
                message: format!(
                    "{} was put back {} times: {what}; it is put back again, each time later",
                    event.id.subject(),
                    correction.count - 1
                ),
                metadata: std::collections::BTreeMap::new(),
            });
        }
        context.memory.touched(&key);
        let after = correction.at.saturating_duration_since(now);
        context.enqueue_kustomization_with(key, after, Priority::Normal);
    }
}

/// When objects were put back, and when they will be.
#[derive(Default)]
struct Corrections {
    backoff: Backoff,
    last: HashMap<ObjectId, Instant>,
}

/// What is heard of an object so soon after its correction is taken for the same drift.
const SAME: Duration = Duration::from_millis(250);

impl Corrections {
    /// After which time to look again, where a correction has just been begun.
    fn under_way(&self, id: &ObjectId, now: Instant) -> Option<Duration> {
        let at = *self.last.get(id)?;
        let age = now.checked_duration_since(at)?;
        (age < SAME).then(|| SAME.saturating_sub(age))
    }

    fn plan(&mut self, id: &ObjectId, now: Instant, interval: Duration) -> Correction {
        let correction = self.backoff.drifted(id, now, interval);
        if self.last.len() > 1024 {
            self.backoff.prune(now, interval);
            self.last
                .retain(|_, at| now.saturating_duration_since(*at) < interval);
        }
        self.last.insert(id.clone(), correction.at);
        correction
    }
}

/// Whether a change of health changes what the Kustomization says of itself. While a change is under way to the cluster,
/// others wait for it to stay healthy: then it matters that it is not healthy just now.
fn matters(object: &Kustomization, status: Status, is_under_way: bool) -> bool {
    let Some(ready) = object
        .status
        .as_ref()
        .and_then(|status| conditions::get(&status.conditions, names::READY))
    else {
        return false;
    };
    let checks = object.spec.wait || !object.spec.health_checks.is_empty();
    match ready.status {
        ConditionStatus::False => {
            ready.reason == reason::HEALTH_CHECK_FAILED
                && (status == Status::Current || (is_under_way && status != Status::Failed))
        }
        ConditionStatus::True => {
            checks && (status == Status::Failed || (is_under_way && status != Status::Current))
        }
        ConditionStatus::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_edit_is_one_correction_however_often_it_is_heard() {
        let (mut corrections, now) = (Corrections::default(), Instant::now());
        let id: ObjectId = "a_b__ConfigMap".parse().unwrap();
        let interval = Duration::from_mins(10);
        assert_eq!(corrections.under_way(&id, now), None);
        assert_eq!(corrections.plan(&id, now, interval).count, 1);
        let soon = now + Duration::from_millis(20);
        assert_eq!(
            corrections.under_way(&id, soon),
            Some(Duration::from_millis(230))
        );
        let later = now + Duration::from_secs(5);
        assert_eq!(corrections.under_way(&id, later), None);
        let second = corrections.plan(&id, later, interval);
        assert_eq!((second.count, second.report), (2, false));
        let third = corrections.plan(&id, later + Duration::from_secs(5), interval);
        assert_eq!((third.count, third.report), (3, true));
    }
}
