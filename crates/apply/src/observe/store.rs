//! What is remembered of each watched object: versions, health and digests, never contents.

use std::collections::{HashMap, HashSet};

use fairway_types::{ObjectId, kustomization::IgnoreRule, names};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    difference,
    drift::{self, Baseline, Drift},
    health::{Health, Judge},
};

use super::ObjectChange;

/// What was last seen of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its uid.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// How healthy it is.
    pub health: Health,
    /// Whether it differs from what was applied.
    pub drifted: bool,
}

#[derive(Default)]
pub(super) struct Store {
    objects: HashMap<ObjectId, Entry>,
    /// Jobs that finished and are gone, and the digest of what was applied.
    finished: HashMap<ObjectId, u64>,
}

struct Entry {
    uid: String,
    version: String,
    health: Health,
    /// The rules by which `health` was judged.
    judged_by: u64,
    drift: Option<Drift>,
    /// Digest of the content that was applied last.
    applied: Option<u64>,
    /// The same, whether or not the object still is what that left behind.
    content: Option<u64>,
    baseline: Option<Baseline>,
    /// What was seen while nothing of ours was known to be there: the answer to an apply may come after its event.
    ahead: Option<Baseline>,
    /// It says itself, by a label or annotation, how it is to be applied.
    marked: bool,
    /// We are writing it: what changes meanwhile is judged when that is done.
    busy: bool,
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether `a` is certainly an older version than `b`. Resource versions of one cluster are increasing numbers.
fn is_older(a: &str, b: &str) -> bool {
    matches!((a.parse::<u64>(), b.parse::<u64>()), (Ok(a), Ok(b)) if a < b)
}

impl Store {
    pub(super) fn seen(&self, id: &ObjectId) -> Option<Seen> {
        self.objects.get(id).map(|entry| Seen {
            uid: entry.uid.clone(),
            resource_version: entry.version.clone(),
            health: entry.health.clone(),
            drifted: entry.drift.is_some(),
        })
    }

    pub(super) fn drift(&self, id: &ObjectId) -> Option<Drift> {
        self.objects.get(id)?.drift.clone()
    }

    pub(super) fn health(&self, id: &ObjectId, judge: &Judge) -> Option<Health> {
        let entry = self.objects.get(id)?;
        let same = entry.judged_by == judge.fingerprint(&id.group, &id.kind);
        same.then(|| entry.health.clone())
    }

    pub(super) fn is_as_applied(&self, id: &ObjectId, digest: u64) -> bool {
        self.objects
            .get(id)
            .is_some_and(|entry| entry.applied == Some(digest) && entry.drift.is_none())
    }

    pub(super) fn untouched_version(&self, id: &ObjectId) -> Option<String> {
        let entry = self.objects.get(id)?;
        let untouched =
            entry.applied.is_some() && entry.drift.is_none() && !entry.marked && !entry.busy;
        untouched.then(|| entry.version.clone())
    }

    pub(super) fn set_busy(&mut self, id: &ObjectId, busy: bool) {
        if let Some(entry) = self.objects.get_mut(id) {
            entry.busy = busy;
            // A write that failed halfway left nobody knows what.
            entry.applied = None;
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&ObjectId) -> bool) {
        self.objects.retain(|id, _| keep(id));
        self.finished.retain(|id, _| keep(id));
    }

    pub(super) fn has(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id)
    }

    pub(super) fn has_finished(&self, id: &ObjectId, digest: u64) -> bool {
        self.finished.get(id) == Some(&digest)
    }

    /// The known objects of a scope that a list does not have.
    pub(super) fn missing(
        &self,
        scope: impl Fn(&ObjectId) -> bool,
        present: &HashSet<ObjectId>,
    ) -> Vec<ObjectId> {
        self.objects
            .keys()
            .filter(|id| scope(id) && !present.contains(id))
            .cloned()
            .collect()
    }

