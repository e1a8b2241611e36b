//! Kinds that bring a change to a cluster step by step themselves: Flagger's Canary, Argo's Rollout.
//!
//! kstatus knows neither. A Canary has no observed generation, so that for one interval of Flagger's analysis it may still
//! say how the last change went; who wants to be sure gives it time to soak.

use super::{Health, View};

/// `flagger.app` Canary: the phase tells, `Initialized` and `Succeeded` are the ends that are good.
pub(super) fn canary(view: View<'_>) -> Health {
    let promoted = view
        .conditions()
        .find(|condition| condition.type_ == "Promoted");
    let why = promoted.map_or("", |condition| condition.message);
    let told = |phase: &str| match why {
        "" => format!("Canary is {phase}"),
        why => format!("Canary is {phase}: {why}"),
    };
    match view.text("/status/phase") {
        "" => Health::in_progress("Canary is not initialized"),
        phase @ ("Initialized" | "Succeeded") => Health::current(told(phase)),
        phase @ "Failed" => {
            let failed = view.int_or("/status/failedChecks", 0);
            Health::failed(format!("{}, {failed} failed checks", told(phase)))
        }
        phase => {
            let weight = view.int_or("/status/canaryWeight", 0);
            Health::in_progress(format!("{}, weight {weight}", told(phase)))
        }
    }
}

/// `argoproj.io` Rollout: the phase tells, once it is about the newest generation (which Argo writes as text).
pub(super) fn rollout(view: View<'_>) -> Health {
    let generation = view.int("/metadata/generation");
    let observed = view.text("/status/observedGeneration").parse::<i64>().ok();
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return Health::in_progress(format!(
            "Rollout generation is {generation}, but latest observed generation is {observed}"
        ));
    }
    let message = match view.text("/status/message") {
        "" => String::new(),
        message => format!(": {message}"),
    };
    match view.text("/status/phase") {
        "" => Health::in_progress("Rollout has no status yet"),
        "Healthy" => Health::current(format!("Rollout is Healthy{message}")),
        "Degraded" => Health::failed(format!("Rollout is Degraded{message}")),
        phase => Health::in_progress(format!("Rollout is {phase}{message}")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::{Status, of};

    fn check(api_version: &str, kind: &str, status: Value) -> (Status, String) {
        let object = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": "a", "generation": 3}, "status": status,
        });
        let health = of(&object, Timestamp::UNIX_EPOCH);
        (health.status, health.message)
    }

    #[test]
    fn a_canary_is_as_its_phase_says() {
        let canary = |status| check("flagger.app/v1beta1", "Canary", status);
        assert_eq!(canary(json!({})).0, Status::InProgress);
        for phase in [
            "Initializing",
            "Waiting",
            "Progressing",
            "Promoting",
            "Finalising",
        ] {
            assert_eq!(
                canary(json!({"phase": phase})).0,
                Status::InProgress,
                "{phase}"
            );
        }
        for phase in ["Initialized", "Succeeded"] {
            assert_eq!(
                canary(json!({"phase": phase})).0,
                Status::Current,
                "{phase}"
            );
        }
        let promoted = json!([{"type": "Promoted", "status": "False", "reason": "Failed",
                               "message": "Canary analysis failed, Deployment scaled to zero."}]);
        let failed = canary(json!({"phase": "Failed", "failedChecks": 10, "conditions": promoted}));
        let message = "Canary is Failed: Canary analysis failed, Deployment scaled to zero., 10 failed checks";
        assert_eq!(failed, (Status::Failed, message.to_owned()));
    }

    #[test]
    fn a_rollout_is_as_its_phase_says_of_the_newest_generation() {
        let rollout = |status| check("argoproj.io/v1alpha1", "Rollout", status);
        assert_eq!(rollout(json!({})).0, Status::InProgress);
        let healthy = json!({"phase": "Healthy", "observedGeneration": "3"});
        assert_eq!(rollout(healthy).0, Status::Current);
        let old = json!({"phase": "Healthy", "observedGeneration": "2"});
        assert_eq!(rollout(old).0, Status::InProgress);
        let paused =
            json!({"phase": "Paused", "message": "CanaryPauseStep", "observedGeneration": "3"});
        let message = "Rollout is Paused: CanaryPauseStep".to_owned();
        assert_eq!(rollout(paused), (Status::InProgress, message));
        let degraded = json!({"phase": "Degraded", "message": "RolloutAborted: metric failed"});
        assert_eq!(rollout(degraded).0, Status::Failed);
        // Another group's Rollout is nobody's that is known here.
        assert_eq!(
            check("example.com/v1", "Rollout", json!({})).0,
            Status::Current
        );
    }
}
