//! The rules for pods and what makes them.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Health, Status, View};

/// How long a pod may be unschedulable before it counts as failed.
const SCHEDULE_WINDOW: SignedDuration = SignedDuration::from_secs(15);
/// Without a deadline the Deployment controller sets no `Progressing` condition.
const NO_DEADLINE: i64 = i32::MAX as i64;

pub(super) fn deployment(view: View<'_>) -> Health {
    let mut progressing = view.int_or("/spec/progressDeadlineSeconds", NO_DEADLINE) == NO_DEADLINE;
    let mut available = false;
    for condition in view.conditions() {
        match condition.type_ {
            "Progressing" if condition.reason == "ProgressDeadlineExceeded" => {
                return Health::failed("Progress deadline exceeded");
            }
            "Progressing"
                if condition.is_true() && condition.reason == "NewReplicaSetAvailable" =>
            {
                progressing = true;
            }
            "Available" if condition.is_true() => available = true,
            _ => {}
        }
    }
    let wanted = view.int_or("/spec/replicas", 1);
    let replicas = view.int_or("/status/replicas", 0);
    let updated = view.int_or("/status/updatedReplicas", 0);
    let ready = view.int_or("/status/readyReplicas", 0);
    let available_replicas = view.int_or("/status/availableReplicas", 0);
    if wanted > replicas {
        Health::in_progress(format!("Replicas: {replicas}/{wanted}"))
    } else if wanted > updated {
        Health::in_progress(format!("Updated: {updated}/{wanted}"))
    } else if replicas > wanted {
        Health::in_progress(format!("Pending termination: {}", replicas - wanted))
    } else if updated > available_replicas {
        Health::in_progress(format!("Available: {available_replicas}/{updated}"))
    } else if wanted > ready {
        Health::in_progress(format!("Ready: {ready}/{wanted}"))
    } else if !progressing {
        Health::in_progress("ReplicaSet not Available")
    } else if !available {
        Health::in_progress("Deployment not Available")
    } else {
        Health::current(format!("Deployment is available. Replicas: {replicas}"))
    }
}

pub(super) fn replica_set(view: View<'_>) -> Health {
    if view.is("ReplicaFailure", "True") {
        return Health::in_progress("Replica Failure condition. Check Pods");
    }
    let wanted = view.int_or("/spec/replicas", 1);
    let replicas = view.int_or("/status/replicas", 0);
    for (label, field) in [
        ("Labelled", "fullyLabeledReplicas"),
        ("Available", "availableReplicas"),
        ("Ready", "readyReplicas"),
    ] {
        let count = view.int_or(&format!("/status/{field}"), 0);
        if wanted > count {
            return Health::in_progress(format!("{label}: {count}/{wanted}"));
        }
    }
    if replicas > wanted {
        return Health::in_progress(format!("Pending termination: {}", replicas - wanted));
    }
    Health::current(format!("ReplicaSet is available. Replicas: {replicas}"))
}

pub(super) fn stateful_set(view: View<'_>) -> Health {
    if view.text("/spec/updateStrategy/type") == "OnDelete" {
        return Health::current("StatefulSet is using the ondelete update strategy");
    }
    let wanted = view.int_or("/spec/replicas", 1);
    let replicas = view.int_or("/status/replicas", 0);
    let ready = view.int_or("/status/readyReplicas", 0);
    let current = view.int_or("/status/currentReplicas", 0);
    let updated = view.int_or("/status/updatedReplicas", 0);
    if wanted > replicas {
        return Health::in_progress(format!("Replicas: {replicas}/{wanted}"));
    }
    if wanted > ready {
        return Health::in_progress(format!("Ready: {ready}/{wanted}"));
    }
    if replicas > wanted {
        return Health::in_progress(format!("Pending termination: {}", replicas - wanted));
    }
    if let Some(partition) = view
        .int("/spec/updateStrategy/rollingUpdate/partition")
        .filter(|partition| *partition != -1)
    {
        if updated < wanted - partition {
            return Health::in_progress(format!("updated: {updated}/{}", wanted - partition));
        }
        return Health::current(format!("Partition rollout complete. updated: {updated}"));
    }
    if wanted > current {
        return Health::in_progress(format!("current: {current}/{wanted}"));
    }
    if view.text("/status/currentRevision") != view.text("/status/updateRevision") {
        return Health::in_progress("Waiting for updated revision to match current");
    }
    Health::current(format!(
        "All replicas scheduled as expected. Replicas: {replicas}"
    ))
}