    pub(super) fn applied(&mut self, id: &ObjectId, digest: u64, object: &Value, judge: &Judge) {
        let version = text(object, "/metadata/resourceVersion");
        self.finished.remove(id);
        // The watch may have been faster than the answer to the apply.
        let newer = self.objects.remove(id).filter(|entry| {
            entry.uid == text(object, "/metadata/uid") && is_older(version, &entry.version)
        });
        let mut entry = Entry {
            uid: text(object, "/metadata/uid").to_owned(),
            version: version.to_owned(),
            health: judge.of(object, Timestamp::now()),
            judged_by: judge.fingerprint(&id.group, &id.kind),
            drift: None,
            applied: Some(digest),
            content: Some(digest),
            baseline: Baseline::of(object),
            ahead: None,
            marked: is_marked(object),
            busy: false,
        };
        if let Some(newer) = newer {
            entry.version = newer.version;
            entry.health = newer.health;
            entry.judged_by = newer.judged_by;
            entry.marked = newer.marked;
            if newer.ahead.is_none() || newer.ahead != entry.baseline {
                // That newer state may have drifted from this baseline: do not vouch for it.
                entry.applied = None;
            }
        }
        self.objects.insert(id.clone(), entry);
    }

    pub(super) fn saw(
        &mut self,
        id: &ObjectId,
        object: &Value,
        ignore: &[IgnoreRule],
        judge: &Judge,
    ) -> Vec<ObjectChange> {
        let (uid, version) = (
            text(object, "/metadata/uid"),
            text(object, "/metadata/resourceVersion"),
        );
        let judged_by = judge.fingerprint(&id.group, &id.kind);
        let mut changes = Vec::new();
        let health_now = || judge.of(object, Timestamp::now());
        let entry = match self.objects.get_mut(id) {
            Some(entry) if entry.uid == uid => {
                if is_older(version, &entry.version) {
                    return changes;
                }
                let same_version = entry.version == version;
                if same_version
                    && entry.judged_by == judged_by
                    && entry.applied.is_some()
                    && entry.drift.is_none()
                    && !entry.busy
                {
                    // What the server answered to our own apply.
                    return changes;
                }
                let health = health_now();
                if entry.health != health {
                    changes.push(ObjectChange::Health(health.clone()));
                }
                version.clone_into(&mut entry.version);
                entry.health = health;
                entry.judged_by = judged_by;
                entry.marked = is_marked(object);
                if same_version && entry.drift.is_some() {
                    // Seen again by a new list: told before.
                    return changes;
                }
                entry
            }
            _ => {
                let health = health_now();
                changes.push(ObjectChange::Health(health.clone()));
                let known = self.objects.remove(id);
                let entry = Entry {
                    uid: uid.to_owned(),
                    version: version.to_owned(),
                    health,
                    judged_by,
                    drift: None,
                    // Another object under the same name is not what was applied, but the fields are what it should
                    // have.
                    applied: None,
                    content: known.as_ref().and_then(|entry| entry.content),
                    marked: is_marked(object),
                    busy: known.as_ref().is_some_and(|entry| entry.busy),
                    baseline: known.and_then(|entry| entry.baseline),
                    ahead: None,
                };
                self.objects.entry(id.clone()).or_insert(entry)
            }
        };
        if entry.busy || entry.baseline.is_none() {
            // Whose fields an apply would take over is no state of ours.
            let ours = drift::detect(object, None, &[]).is_none();
            entry.ahead = Baseline::of(object).filter(|_| ours);
        }
        if entry.busy {
            return changes;
        }
        let ignored = difference::ignored_paths(ignore, object);
        entry.drift = drift::detect(object, entry.baseline.as_ref(), &ignored);
        if let Some(drift) = &entry.drift {
            changes.push(ObjectChange::Drifted(drift.clone()));
        }
        changes
    }

    pub(super) fn lost(&mut self, id: &ObjectId, last: Option<&Value>) -> Option<ObjectChange> {
        let entry = self.objects.remove(id)?;
        if let Some(last) = last
            && is_older(text(last, "/metadata/resourceVersion"), &entry.version)
            && text(last, "/metadata/uid") == entry.uid
        {
            // An old event of an object that has been seen since.
            self.objects.insert(id.clone(), entry);
            return None;
        }
        let finished = id.group == "batch"
            && id.kind == "Job"
            && match last {
                Some(last) => has_finished(last),
                None => {
                    entry.health.message.starts_with("Job Completed")
                        || entry.health.message.starts_with("Job Failed")
                }
            };
        if let Some(content) = entry.content.filter(|_| finished) {
            self.finished.insert(id.clone(), content);
        }
        Some(ObjectChange::Gone { finished })
    }
}

