//! Jobs and CronJobs.

use jiff::Timestamp;
use serde_json::Value;

use super::age::{age_of, human};
use super::{Layout, age, containers, items, name, number, or, selector, text};

pub(super) fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    Some(match (group, resource) {
        ("batch", "jobs") => &JOBS,
        ("batch", "cronjobs") => &CRON_JOBS,
        _ => return None,
    })
}

static JOBS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Completions", "string", false),
        ("Duration", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: job,
};

fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = number(job, "/status/succeeded");
    let completions = match (
        job["spec"]["completions"].as_i64(),
        job["spec"]["parallelism"].as_i64(),
    ) {
        (Some(wished), _) => format!("{succeeded}/{wished}"),
        (None, Some(parallel)) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let is = |kind: &str| {
        items(job, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let status = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !job["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else {
        "Running"
    };
    let second = |pointer: &str| {
        text(job, pointer)
            .parse::<Timestamp>()
            .ok()
            .map(Timestamp::as_second)
    };
    let duration = second("/status/startTime").map_or(String::new(), |start| {
        let end = second("/status/completionTime").unwrap_or(now.as_second());
        human(end - start)
    });
    let [names, images] = containers(&job["spec"]["template"]["spec"]);
    vec![
        name(job),
        status.into(),
        completions.into(),
        duration.into(),
        age(job, now),
        names,
        images,
        selector(&job["spec"]["selector"]),
    ]
}

static CRON_JOBS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Schedule", "string", false),
        ("Timezone", "string", false),
        ("Suspend", "boolean", false),
        ("Active", "integer", false),
        ("Last Schedule", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |object, now| {
        let last = match text(object, "/status/lastScheduleTime") {
            "" => "<none>".to_owned(),
            time => age_of(time, now),
        };
        let [names, images] =
            containers(&object["spec"]["jobTemplate"]["spec"]["template"]["spec"]);
        vec![
            name(object),
            text(object, "/spec/schedule").into(),
            or(text(object, "/spec/timeZone"), "<none>").into(),
            if object["spec"]["suspend"] == true {
                "True"
            } else {
                "False"
            }
            .into(),
            items(object, "/status/active").len().into(),
            last.into(),
            age(object, now),
            names,
            images,
            selector(&object["spec"]["jobTemplate"]["spec"]["selector"]),
        ]
    },
};
