//! What others changed of what we applied, and when to put it back. Pure.

use std::{collections::HashMap, time::Duration};

use fairway_types::{ObjectId, names};
use serde_json::Value;
use tokio::time::Instant;

use crate::{managed, plan::marked, witness::digest};

/// The fields that our last apply owned, and what the server made of them. Of the values only keyed digests are kept.
///
/// There is one of these for every managed object, so it is small: the field set as text, and one digest for each of its
/// leaves, in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    fields: Box<str>,
    digests: Box<[Option<u64>]>,
}

impl Baseline {
    /// The baseline that an answer of the server to our apply gives; none where it names no fields of ours.
    pub fn of(answer: &Value) -> Option<Self> {
        let fields = managed::own_fields(answer)?;
        let mut digests = Vec::new();
        leaves(fields, Some(answer), &[], &mut |leaf| {
            digests.push(leaf.digest);
        });
        Some(Self {
            fields: fields.to_string().into(),
            digests: digests.into(),
        })
    }

    /// Paths of the fields that have another value in a live object, or are missing, less the ignored ones.
    fn changed(&self, live: &Value, ignored: &[&str]) -> Vec<String> {
        let Ok(fields) = serde_json::from_str(&self.fields) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        let mut before = self.digests.iter();
        leaves(&fields, Some(live), ignored, &mut |leaf| {
            let before = before.next().copied().flatten();
            // What was not there after the apply is not missed.
            if before.is_some() && !leaf.ignored && leaf.digest != before {
                changed.push(leaf.path.to_owned());
            }
        });
        changed
    }
}

/// What differs from the last apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drift {
    /// Fields that we own and that have another value or are missing, such as `.spec.replicas`.
    pub fields: Vec<String>,
    /// Who changed the object: the managers that an apply takes over, else the last writer.
    pub managers: Vec<String>,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.managers.is_empty() {
            "unknown".to_owned()
        } else {
            self.managers.join(", ")
        };
        match self.fields.as_slice() {
            [] => write!(f, "fields added by {by}"),
            fields => write!(f, "{} changed by {by}", fields.join(", ")),
        }
    }
}

/// Compares a live object with the last apply.
///
/// Drift is: a field that we own has another value or is gone; or a manager whose fields an apply takes over (those
/// of kubectl) owns any field, so that the next apply would change it or remove it. Without a baseline (nothing was
/// applied since the start) only the latter can be seen. Fields at or below `ignored` JSON pointers do not count.
pub fn detect(live: &Value, baseline: Option<&Baseline>, ignored: &[&str]) -> Option<Drift> {
    let mut drift = Drift::default();
    if let Some(baseline) = baseline {
        drift.fields = baseline.changed(live, ignored);
    }
    let intruders = if marked(live, names::SSA, names::SSA_MERGE) {
        Vec::new()
    } else {
        managed::intruders(live)
    };
    if drift.fields.is_empty() && intruders.is_empty() {
        return None;
    }
    drift.managers = if intruders.is_empty() {
        managed::last_writer(live)
            .into_iter()
            .map(str::to_owned)
            .collect()
    } else {
        intruders.into_iter().map(str::to_owned).collect()
    };
    Some(drift)
}

/// One leaf of a field set.
struct Leaf<'a> {
    /// Where it is, such as `.spec.replicas`.
    path: &'a str,
    /// The digest of its value; none where the object does not have it.
    digest: Option<u64>,
    /// Whether it is ignored, in whole or in part.
    ignored: bool,
}

/// Visits all leaves of a field set, in its order, whether the object has them or not.
fn leaves(
    fields: &Value,
    object: Option<&Value>,
    ignored: &[&str],
    found: &mut impl FnMut(Leaf<'_>),
) {
    let mut walk = Walk { ignored, found };
    walk.node(
        fields,
        object,
        &mut String::new(),
        &mut String::new(),
        false,
    );
}

struct Walk<'a, F> {
    ignored: &'a [&'a str],
    found: &'a mut F,
}