/// Whether labels or annotations say how the object is to be applied; that it is ours they all say.
fn is_marked(object: &Value) -> bool {
    let maps = ["/metadata/labels", "/metadata/annotations"].map(|place| object.pointer(place));
    maps.into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(serde_json::Map::keys)
        .filter_map(|key| key.strip_prefix(names::KUSTOMIZE_GROUP))
        .any(|rest| !matches!(rest, "/name" | "/namespace"))
}

fn has_finished(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        matches!(
            condition.get("type").and_then(Value::as_str),
            Some("Complete" | "Failed")
        ) && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> ObjectId {
        "a_c__ConfigMap".parse().unwrap()
    }

    fn object(version: u32, value: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "c", "namespace": "a", "uid": "u", "resourceVersion": version.to_string(),
                "managedFields": [{"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}],
            },
            "data": {"a": value},
        })
    }

    #[test]
    fn our_own_write_is_no_drift_and_a_strangers_is() {
        let mut store = Store::default();
        store.applied(&id(), 7, &object(10, "x"), &Judge::default());
        assert!(store.is_as_applied(&id(), 7));
        assert!(
            store
                .saw(&id(), &object(10, "x"), &[], &Judge::default())
                .is_empty()
        );
        assert!(store.is_as_applied(&id(), 7));
        let changes = store.saw(&id(), &object(12, "y"), &[], &Judge::default());
        assert!(
            matches!(&changes[..], [ObjectChange::Drifted(drift)] if drift.fields == [".data.a"])
        );
        assert!(!store.is_as_applied(&id(), 7));
        assert!(
            store
                .saw(&id(), &object(12, "y"), &[], &Judge::default())
                .is_empty(),
            "told once for each version"
        );
    }

    #[test]
    fn an_event_from_before_the_apply_is_no_drift() {
        let mut store = Store::default();
        store.applied(&id(), 7, &object(10, "new"), &Judge::default());
        assert!(
            store
                .saw(&id(), &object(8, "old"), &[], &Judge::default())
                .is_empty()
        );
        assert!(store.is_as_applied(&id(), 7));
        assert!(store.lost(&id(), Some(&object(8, "old"))).is_none());
    }

    #[test]
    fn a_watch_that_is_ahead_of_the_apply_is_not_vouched_for() {
        for busy in [false, true] {
            let mut store = Store::default();
            if busy {
                store.applied(&id(), 6, &object(9, "old"), &Judge::default());
                store.set_busy(&id(), true);
            }
            store.saw(&id(), &object(12, "theirs"), &[], &Judge::default());
            store.applied(&id(), 7, &object(10, "ours"), &Judge::default());
            assert!(!store.is_as_applied(&id(), 7), "busy: {busy}");
        }
    }

    #[test]
    fn a_watch_that_is_ahead_with_our_own_fields_is_vouched_for() {
        for busy in [false, true] {
            let mut store = Store::default();
            if busy {
                store.applied(&id(), 6, &object(9, "old"), &Judge::default());
                store.set_busy(&id(), true);
            }
            // Somebody wrote the status after our apply, before its answer came.
            let mut later = object(12, "ours");
            later["status"] = json!({"observed": true});
            store.saw(&id(), &later, &[], &Judge::default());
            store.applied(&id(), 7, &object(10, "ours"), &Judge::default());
            assert!(store.is_as_applied(&id(), 7), "busy: {busy}");
            let changes = store.saw(&id(), &object(14, "theirs"), &[], &Judge::default());
            assert!(matches!(&changes[..], [ObjectChange::Drifted(_)]));
        }
    }

    #[test]
    fn a_finished_job_is_told_from_a_lost_one() {
        let id: ObjectId = "a_j_batch_Job".parse().unwrap();
        let job = |done: &str| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "a", "uid": "u", "resourceVersion": "1"},
                   "status": {"startTime": "x", "conditions": [{"type": "Complete", "status": done}]}})
        };
        let mut store = Store::default();
        for (done, finished) in [("True", true), ("False", false)] {
            store.saw(&id, &job(done), &[], &Judge::default());
            assert_eq!(
                store.lost(&id, Some(&job(done))),
                Some(ObjectChange::Gone { finished })
            );
            store.saw(&id, &job(done), &[], &Judge::default());
            assert_eq!(store.lost(&id, None), Some(ObjectChange::Gone { finished }));
        }
    }
}
