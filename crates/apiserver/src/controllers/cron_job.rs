//! CronJobs: a Job whenever the schedule says so.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cache::Key;
use super::cron_schedule::Schedule;
use super::object::{
    condition_holds, controller_reference, is_deleting, name, namespace, number, set_annotation,
    stamp, time, uid,
};
use super::plan::Plan;
use super::resource::{CRON_JOBS, JOBS};
use super::world::World;
use crate::writer::Propagation;

const SOURCE: &str = "cronjob-controller";

/// Looks at one CronJob.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(cron) = world.cache.get(key).filter(|cron| !is_deleting(cron)) else {
        return plan;
    };
    let mut jobs: Vec<&Arc<Value>> = world.cache.controlled(&JOBS, cron).collect();
    jobs.sort_by_key(|job| {
        job["metadata"]["creationTimestamp"]
            .as_str()
            .map(str::to_owned)
    });
    forget(cron, &jobs, &mut plan);
    let active: Vec<&Arc<Value>> = jobs
        .iter()
        .copied()
        .filter(|job| !is_finished(job))
        .collect();
    let mut status = cron["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let last_done = jobs
        .iter()
        .filter_map(|job| time(&job["status"]["completionTime"]))
        .max();
    if let Some(done) = last_done {
        status["lastSuccessfulTime"] = stamp(done);
    }
    let references: Vec<Value> = active.iter().map(|job| reference(job)).collect();
    if let Some(map) = status.as_object_mut() {
        map.remove("active");
    }
    if !references.is_empty() {
        status["active"] = references.into();
    }
    if cron["spec"]["suspend"] != true {
        match due(world, cron) {
            Some((_, Some(scheduled))) if may_start(cron, &active, &mut plan) => {
                plan.create(&JOBS, job(cron, scheduled));
                plan.note(
                    SOURCE,
                    cron,
                    "SuccessfulCreate",
                    format!("Created job {}", job_name(cron, scheduled)),
                );
                status["lastScheduleTime"] = stamp(scheduled);
                plan.look_again(world.now);
            }
            Some((_, Some(_))) => {}
            Some((next, None)) => plan.look_again(next),
            None => {
                let schedule = cron["spec"]["schedule"].as_str().unwrap_or_default();
                plan.warn(
                    SOURCE,
                    cron,
                    "UnparseableSchedule",
                    format!("unparseable schedule: {schedule:?}"),
                );
            }
        }
    }
    plan.status(&CRON_JOBS, cron, status);
    plan
}

fn is_finished(job: &Value) -> bool {
    condition_holds(job, "Complete") || condition_holds(job, "Failed")
}

fn reference(job: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "name": name(job), "namespace": namespace(job), "uid": uid(job),
        "resourceVersion": job["metadata"]["resourceVersion"],
    })
}

/// The next time of the schedule, and the latest one that is over without a Job.
fn due(world: &World<'_>, cron: &Value) -> Option<(Timestamp, Option<Timestamp>)> {
    let schedule = Schedule::parse(cron["spec"]["schedule"].as_str()?)?;
    let zone = match cron["spec"]["timeZone"].as_str() {
        Some(zone) => TimeZone::get(zone).ok()?,
        None => TimeZone::UTC,
    };
    let after = |time: Timestamp| -> Option<Timestamp> {
        let next = schedule.next(zone.to_datetime(time))?;
        zone.to_timestamp(next).ok()
    };
    let last = time(&cron["status"]["lastScheduleTime"])
        .or_else(|| time(&cron["metadata"]["creationTimestamp"]))
        .unwrap_or(world.now);
    // A cluster that slept catches up with one Job, not with all.
    let first = after(last)?;
    if first > world.now {
        return Some((first, None));
    }
    let mut latest = first;
    for _ in 0..100 {
        match after(latest) {
            Some(next) if next <= world.now => latest = next,
            _ => break,
        }
    }
    Some((first, Some(latest)))
}

fn may_start(cron: &Value, active: &[&Arc<Value>], plan: &mut Plan) -> bool {
    match cron["spec"]["concurrencyPolicy"].as_str() {
        Some("Forbid") => active.is_empty(),
        Some("Replace") => {
            for job in active {
                plan.delete(&JOBS, job, Some(Propagation::Background));
            }
            true
        }
        _ => true,
    }
}

fn job_name(cron: &Value, scheduled: Timestamp) -> String {
    format!("{}-{}", name(cron), scheduled.as_second() / 60)
}

fn job(cron: &Value, scheduled: Timestamp) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(cron, scheduled),
            "namespace": namespace(cron),
            "ownerReferences": [controller_reference(cron)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations"] {
        if template["metadata"][field].is_object() {
            job["metadata"][field] = template["metadata"][field].clone();
        }
    }
    set_annotation(
        &mut job,
        "batch.kubernetes.io/cronjob-scheduled-timestamp",
        stamp(scheduled),
    );
    job
}

/// Deletes finished Jobs beyond what the history limits keep.
fn forget(cron: &Value, jobs: &[&Arc<Value>], plan: &mut Plan) {
    for (kind, field, default) in [
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ] {
        let limit = usize::try_from(number(&cron["spec"][field], default)).unwrap_or_default();
        let ended: Vec<&&Arc<Value>> = jobs
            .iter()
            .filter(|job| condition_holds(job, kind))
            .collect();
        for job in ended.iter().take(ended.len().saturating_sub(limit)) {
            plan.delete(&JOBS, job, Some(Propagation::Background));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::rig::Rig;

    #[test]
    fn jobs_are_created_when_they_are_due() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let key = rig.create(
            &CRON_JOBS,
            json!({
                "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup"},
                "spec": {
                    "schedule": "*/10 * * * *", "successfulJobsHistoryLimit": 2,
                    "jobTemplate": {"spec": {"completions": 1, "template": {"spec": {
                        "restartPolicy": "Never", "containers": [{"name": "c", "image": "b:1"}]}}}},
                },
            }),
        );
        rig.pass(SignedDuration::from_mins(9));
        assert!(rig.names(&JOBS).is_empty());
        rig.pass(SignedDuration::from_mins(1));
        assert_eq!(rig.names(&JOBS).len(), 1);
        assert_eq!(
            rig.get(&key)["status"]["lastScheduleTime"],
            "2026-11-22T08:10:00Z"
        );
        rig.pass(SignedDuration::from_mins(40));
        assert_eq!(rig.names(&JOBS).len(), 2, "older ones are forgotten");
        rig.edit(&key, |cron| cron["spec"]["suspend"] = json!(true));
        rig.pass(SignedDuration::from_mins(30));
        assert_eq!(
            rig.get(&key)["status"]["lastScheduleTime"],
            "2026-11-22T08:50:00Z"
        );
    }
}
