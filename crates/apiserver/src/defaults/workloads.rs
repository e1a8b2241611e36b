//! Deployments and their kin.

use serde_json::{Value, json};

use super::{pods, set, top};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Takes over a DaemonSet's count of its templates, one more if the template changed.
pub(super) fn carry_over_daemon_set(current: &Value, object: &mut Value) {
    let count = |object: &Value| {
        object["metadata"]["annotations"][TEMPLATE_GENERATION]
            .as_str()
            .and_then(|text| text.parse::<i64>().ok())
            .unwrap_or(1)
    };
    let mut filled = object.clone();
    with_template(&mut filled);
    let changed = filled["spec"]["template"] != current["spec"]["template"];
    let now = count(current) + i64::from(changed);
    object["metadata"]["annotations"][TEMPLATE_GENERATION] = now.to_string().into();
}

fn with_template(object: &mut Value) {
    if let Some(template) = object.pointer_mut("/spec/template") {
        pods::template(template);
    }
}

pub(super) fn deployment(object: &mut Value) {
    set(object, "spec", "replicas", json!(1));
    set(object, "spec", "revisionHistoryLimit", json!(10));
    set(object, "spec", "progressDeadlineSeconds", json!(600));
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        top(spec, "strategy", json!({}));
        set(spec, "strategy", "type", json!("RollingUpdate"));
        if spec["strategy"]["type"] == "RollingUpdate" {
            set(spec, "strategy", "rollingUpdate", json!({}));
            set(
                &mut spec["strategy"],
                "rollingUpdate",
                "maxSurge",
                json!("25%"),
            );
            set(
                &mut spec["strategy"],
                "rollingUpdate",
                "maxUnavailable",
                json!("25%"),
            );
        }
    }
    with_template(object);
}

pub(super) fn replica_set(object: &mut Value) {
    set(object, "spec", "replicas", json!(1));
    with_template(object);
}

/// The oldest of them: labels and selector follow its template.
pub(super) fn replication_controller(object: &mut Value) {
    let labels = object
        .pointer("/spec/template/metadata/labels")
        .filter(|labels| labels.as_object().is_some_and(|map| !map.is_empty()))
        .cloned();
    if let Some(labels) = labels {
        set(object, "spec", "selector", labels.clone());
        if object["metadata"]["labels"].is_null() {
            object["metadata"]["labels"] = labels;
        }
    }
    replica_set(object);
}

pub(super) fn stateful_set(object: &mut Value) {
    set(object, "spec", "replicas", json!(1));
    set(object, "spec", "revisionHistoryLimit", json!(10));
    set(object, "spec", "podManagementPolicy", json!("OrderedReady"));
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        top(spec, "updateStrategy", json!({}));
        set(spec, "updateStrategy", "type", json!("RollingUpdate"));
        if spec["updateStrategy"]["type"] == "RollingUpdate" {
            set(spec, "updateStrategy", "rollingUpdate", json!({}));
            set(
                &mut spec["updateStrategy"],
                "rollingUpdate",
                "partition",
                json!(0),
            );
        }
        top(
            spec,
            "persistentVolumeClaimRetentionPolicy",
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
        );
        for claim in spec
            .get_mut("volumeClaimTemplates")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            top(claim, "apiVersion", json!("v1"));
            top(claim, "kind", json!("PersistentVolumeClaim"));
            set(claim, "spec", "volumeMode", json!("Filesystem"));
            top(claim, "status", json!({"phase": "Pending"}));
        }
    }
    with_template(object);
}

pub(super) fn daemon_set(object: &mut Value) {
    // Which of its templates this is, as it was counted before `metadata.generation` was.
    if object["metadata"]["annotations"][TEMPLATE_GENERATION].is_null() {
        object["metadata"]["annotations"][TEMPLATE_GENERATION] = "1".into();
    }
    set(object, "spec", "revisionHistoryLimit", json!(10));
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        top(spec, "updateStrategy", json!({}));
        set(spec, "updateStrategy", "type", json!("RollingUpdate"));
        if spec["updateStrategy"]["type"] == "RollingUpdate" {
            set(spec, "updateStrategy", "rollingUpdate", json!({}));
            set(
                &mut spec["updateStrategy"],
                "rollingUpdate",
                "maxSurge",
                json!(0),
            );
            set(
                &mut spec["updateStrategy"],
                "rollingUpdate",
                "maxUnavailable",
                json!(1),
            );
        }
    }
    with_template(object);
}

pub(super) fn job(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        job_spec(spec);
    }
    with_template(object);
}

/// Jobs select their pods by their own uid unless told otherwise.
pub(super) fn allocate_job(object: &mut Value) {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (uid, name) = (text("uid"), text("name"));
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    if spec["manualSelector"] == true || uid.is_empty() {
        return;
    }
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    top(spec, "selector", selector);
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        label_template(spec, key, json!(value));
    }
    let labels = spec.pointer("/template/metadata/labels").cloned();
    // As Kubernetes does: a Job without labels has those of its template.
    if let (Some(labels), Some(meta)) = (labels, object.get_mut("metadata")) {
        top(meta, "labels", labels);
    }
}

/// Adds a label to the template of a workload.
fn label_template(spec: &mut Value, key: &str, value: Value) {
    if let Some(template) = spec.get_mut("template").filter(|t| t.is_object()) {
        top(template, "metadata", json!({}));
        set(template, "metadata", "labels", json!({}));
        if let Some(meta) = template.get_mut("metadata") {
            set(meta, "labels", key, value);
        }
    }
}

fn job_spec(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        top(spec, "completions", json!(1));
    }
    for (key, value) in [
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        top(spec, key, value);
    }
}

pub(super) fn cron_job(object: &mut Value) {
    for (key, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ] {
        set(object, "spec", key, value);
    }
    if let Some(template) = object.pointer_mut("/spec/jobTemplate") {
        top(template, "metadata", json!({}));
    }
    if let Some(template) = object.pointer_mut("/spec/jobTemplate/spec/template") {
        top(template, "metadata", json!({}));
        pods::template(template);
    }
}

/// The selector and labels that a Job was given are kept when an update leaves them out.
pub(super) fn carry_over_job(current: &Value, object: &mut Value) {
    if let Some(selector) = current.pointer("/spec/selector") {
        set(object, "spec", "selector", selector.clone());
    }
    let labels = current
        .pointer("/spec/template/metadata/labels")
        .and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let generated = key.ends_with("controller-uid") || key.ends_with("job-name");
        if generated && let Some(spec) = object.get_mut("spec") {
            label_template(spec, key, value.clone());
        }
    }
}