impl<F: FnMut(Leaf<'_>)> Walk<'_, F> {
    fn node(
        &mut self,
        fields: &Value,
        value: Option<&Value>,
        path: &mut String,
        pointer: &mut String,
        skipped: bool,
    ) {
        let Some(steps) = fields.as_object() else {
            return;
        };
        if steps.is_empty() {
            // A field that is owned as a whole and ignored in part cannot be told apart by its digest.
            let below = |ignored: &&str| {
                let rest = ignored.strip_prefix(pointer.as_str());
                rest.is_some_and(|rest| rest.starts_with('/'))
            };
            (self.found)(Leaf {
                path,
                digest: value.map(digest),
                ignored: skipped || self.ignored.iter().any(below),
            });
            return;
        }
        for (step, below) in steps {
            let (path_len, pointer_len) = (path.len(), pointer.len());
            if step == "." {
                // The map or item itself is ours: that it is there counts, not what others put into it.
                path.push('.');
                (self.found)(Leaf {
                    path,
                    digest: value.map(|_| 0),
                    ignored: skipped,
                });
            } else if let Some(name) = step.strip_prefix("f:") {
                path.push('.');
                path.push_str(name);
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                let skipped = skipped || self.ignored.contains(&pointer.as_str());
                let child = value.and_then(|value| value.get(name));
                self.node(below, child, path, pointer, skipped);
            } else {
                let list = value.and_then(Value::as_array);
                let index = list
                    .and_then(|list| list.iter().position(|item| managed::is_key_of(step, item)));
                path.push('[');
                path.push_str(step.get(2..).unwrap_or_default());
                path.push(']');
                pointer.push('/');
                if let Some(index) = index {
                    pointer.push_str(&index.to_string());
                }
                let skipped = skipped || self.ignored.contains(&pointer.as_str());
                let child = index.and_then(|index| list?.get(index));
                self.node(below, child, path, pointer, skipped);
            }
            path.truncate(path_len);
            pointer.truncate(pointer_len);
        }
    }
}

/// When a drifted object is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// When it may be put back.
    pub at: Instant,
    /// How often in a row it has drifted, this time included.
    pub count: u32,
    /// Whether to raise an event: somebody else insists.
    pub report: bool,
}

/// Plans corrections for each object: at once, then with a pause that doubles up to the interval, so that two
/// controllers that disagree do not fight at full speed.
#[derive(Debug, Default)]
pub struct Backoff {
    objects: HashMap<ObjectId, Fight>,
}

#[derive(Debug, Clone, Copy)]
struct Fight {
    count: u32,
    at: Instant,
}

/// Pause before the second correction.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The correction that raises an event.
const REPORTED: u32 = 3;