pub(super) fn daemon_set(view: View<'_>) -> Health {
    if view.int("/metadata/generation").is_none() {
        return Health::in_progress("DaemonSet metadata.generation not found");
    }
    if view.int("/status/observedGeneration").is_none() {
        return Health::in_progress("DaemonSet status.observedGeneration not found");
    }
    let wanted = view.int_or("/status/desiredNumberScheduled", -1);
    if wanted == -1 {
        return Health::in_progress("Missing .status.desiredNumberScheduled");
    }
    for (label, field) in [
        ("Current", "currentNumberScheduled"),
        ("Updated", "updatedNumberScheduled"),
        ("Available", "numberAvailable"),
        ("Ready", "numberReady"),
    ] {
        let count = view.int_or(&format!("/status/{field}"), 0);
        if wanted > count {
            return Health::in_progress(format!("{label}: {count}/{wanted}"));
        }
    }
    Health::current(format!(
        "All replicas scheduled as expected. Replicas: {wanted}"
    ))
}

pub(super) fn job(view: View<'_>) -> Health {
    if view.0.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Health::current("Job is suspended");
    }
    let parallelism = view.int_or("/spec/parallelism", 1);
    let completions = view.int_or("/spec/completions", parallelism);
    let succeeded = view.int_or("/status/succeeded", 0);
    let active = view.int_or("/status/active", 0);
    let failed = view.int_or("/status/failed", 0);
    for condition in view.conditions().filter(|condition| condition.is_true()) {
        match condition.type_ {
            "Complete" => {
                return Health::current(format!(
                    "Job Completed. succeeded: {succeeded}/{completions}"
                ));
            }
            "Failed" => {
                return Health::failed(format!("Job Failed. failed: {failed}/{completions}"));
            }
            _ => {}
        }
    }
    if view.text("/status/startTime").is_empty() {
        return Health::in_progress(format!("Job not started. active: 0/{parallelism}"));
    }
    Health::in_progress(format!(
        "Job in progress. success:{succeeded}, active: {active}, failed: {failed}"
    ))
}

