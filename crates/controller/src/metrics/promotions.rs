//! What the change of a Promotion's status, or of a rollout's, means in numbers. Called once a change is written, so that
//! each is counted once.

use std::time::Duration;

use fairway_types::promotion::{Intent, Phase, Promotion, PromotionStatus};
use fairway_types::rollout::{RolloutStatus, WaveState};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::delivery::{Delivery, Ended, Outcome, StageOf};

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The status of a Promotion went from one to the other. `arrived` is when its version was first verified in the first
/// stage that has it, where that is known.
pub(crate) fn of_promotion(
    delivery: &Delivery,
    promotion: &Promotion,
    before: &PromotionStatus,
    after: &PromotionStatus,
    arrived: Option<Timestamp>,
    now: Timestamp,
) {
    let namespace = promotion.namespace().unwrap_or_default();
    let spec = &promotion.spec;
    let stage = StageOf {
        namespace: &namespace,
        pipeline: &spec.pipeline_ref.name,
        stage: &spec.stage,
    };
    let is_rollback = spec.intent == Intent::Rollback;
    if after.phase == Phase::RollingBack && before.since(Phase::RollingBack).is_none() {
        delivery.rolling_back(stage, true);
    }
    if is_rollback
        && after.phase == Phase::Committing
        && before.since(Phase::Committing).is_none()
        && before.phase != Phase::Committing
    {
        delivery.rolling_back(stage, false);
    }
    if before.recovered_at.is_none()
        && after.recovered_at.is_some()
        && let Some(millis) = after.recovery_millis
    {
        let took = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
        delivery.recovered(stage, took);
    }
    if before.phase.is_final() {
        return;
    }
    let outcome = match after.phase {
        Phase::Succeeded => Outcome::Succeeded,
        Phase::Failed => Outcome::Failed,
        Phase::RolledBack => Outcome::RolledBack,
        Phase::Rejected => Outcome::Rejected,
        Phase::Superseded => Outcome::Superseded,
        _ => return,
    };
    let committed = after.commit(Intent::Promote).map(|commit| commit.time);
    // Whichever is earlier: its own commit, or that of the stage where it began.
    let began = [committed, arrived].into_iter().flatten().min();
    let asked = promotion.creation_timestamp().map_or(now, |time| time.0);
    let how = Ended {
        is_rollback,
        outcome,
        took: between(asked, now),
        lead_time: began.map(|began| between(began, now)),
        was_committed: committed.is_some(),
    };
    delivery.ended(stage, how);
}

/// The status of a rollout went from one to the other.
pub(crate) fn of_rollout(
    delivery: &Delivery,
    namespace: &str,
    fleet: &str,
    before: Option<&RolloutStatus>,
    after: Option<&RolloutStatus>,
) {
    use fairway_types::rollout::ClusterState;
    let held = after.map_or(0, |after| {
        let is_held =
            |state: ClusterState| matches!(state, ClusterState::Held | ClusterState::HeldBack);
        after
            .clusters
            .iter()
            .filter(|cluster| is_held(cluster.state))
            .count()
    });
    delivery.held(namespace, fleet, held);
    let was = |name: &str| {
        before
            .and_then(|before| before.waves.iter().find(|wave| wave.name == name))
            .map(|wave| wave.state)
    };
    for wave in after.iter().flat_map(|after| &after.waves) {
        let is_under_way = matches!(
            was(&wave.name),
            Some(WaveState::Progressing | WaveState::Soaking)
        );
        match wave.state {
            WaveState::Done if is_under_way => delivery.wave(namespace, fleet, &wave.name, true),
            WaveState::Failed if was(&wave.name) != Some(WaveState::Failed) => {
                delivery.wave(namespace, fleet, &wave.name, false);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use fairway_types::promotion::PromotionSpec;
    use fairway_types::rollout::WaveStatus;
    use serde_json::json;

    use super::*;

    fn page(delivery: &Delivery) -> String {
        let mut text = String::new();
        delivery.write(&mut text, 0);
        text
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn a_promotion_that_is_taken_back_is_a_change_that_failed() {
        let spec: PromotionSpec = serde_json::from_value(json!({
            "pipelineRef": {"name": "myapp"}, "stage": "prod", "version": "1.2.3"}))
        .unwrap();
        let mut promotion = Promotion::new("a", spec);
        promotion.metadata.namespace = Some("apps".into());
        let status = |phase: &str, more: serde_json::Value| -> PromotionStatus {
            let mut whole = json!({"phase": phase, "commits": [
                {"sha": "abc", "kind": "promote", "time": "1970-01-12T13:46:40Z"}]});
            for (key, value) in more.as_object().unwrap() {
                whole[key] = value.clone();
            }
            serde_json::from_value(whole).unwrap()
        };
        let (verifying, back) = (
            status("Verifying", json!({})),
            status("RollingBack", json!({})),
        );
        let delivery = Delivery::default();
        of_promotion(&delivery, &promotion, &verifying, &back, None, at(10));
        let done = status(
            "RolledBack",
            json!({"recoveredAt": "1970-01-12T13:47:00Z", "recoveryMillis": 12_500}),
        );
        of_promotion(&delivery, &promotion, &back, &done, None, at(20));
        // What is written again is not counted again.
        of_promotion(&delivery, &promotion, &done, &done, None, at(30));
        let text = page(&delivery);
        let labels = "namespace=\"apps\",pipeline=\"myapp\",stage=\"prod\"";
        for line in [
            format!(
                "fairway_promotions_total{{{labels},intent=\"promote\",outcome=\"rolled_back\"}} 1"
            ),
            format!("fairway_rollbacks_total{{{labels},cause=\"automatic\"}} 1"),
            format!("fairway_change_failures_total{{{labels}}} 1"),
            format!("fairway_recovery_seconds_sum{{{labels}}} 12.5"),
            format!("fairway_recovery_seconds_count{{{labels}}} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let delivery = Delivery::default();
        let arrived = Some(at(-50));
        of_promotion(
            &delivery,
            &promotion,
            &verifying,
            &status("Succeeded", json!({})),
            arrived,
            at(50),
        );
        assert!(
            page(&delivery).contains(&format!("fairway_lead_time_seconds_sum{{{labels}}} 100\n"))
        );
    }

    #[test]
    fn waves_are_counted_when_they_end() {
        let status = |state: WaveState| RolloutStatus {
            waves: vec![WaveStatus {
                name: "canary".into(),
                state,
                clusters: 1,
                changing: 1,
                healthy: 0,
                failed: 0,
                message: None,
                started: None,
                checks: Vec::new(),
                checked: None,
            }],
            ..RolloutStatus::default()
        };
        let delivery = Delivery::default();
        let states = [
            WaveState::Waiting,
            WaveState::Progressing,
            WaveState::Soaking,
            WaveState::Done,
            WaveState::Done,
            WaveState::Progressing,
            WaveState::Failed,
        ];
        for pair in states.windows(2) {
            of_rollout(
                &delivery,
                "apps",
                "web",
                Some(&status(pair[0])),
                Some(&status(pair[1])),
            );
        }
        let text = page(&delivery);
        for line in [
            "fairway_waves_total{namespace=\"apps\",fleet=\"web\",wave=\"canary\",outcome=\"succeeded\"} 1",
            "fairway_waves_total{namespace=\"apps\",fleet=\"web\",wave=\"canary\",outcome=\"failed\"} 1",
            "fairway_held_clusters{namespace=\"apps\",fleet=\"web\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
