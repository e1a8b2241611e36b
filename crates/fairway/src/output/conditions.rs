//! Reading the state of Flux's and Fairway's objects from their JSON.

use serde_json::Value;

/// What the Ready condition of an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    /// The condition's reason.
    pub(crate) reason: String,
    /// The condition's message.
    pub(crate) message: String,
}

impl Readiness {
    /// Whether the condition is True.
    pub(crate) fn is_ready(&self) -> bool {
        self.status == "True"
    }
}

/// The Ready condition; `Unknown` and "not reconciled yet" where there is none for the current generation.
pub(crate) fn readiness(object: &Value) -> Readiness {
    let generation = object["metadata"]["generation"].as_i64();
    let find = |kind: &str| {
        object["status"]["conditions"]
            .as_array()
            .and_then(|conditions| {
                conditions
                    .iter()
                    .find(|condition| condition["type"] == kind)
            })
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(condition) = find("Ready") else {
        return Readiness {
            status: "Unknown".into(),
            reason: String::new(),
            message: "not reconciled yet".into(),
        };
    };
    let observed = condition["observedGeneration"]
        .as_i64()
        .or(object["status"]["observedGeneration"].as_i64());
    let stale = matches!((observed, generation), (Some(observed), Some(generation)) if observed < generation);
    let status = if stale {
        "Unknown".into()
    } else {
        text(&condition["status"])
    };
    // While work is under way, what it is says more than "in progress".
    let telling =
        find("Reconciling").filter(|working| status == "Unknown" && working["status"] == "True");
    let telling = telling.unwrap_or(condition);
    Readiness {
        status,
        reason: text(&telling["reason"]),
        message: text(&telling["message"]),
    }
}

/// `main@sha1:5f2c…` with the object id cut to eight digits.
pub(crate) fn short_revision(revision: &str) -> String {
    match revision.split_once("sha1:") {
        Some((before, id)) if id.len() > 8 => {
            format!("{before}sha1:{}", id.chars().take(8).collect::<String>())
        }
        _ => revision.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_of_an_older_generation_is_unknown() {
        let mut object = json!({
            "metadata": {"generation": 2},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m", "observedGeneration": 1}]},
        });
        assert_eq!(readiness(&object).status, "Unknown");
        object["status"]["conditions"][0]["observedGeneration"] = json!(2);
        assert!(readiness(&object).is_ready());
        assert_eq!(readiness(&json!({})).message, "not reconciled yet");
    }

    #[test]
    fn revisions_are_cut() {
        assert_eq!(
            short_revision("main@sha1:0123456789abcdef"),
            "main@sha1:01234567"
        );
        assert_eq!(short_revision("none"), "none");
    }
}
