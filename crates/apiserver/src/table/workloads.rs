//! Workloads of the `apps` group.

use jiff::Timestamp;
use serde_json::Value;

use super::{Layout, age, containers, name, number, pairs, selector};

pub(super) fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    Some(match (group, resource) {
        ("apps", "deployments") => &DEPLOYMENTS,
        ("apps", "replicasets") | ("", "replicationcontrollers") => &REPLICA_SETS,
        ("apps", "statefulsets") => &STATEFUL_SETS,
        ("apps", "daemonsets") => &DAEMON_SETS,
        ("apps", "controllerrevisions") => &REVISIONS,
        _ => return None,
    })
}

fn ready(object: &Value) -> Value {
    let wished = number(object, "/spec/replicas");
    format!("{}/{wished}", number(object, "/status/readyReplicas")).into()
}

fn wide(object: &Value) -> Vec<Value> {
    let [names, images] = containers(&object["spec"]["template"]["spec"]);
    let wanted = &object["spec"]["selector"];
    // The selectors of ReplicationControllers are plain pairs.
    let wanted = if object["kind"] == "ReplicationController" {
        pairs(wanted)
    } else {
        selector(wanted)
    };
    vec![names, images, wanted]
}

static DEPLOYMENTS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Up-to-date", "string", false),
        ("Available", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: deployment,
};

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![
        name(object),
        ready(object),
        number(object, "/status/updatedReplicas"),
        number(object, "/status/availableReplicas"),
        age(object, now),
    ];
    cells.extend(wide(object));
    cells
}

static REPLICA_SETS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Desired", "integer", false),
        ("Current", "integer", false),
        ("Ready", "integer", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            number(object, "/spec/replicas"),
            number(object, "/status/replicas"),
            number(object, "/status/readyReplicas"),
            age(object, now),
        ];
        cells.extend(wide(object));
        cells
    },
};

static STATEFUL_SETS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
    ],
    cells: |object, now| {
        let [names, images] = containers(&object["spec"]["template"]["spec"]);
        vec![name(object), ready(object), age(object, now), names, images]
    },
};

static DAEMON_SETS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Desired", "integer", false),
        ("Current", "integer", false),
        ("Ready", "integer", false),
        ("Up-to-date", "integer", false),
        ("Available", "integer", false),
        ("Node Selector", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            number(object, "/status/desiredNumberScheduled"),
            number(object, "/status/currentNumberScheduled"),
            number(object, "/status/numberReady"),
            number(object, "/status/updatedNumberScheduled"),
            number(object, "/status/numberAvailable"),
            pairs(&object["spec"]["template"]["spec"]["nodeSelector"]),
            age(object, now),
        ];
        cells.extend(wide(object));
        cells
    },
};

static REVISIONS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Revision", "string", false),
        ("Age", "string", false),
    ],
    cells: |object, now| {
        let owner = super::items(object, "/metadata/ownerReferences")
            .iter()
            .find(|owner| owner["controller"] == true)
            .map_or("<none>".to_owned(), |owner| {
                let kind = super::text(owner, "/kind").to_lowercase();
                format!("{kind}.apps/{}", super::text(owner, "/name"))
            });
        vec![
            name(object),
            owner.into(),
            number(object, "/revision"),
            age(object, now),
        ]
    },
};
