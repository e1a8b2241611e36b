//! Jobs: Pods that run to their end.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::cache::Key;
use super::object::{
    condition_holds, is_deleting, items, map_at, name, number, stamp, time, uid, without_empty,
};
use super::plan::Plan;
use super::replica_set::{is_active, pod_of};
use super::resource::{JOBS, PODS};
use super::world::World;
use crate::writer::Propagation;

const SOURCE: &str = "job-controller";

/// Looks at one Job.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(job) = world.cache.get(key).filter(|job| !is_deleting(job)) else {
        return plan;
    };
    if is_finished(job) {
        expire(world, job, &mut plan);
        return plan;
    }
    let pods: Vec<&Arc<Value>> = world
        .cache
        .controlled(&PODS, job)
        .filter(|pod| !is_deleting(pod))
        .collect();
    let ended = |phase: &str| {
        pods.iter()
            .filter(|pod| pod["status"]["phase"] == phase)
            .count()
    };
    let (succeeded, failed) = (count(ended("Succeeded")), count(ended("Failed")));
    let active: Vec<&&Arc<Value>> = pods.iter().filter(|pod| is_active(pod)).collect();
    let completions = job["spec"]["completions"].as_i64();
    let parallelism = number(&job["spec"]["parallelism"], 1);
    let suspended = job["spec"]["suspend"] == true;
    // Without a number of completions, one success is enough once all have ended.
    let done = match completions {
        Some(wanted) => succeeded >= wanted,
        None => succeeded > 0 && active.is_empty(),
    };
    let start = time(&job["status"]["startTime"]).unwrap_or(world.now);
    let deadline = job["spec"]["activeDeadlineSeconds"]
        .as_i64()
        .map(|s| start + SignedDuration::from_secs(s));
    let outcome = if done {
        Some((
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ))
    } else if failed > number(&job["spec"]["backoffLimit"], 6) {
        Some((
            "Failed",
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ))
    } else if !suspended && deadline.is_some_and(|deadline| deadline <= world.now) {
        Some((
            "Failed",
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        ))
    } else {
        None
    };
    let mut running = count(active.len());
    if outcome.is_some() || suspended {
        for pod in &active {
            plan.delete(&PODS, pod, None);
        }
        running = 0;
    } else {
        let left = completions.map_or(if succeeded > 0 { 0 } else { parallelism }, |wanted| {
            wanted - succeeded
        });
        let wished = left.min(parallelism);
        for _ in running..wished {
            create(world, job, &pods, completions, &mut plan);
        }
        running = running.max(wished);
        if let Some(deadline) = deadline {
            plan.look_again(deadline);
        }
    }
    report(
        world,
        job,
        outcome,
        [running, succeeded, failed],
        suspended,
        &mut plan,
    );
    plan
}

