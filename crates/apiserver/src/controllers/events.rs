//! Events that the simulated components record: merged where they repeat, and never more than a few hundred.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cache::Key;
use super::object::{name, stamp, time};
use super::plan::{Note, Plan};
use super::resource::EVENTS;
use super::world::World;
use crate::writer::{DeleteOptions, Scope, Writer};

/// How many events of its own a cluster keeps; the oldest go first.
const KEPT: usize = 256;
/// How long any event is kept, as by a real API server.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How often old events are looked for.
pub(crate) const SWEEP: SignedDuration = SignedDuration::from_mins(5);

/// Which events are one: uid of the object, reason, message.
type Subject = (String, &'static str, String);

/// Writes events.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    recent: HashMap<Subject, Key>,
    order: VecDeque<Subject>,
    /// The number in the name of the last event: names sort as the events happened.
    last: i128,
}

impl Recorder {
    /// Records an event, or counts it where the same was recorded before.
    pub(crate) fn record(&mut self, writer: &Writer, note: Note, now: Timestamp) {
        let uid = note.about["uid"].as_str().unwrap_or_default().to_owned();
        let subject = (uid, note.reason, note.message.clone());
        if let Some(key) = self.recent.get(&subject) {
            let again = writer.modify(&EVENTS, &key.namespace, &key.name, Scope::Object, |event| {
                event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
                event["lastTimestamp"] = stamp(now);
            });
            if again.is_ok() {
                return;
            }
            self.forget(&subject);
        }
        // An event in a namespace that is going away is refused, and not missed.
        self.last = now.as_nanosecond().max(self.last + 1);
        let Ok(created) = writer.create(&EVENTS, event(&note, self.last, now)) else {
            return;
        };
        self.recent
            .insert(subject.clone(), Key::of(&EVENTS, &created));
        self.order.push_back(subject);
        while self.order.len() > KEPT {
            if let Some(oldest) = self.order.pop_front()
                && let Some(key) = self.recent.remove(&oldest)
            {
                // It may have expired or been deleted by hand.
                let _ = writer.delete(
                    &EVENTS,
                    &key.namespace,
                    &key.name,
                    &DeleteOptions::default(),
                );
            }
        }
    }

    fn forget(&mut self, subject: &Subject) {
        self.recent.remove(subject);
        self.order.retain(|other| other != subject);
    }
}

fn event(note: &Note, number: i128, now: Timestamp) -> Value {
    let about = &note.about;
    let namespace = about["namespace"].as_str().unwrap_or("default");
    let object_name = about["name"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{object_name}.{number:016x}"),
            "namespace": namespace,
        },
        "involvedObject": about,
        "type": note.kind,
        "reason": note.reason,
        "message": note.message,
        "source": {"component": note.source},
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
        "reportingComponent": note.source,
        "reportingInstance": "",
        "eventTime": null,
    })
}

/// Deletes events that are older than their lifetime, whoever recorded them.
pub(crate) fn expire(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut any = false;
    for event in world.cache.all(&EVENTS) {
        any = true;
        let last = time(&event["series"]["lastObservedTime"])
            .or_else(|| time(&event["lastTimestamp"]))
            .or_else(|| time(&event["eventTime"]))
            .or_else(|| time(&event["metadata"]["creationTimestamp"]));
        if last.is_some_and(|last| last + LIFETIME < world.now) && !name(event).is_empty() {
            plan.delete(&EVENTS, event, None);
        }
    }
    if any {
        plan.look_again(world.now + SWEEP);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::resource::PODS;
    use crate::controllers::rig::Rig;

    #[test]
    fn old_events_go() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let event = json!({"kind": "Event", "metadata": {"name": "e"}, "lastTimestamp": "2026-11-22T08:00:00Z"});
        let key = rig.create(&EVENTS, event);
        rig.pass(SignedDuration::from_mins(59));
        rig.get(&key);
        rig.create(
            &PODS,
            json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {}}),
        );
        rig.pass(SignedDuration::from_mins(10));
        assert!(rig.cache.get(&key).is_none());
    }
}