pub(super) fn pod(view: View<'_>, now: Timestamp) -> Health {
    match view.text("/status/phase") {
        "Succeeded" => Health::current("Pod has completed successfully"),
        "Failed" => Health::current("Pod has completed, but not successfully"),
        "Running" => {
            if view.is("Ready", "True") {
                return Health::current("Pod is Ready");
            }
            let crashing: Vec<_> = view
                .0
                .pointer("/status/containerStatuses")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|status| {
                    status
                        .pointer("/state/waiting/reason")
                        .and_then(Value::as_str)
                        == Some("CrashLoopBackOff")
                })
                .filter_map(|status| status.get("name").and_then(Value::as_str))
                .collect();
            if crashing.is_empty() {
                Health::in_progress("Pod is running but is not Ready")
            } else {
                Health::failed(format!(
                    "Containers in CrashLoop state: {}",
                    crashing.join(",")
                ))
            }
        }
        "Pending" => {
            let scheduled = view
                .conditions()
                .find(|condition| condition.type_ == "PodScheduled" && condition.is_false());
            if scheduled.is_none_or(|condition| condition.reason != "Unschedulable") {
                return Health::in_progress("Pod is in the Pending phase");
            }
            let created = view
                .text("/metadata/creationTimestamp")
                .parse::<Timestamp>();
            if created.is_ok_and(|created| now.duration_since(created) < SCHEDULE_WINDOW) {
                Health::in_progress("Pod has not been scheduled")
            } else {
                Health::failed("Pod could not be scheduled")
            }
        }
        "" => Health::in_progress("Pod phase not available"),
        phase => Health::new(Status::Unknown, format!("unknown phase {phase}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(rule: fn(View<'_>) -> Health, object: Value) -> (Status, String) {
        let health = rule(View(&object));
        (health.status, health.message)
    }

    #[test]
    fn a_deployment_is_current_when_all_replicas_are_new_and_available() {
        let base = json!({
            "spec": {"replicas": 2, "progressDeadlineSeconds": 600},
            "status": {
                "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
                "conditions": [
                    {"type": "Available", "status": "True"},
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
                ],
            },
        });
        assert_eq!(
            status(deployment, base.clone()),
            (
                Status::Current,
                "Deployment is available. Replicas: 2".into()
            )
        );
        for (pointer, value, message) in [
            ("/status/replicas", json!(1), "Replicas: 1/2"),
            ("/status/updatedReplicas", json!(1), "Updated: 1/2"),
            ("/status/replicas", json!(3), "Pending termination: 1"),
            ("/status/availableReplicas", json!(0), "Available: 0/2"),
            ("/status/readyReplicas", json!(1), "Ready: 1/2"),
            (
                "/status/conditions/0/status",
                json!("False"),
                "Deployment not Available",
            ),
            (
                "/status/conditions/1/reason",
                json!("ReplicaSetUpdated"),
                "ReplicaSet not Available",
            ),
        ] {
            let mut object = base.clone();
            *object.pointer_mut(pointer).unwrap() = value;
            assert_eq!(
                status(deployment, object),
                (Status::InProgress, message.into())
            );
        }
        let mut failed = base;
        failed["status"]["conditions"][1]["reason"] = "ProgressDeadlineExceeded".into();
        assert_eq!(status(deployment, failed).0, Status::Failed);
    }

    #[test]
    fn a_stateful_set_waits_for_its_revision() {
        let base = json!({
            "spec": {"replicas": 1},
            "status": {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "updatedReplicas": 1,
                       "currentRevision": "a", "updateRevision": "a"},
        });
        assert_eq!(status(stateful_set, base.clone()).0, Status::Current);
        let mut rolling = base.clone();
        rolling["status"]["updateRevision"] = "b".into();
        assert_eq!(status(stateful_set, rolling).0, Status::InProgress);
        let mut partition = base;
        partition["spec"] =
            json!({"replicas": 1, "updateStrategy": {"rollingUpdate": {"partition": 0}}});
        partition["status"]["updatedReplicas"] = 0.into();
        assert_eq!(
            status(stateful_set, partition),
            (Status::InProgress, "updated: 0/1".into())
        );
    }

    #[test]
    fn a_daemon_set_must_be_observed() {
        assert_eq!(
            status(daemon_set, json!({"metadata": {"generation": 1}})).0,
            Status::InProgress
        );
        let done = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "desiredNumberScheduled": 0}});
        assert_eq!(status(daemon_set, done).0, Status::Current);
    }

    #[test]
    fn a_job_runs_completes_or_fails() {
        assert_eq!(
            status(job, json!({})),
            (Status::InProgress, "Job not started. active: 0/1".into())
        );
        assert_eq!(
            status(job, json!({"status": {"startTime": "now", "active": 1}})).0,
            Status::InProgress
        );
        let failed = json!({"status": {"startTime": "now", "conditions": [{"type": "Failed", "status": "True"}], "failed": 1}});
        assert_eq!(
            status(job, failed),
            (Status::Failed, "Job Failed. failed: 1/1".into())
        );
    }

    #[test]
    fn a_pod_gets_fifteen_seconds_to_find_a_node() {
        let waiting = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
        });
        let at = |time: &str| pod(View(&waiting), time.parse().unwrap()).status;
        assert_eq!(at("2026-01-01T00:00:10Z"), Status::InProgress);
        assert_eq!(at("2026-01-01T00:00:20Z"), Status::Failed);
        let crashing = json!({"status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        assert_eq!(
            pod(View(&crashing), Timestamp::UNIX_EPOCH),
            Health::failed("Containers in CrashLoop state: web")
        );
    }
}
