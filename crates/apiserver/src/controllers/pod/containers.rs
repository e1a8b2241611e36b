//! The containers of a simulated Pod.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controllers::object::{items, short_hash, stamp, uid};

/// Why a broken image cannot be had.
pub(super) const PULL_ERROR: &str = "rpc error: code = NotFound desc = failed to pull and unpack image: not found (simulated: the tag says broken)";

/// How far a Pod has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its containers are being made.
    Creating,
    /// An image cannot be pulled.
    ImagePull {
        /// The image.
        image: String,
    },
    /// Everything runs and is ready.
    Running,
    /// All containers ended well.
    Done,
}

/// The first image of the Pod whose tag says that it is broken.
pub(super) fn broken_image(spec: &Value) -> Option<String> {
    items(&spec["initContainers"])
        .chain(items(&spec["containers"]))
        .filter_map(|container| container["image"].as_str())
        .find(|image| is_broken(image))
        .map(str::to_owned)
}

fn is_broken(image: &str) -> bool {
    let file = image.rsplit_once('/').map_or(image, |(_, file)| file);
    file.split_once(':')
        .is_some_and(|(_, tag)| tag.contains("broken"))
}

pub(super) fn has_init(spec: &Value) -> bool {
    items(&spec["initContainers"]).next().is_some()
}

/// Whether the status says already that an image cannot be pulled.
pub(super) fn is_pulling(pod: &Value) -> bool {
    items(&pod["status"]["containerStatuses"])
        .chain(items(&pod["status"]["initContainerStatuses"]))
        .any(|status| status["state"]["waiting"]["reason"] == "ImagePullBackOff")
}

/// Statuses of the containers of one list of the spec.
pub(super) fn statuses(
    pod: &Value,
    list: &str,
    status_list: &str,
    stage: &Stage,
    now: Timestamp,
) -> Value {
    let init = list == "initContainers";
    // A broken init container keeps everything after it waiting.
    let blocked = !init
        && items(&pod["spec"]["initContainers"])
            .any(|c| c["image"].as_str().is_some_and(is_broken));
    items(&pod["spec"][list])
        .map(|container| {
            let before = items(&pod["status"][status_list])
                .find(|status| status["name"] == container["name"]);
            status(pod, container, before, init, blocked, stage, now)
        })
        .collect()
}

fn status(
    pod: &Value,
    container: &Value,
    before: Option<&Value>,
    init: bool,
    blocked: bool,
    stage: &Stage,
    now: Timestamp,
) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    // An init container that restarts always is a sidecar and stays.
    let passes = init && container["restartPolicy"] != "Always";
    let id = || {
        format!(
            "containerd://{:0>64}",
            short_hash(&json!([uid(pod), container["name"]]))
        )
    };
    let started_at = |state: &str| {
        before
            .and_then(|before| before["state"][state].get("startedAt"))
            .cloned()
            .unwrap_or_else(|| stamp(now))
    };
    let mut status = json!({
        "name": container["name"],
        "image": image,
        "imageID": "",
        "ready": false,
        "started": false,
        "restartCount": 0,
        "lastState": {},
    });
    let started = matches!(stage, Stage::Running | Stage::Done);
    if started {
        status["imageID"] = json!(image_id(image));
        status["containerID"] = json!(id());
        let ended = passes || *stage == Stage::Done;
        status["ready"] = json!(passes || !ended);
        status["started"] = json!(!ended);
        status["state"] = if ended {
            let finished = before
                .and_then(|before| before["state"]["terminated"].get("finishedAt"))
                .cloned()
                .unwrap_or_else(|| stamp(now));
            let begun = if passes {
                started_at("terminated")
            } else {
                started_at("running")
            };
            json!({"terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": begun, "finishedAt": finished, "containerID": id(),
            }})
        } else {
            json!({"running": {"startedAt": started_at("running")}})
        };
        return status;
    }
    status["state"] = if !blocked && *stage != Stage::Creating && is_broken(image) {
        json!({"waiting": {
            "reason": "ImagePullBackOff",
            "message": format!("Back-off pulling image {image:?}: ErrImagePull: {PULL_ERROR}"),
        }})
    } else if blocked || (has_init(&pod["spec"]) && !init) {
        json!({"waiting": {"reason": "PodInitializing"}})
    } else {
        json!({"waiting": {"reason": "ContainerCreating"}})
    };
    status
}

fn image_id(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    let digest = image.bytes().fold(0_u128, |digest, byte| {
        digest.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b) ^ u128::from(byte)
    });
    format!("{name}@sha256:{digest:064x}")
}

/// The quality-of-service class that requests and limits come to.
pub(crate) fn quality(spec: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for container in items(&spec["containers"]).chain(items(&spec["initContainers"])) {
        let resources = &container["resources"];
        for kind in ["cpu", "memory"] {
            let limit = &resources["limits"][kind];
            let request = &resources["requests"][kind];
            any |= !limit.is_null() || !request.is_null();
            guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_breaks_an_image() {
        assert!(is_broken("ghcr.io/acme/app:1.2-broken"));
        assert!(is_broken("app:broken"));
        assert!(!is_broken("ghcr.io/broken/app:1.2"));
        assert!(!is_broken("localhost:5000/app"));
    }

    #[test]
    fn quality_follows_requests_and_limits() {
        let spec = |resources: Value| json!({"containers": [{"resources": resources}]});
        assert_eq!(quality(&spec(json!({}))), "BestEffort");
        assert_eq!(
            quality(&spec(json!({"requests": {"cpu": "1"}}))),
            "Burstable"
        );
        let all = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(
            quality(&spec(json!({"requests": all, "limits": all}))),
            "Guaranteed"
        );
    }
}