fn is_finished(job: &Value) -> bool {
    condition_holds(job, "Complete") || condition_holds(job, "Failed")
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Deletes a finished Job when its time is over.
fn expire(world: &World<'_>, job: &Value, plan: &mut Plan) {
    let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else {
        return;
    };
    let end = items(&job["status"]["conditions"])
        .filter(|condition| condition["type"] == "Complete" || condition["type"] == "Failed")
        .find_map(|condition| time(&condition["lastTransitionTime"]));
    let Some(due) = end.map(|end| end + SignedDuration::from_secs(seconds)) else {
        return;
    };
    if due <= world.now {
        plan.delete(&JOBS, job, Some(Propagation::Foreground));
    } else {
        plan.look_again(due);
    }
}

fn create(
    world: &World<'_>,
    job: &Value,
    pods: &[&Arc<Value>],
    completions: Option<i64>,
    plan: &mut Plan,
) {
    let indexed = job["spec"]["completionMode"] == "Indexed";
    let planned = plan
        .writes
        .iter()
        .filter(|write| matches!(write, super::plan::Write::Create(..)))
        .count();
    let index = completions.filter(|_| indexed).and_then(|wanted| {
        let taken = |index: i64| {
            pods.iter().any(|pod| {
                pod["status"]["phase"] != "Failed"
                    && pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
                        == index.to_string().as_str()
            })
        };
        (0..wanted).filter(|index| !taken(*index)).nth(planned)
    });
    let prefix = index.map_or_else(
        || name(job).to_owned(),
        |index| format!("{}-{index}", name(job)),
    );
    let mut pod = pod_of(job, &format!("{prefix}-{}", (world.suffix)()));
    let labels = map_at(&mut pod["metadata"], "labels");
    for key in ["batch.kubernetes.io/controller-uid", "controller-uid"] {
        labels.insert(key.to_owned(), json!(uid(job)));
    }
    for key in ["batch.kubernetes.io/job-name", "job-name"] {
        labels.insert(key.to_owned(), json!(name(job)));
    }
    if let Some(index) = index {
        labels.insert(
            "batch.kubernetes.io/job-completion-index".to_owned(),
            json!(index.to_string()),
        );
    }
    plan.note(
        SOURCE,
        job,
        "SuccessfulCreate",
        format!("Created pod: {}", name(&pod)),
    );
    plan.create(&PODS, pod);
}

fn report(
    world: &World<'_>,
    job: &Value,
    outcome: Option<(&str, &str, &str)>,
    [active, succeeded, failed]: [i64; 3],
    suspended: bool,
    plan: &mut Plan,
) {
    let now = stamp(world.now);
    let mut status = without_empty(json!({
        "startTime": job["status"]["startTime"],
        "completionTime": job["status"]["completionTime"],
        "active": active,
        "succeeded": succeeded,
        "failed": failed,
    }));
    if status["startTime"].is_null() && !suspended {
        status["startTime"] = now.clone();
    }
    status["ready"] = json!(0);
    status["terminating"] = json!(0);
    status["uncountedTerminatedPods"] = json!({});
    let mut conditions: Vec<Value> = items(&job["status"]["conditions"]).cloned().collect();
    let mut add = |kind: &str, holds: bool, reason: &str, message: &str| {
        let state = if holds { "True" } else { "False" };
        if conditions
            .iter()
            .any(|known| known["type"] == kind && known["status"] == state)
        {
            return;
        }
        conditions.retain(|known| known["type"] != kind);
        conditions.push(json!({
            "type": kind, "status": state, "reason": reason, "message": message,
            "lastProbeTime": now, "lastTransitionTime": now,
        }));
    };
    if suspended {
        add("Suspended", true, "JobSuspended", "Job suspended");
    } else if condition_holds(job, "Suspended") {
        add("Suspended", false, "JobResumed", "Job resumed");
    }
    if let Some((kind, reason, message)) = outcome {
        if kind == "Complete" {
            add("SuccessCriteriaMet", true, reason, message);
            add(kind, true, reason, message);
            status["completionTime"] = now.clone();
            plan.note(SOURCE, job, "Completed", "Job completed".to_owned());
        } else {
            add("FailureTarget", true, reason, message);
            add(kind, true, reason, message);
            plan.warn(
                SOURCE,
                job,
                if reason == "DeadlineExceeded" {
                    "DeadlineExceeded"
                } else {
                    "BackoffLimitExceeded"
                },
                message.to_owned(),
            );
        }
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    plan.status(&JOBS, job, status);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::object::condition;
    use crate::controllers::rig::Rig;

    fn job(spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
            "spec": {
                "completions": 1,
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "m:1"}]}},
            },
        });
        if let (Some(own), Value::Object(more)) = (object["spec"].as_object_mut(), spec) {
            own.extend(more);
        }
        object
    }

    #[test]
    fn a_job_completes_when_its_pods_have() {
        let mut rig = Rig::new(SignedDuration::from_secs(1));
        let key = rig.create(&JOBS, job(json!({"completions": 3, "parallelism": 2})));
        rig.run();
        assert_eq!(rig.get(&key)["status"]["active"], 2);
        rig.pass(SignedDuration::from_secs(2));
        assert_eq!(rig.get(&key)["status"]["succeeded"], 2);
        assert!(!condition_holds(rig.get(&key), "Complete"));
        rig.pass(SignedDuration::from_secs(2));
        let object = rig.get(&key);
        assert!(condition_holds(object, "Complete"));
        assert_eq!(object["status"]["succeeded"], 3);
        assert!(object["status"]["completionTime"].is_string());
        assert_eq!(rig.names(&PODS).len(), 3);
    }

    #[test]
    fn a_finished_job_goes_after_its_time() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(&JOBS, job(json!({"ttlSecondsAfterFinished": 10})));
        rig.run();
        assert!(condition_holds(rig.get(&key), "Complete"));
        rig.pass(SignedDuration::from_secs(9));
        rig.get(&key);
        rig.pass(SignedDuration::from_secs(1));
        assert!(rig.cache.get(&key).is_none());
        assert!(rig.names(&PODS).is_empty());
    }

    #[test]
    fn a_job_that_cannot_start_misses_its_deadline() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let mut object = job(json!({"activeDeadlineSeconds": 30}));
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("m:broken");
        let key = rig.create(&JOBS, object);
        rig.pass(SignedDuration::from_secs(30));
        let failed = condition(rig.get(&key), "Failed").unwrap();
        assert_eq!(failed["reason"], "DeadlineExceeded");
        assert!(rig.names(&PODS).is_empty());
    }

    #[test]
    fn too_many_failures_fail_the_job() {
        let mut rig = Rig::new(SignedDuration::from_hours(1));
        let key = rig.create(&JOBS, job(json!({"backoffLimit": 1})));
        for _ in 0..2 {
            rig.run();
            let running = rig
                .cache
                .list(&PODS, "default")
                .find(|pod| is_active(pod))
                .map(|pod| Key::of(&PODS, pod))
                .unwrap();
            rig.edit(&running, |pod| pod["status"]["phase"] = json!("Failed"));
        }
        rig.run();
        assert_eq!(
            condition(rig.get(&key), "Failed").unwrap()["reason"],
            "BackoffLimitExceeded"
        );
    }
}