impl Backoff {
    /// Plans the correction of an object that has drifted now. An object that stayed as it should for a whole interval
    /// starts anew.
    pub fn drifted(&mut self, id: &ObjectId, now: Instant, interval: Duration) -> Correction {
        let previous = self.objects.get(id).copied();
        let fight = match previous {
            // The last one is still planned: one correction is enough for both.
            Some(fight) if fight.at > now => {
                return Correction {
                    at: fight.at,
                    count: fight.count,
                    report: false,
                };
            }
            Some(fight) if now.duration_since(fight.at) < interval => {
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << (fight.count - 1).min(20))
                    .min(interval);
                Fight {
                    count: fight.count.saturating_add(1),
                    at: now.max(fight.at + pause),
                }
            }
            _ => Fight { count: 1, at: now },
        };
        self.objects.insert(id.clone(), fight);
        Correction {
            at: fight.at,
            count: fight.count,
            report: fight.count == REPORTED,
        }
    }

    /// Drops objects that have been quiet, so that the memory stays small.
    pub fn prune(&mut self, now: Instant, interval: Duration) {
        self.objects
            .retain(|_, fight| fight.at > now || now.duration_since(fight.at) < interval);
    }

    /// How many objects are remembered.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no object is remembered.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied() -> Value {
        json!({
            "metadata": {
                "labels": {"app": "web", "theirs": "1"},
                "managedFields": [{
                    "manager": "kustomize-controller", "operation": "Apply",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {
                            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}},
                        }}}},
                    },
                }],
            },
            "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "sidecar", "image": "s:1"},
                {"name": "web", "image": "web:1", "imagePullPolicy": "Always"},
            ]}}},
        })
    }

    fn drift(change: impl FnOnce(&mut Value), ignored: &[&str]) -> Vec<String> {
        let baseline = Baseline::of(&applied()).unwrap();
        let mut live = applied();
        change(&mut live);
        detect(&live, Some(&baseline), ignored)
            .map(|drift| drift.fields)
            .unwrap_or_default()
    }

    #[test]
    fn only_our_own_fields_drift() {
        assert!(drift(|_| (), &[]).is_empty());
        assert!(
            drift(
                |live| live["metadata"]["labels"]["theirs"] = "2".into(),
                &[]
            )
            .is_empty()
        );
        assert!(
            drift(
                |live| live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] =
                    "Never".into(),
                &[]
            )
            .is_empty()
        );
        assert!(drift(|live| live["status"] = json!({"replicas": 0}), &[]).is_empty());
        assert_eq!(
            drift(|live| live["spec"]["replicas"] = 3.into(), &[]),
            [".spec.replicas"]
        );
        assert_eq!(
            drift(
                |live| live["spec"]["template"]["spec"]["containers"][1]["image"] = "evil".into(),
                &[]
            ),
            [".spec.template.spec.containers[{\"name\":\"web\"}].image"]
        );
        let removed = drift(
            |live| {
                live["metadata"]["labels"]
                    .as_object_mut()
                    .unwrap()
                    .remove("app");
            },
            &[],
        );
        assert_eq!(removed, [".metadata.labels.app"]);
        let gone = drift(
            |live| {
                live["spec"]["template"]["spec"]["containers"]
                    .as_array_mut()
                    .unwrap()
                    .remove(1);
            },
            &[],
        );
        assert_eq!(gone.len(), 3, "{gone:?}");
    }

    #[test]
    fn an_item_that_moved_has_not_drifted() {
        assert!(
            drift(
                |live| live["spec"]["template"]["spec"]["containers"]
                    .as_array_mut()
                    .unwrap()
                    .swap(0, 1),
                &[]
            )
            .is_empty()
        );
    }

    #[test]
    fn ignored_fields_do_not_drift() {
        assert!(
            drift(
                |live| live["spec"]["replicas"] = 9.into(),
                &["/spec/replicas"]
            )
            .is_empty()
        );
        let image = |live: &mut Value| {
            live["spec"]["template"]["spec"]["containers"][1]["image"] = "x".into();
        };
        assert!(drift(image, &["/spec/template/spec/containers/1"]).is_empty());
        assert_eq!(
            drift(
                |live| live["spec"]["replicas"] = 9.into(),
                &["/spec/template"]
            ),
            [".spec.replicas"]
        );
    }

    #[test]
    fn whatever_kubectl_adds_is_drift() {
        let mut live = applied();
        let managed = live["metadata"]["managedFields"].as_array_mut().unwrap();
        managed.push(json!({"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:metadata": {"f:annotations": {"f:x": {}}}}}));
        let found = detect(&live, None, &[]).unwrap();
        assert_eq!(
            found,
            Drift {
                fields: vec![],
                managers: vec!["kubectl-edit".into()]
            }
        );
        live["metadata"]["annotations"] = json!({names::SSA: "Merge"});
        assert_eq!(detect(&live, None, &[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn corrections_slow_down_and_the_third_is_reported() {
        let id: ObjectId = "a_web_apps_Deployment".parse().unwrap();
        let interval = Duration::from_mins(1);
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let mut now = start;
        let mut delays = Vec::new();
        for count in 1..=9 {
            let correction = backoff.drifted(&id, now, interval);
            assert_eq!(correction.count, count);
            assert_eq!(correction.report, count == 3);
            delays.push((correction.at - now).as_secs());
            // It drifts again right after it was put back.
            now = correction.at;
        }
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        let planned = backoff.drifted(&id, now, interval);
        assert!(planned.at > now);
        let again = backoff.drifted(&id, now, interval);
        assert_eq!(
            (again.at, again.count),
            (planned.at, planned.count),
            "one correction is enough for both"
        );
        let quiet = planned.at + interval;
        assert_eq!(backoff.drifted(&id, quiet, interval).count, 1);
        backoff.prune(quiet + interval, interval);
        assert!(backoff.is_empty());
    }
}
