//! What `spec.rollout` says, with its defaults filled in.

use std::time::Duration;

use fairway_types::fleet::ClusterMatch;
use fairway_types::rollout::{
    IntOrPercent, LAST_WAVE, MaxConcurrent, OnFailure, PROGRESS_DEADLINE, Rollout, Unreachable,
};

/// The rules of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The waves in order, the one for all others last.
    pub waves: Vec<WavePolicy>,
    /// What to do with a cluster that cannot be reached.
    pub unreachable: Unreachable,
    /// What to do when more clusters have failed than may.
    pub on_failure: OnFailure,
}

/// The rules of a wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WavePolicy {
    /// Its name.
    pub name: String,
    /// Clusters that change at the same time.
    pub max_concurrent: MaxConcurrent,
    /// How long it has to be healthy.
    pub soak: Duration,
    /// How long a cluster may take to become healthy.
    pub progress_deadline: Duration,
    /// Clusters that may fail.
    pub max_failed: IntOrPercent,
    /// Whether checks have to pass too.
    pub has_checks: bool,
}

impl Policy {
    /// The rules of a rollout.
    pub fn of(rollout: &Rollout) -> Self {
        let concurrent = rollout
            .max_concurrent
            .unwrap_or(MaxConcurrent(IntOrPercent::Percent(100)));
        let rules = WavePolicy {
            name: String::new(),
            max_concurrent: concurrent,
            soak: rollout.soak.unwrap_or_default().get(),
            progress_deadline: rollout.progress_deadline.unwrap_or(PROGRESS_DEADLINE).get(),
            max_failed: rollout.max_failed.unwrap_or(IntOrPercent::Int(0)),
            has_checks: false,
        };
        let mut waves: Vec<WavePolicy> = rollout
            .waves
            .iter()
            .map(|wave| WavePolicy {
                name: wave.name.clone(),
                max_concurrent: wave.max_concurrent.unwrap_or(rules.max_concurrent),
                soak: wave.soak.map_or(rules.soak, fairway_types::Duration::get),
                progress_deadline: wave
                    .progress_deadline
                    .map_or(rules.progress_deadline, fairway_types::Duration::get),
                max_failed: wave.max_failed.unwrap_or(rules.max_failed),
                has_checks: !wave.checks.is_empty(),
            })
            .collect();
        let mut name = LAST_WAVE.to_owned();
        while waves.iter().any(|wave| wave.name == name) {
            name.push_str("-of-all");
        }
        waves.push(WavePolicy { name, ..rules });
        Self {
            waves,
            unreachable: rollout.unreachable,
            on_failure: rollout.on_failure,
        }
    }
}

/// The index of the first wave that a cluster matches, else that of the last wave.
pub fn wave_of(rollout: &Rollout, matches: &dyn Fn(&ClusterMatch) -> bool) -> usize {
    rollout
        .waves
        .iter()
        .position(|wave| matches(&wave.cluster_selector))
        .unwrap_or(rollout.waves.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wave_takes_what_it_does_not_say_from_the_rollout() {
        let rollout: Rollout = serde_json::from_value(json!({
            "waves": [{"name": "canary", "clusterSelector": {"matchLabels": {"a": "b"}}, "soak": "1m"},
                      {"name": "rest", "clusterSelector": {}, "maxFailed": 1}],
            "maxConcurrent": 2, "soak": "30s",
        }))
        .unwrap();
        let policy = Policy::of(&rollout);
        let names: Vec<&str> = policy.waves.iter().map(|wave| wave.name.as_str()).collect();
        assert_eq!(names, ["canary", "rest", "rest-of-all"]);
        assert_eq!(policy.waves[0].soak, Duration::from_mins(1));
        assert_eq!(policy.waves[0].max_concurrent.of(9), 2);
        assert_eq!(policy.waves[1].soak, Duration::from_secs(30));
        assert_eq!(policy.waves[1].max_failed, IntOrPercent::Int(1));
        assert_eq!(policy.waves[2].max_failed, IntOrPercent::Int(0));
        assert_eq!(policy.waves[2].progress_deadline, Duration::from_mins(10));
        assert_eq!(
            wave_of(&rollout, &|wanted| wanted.match_labels.is_empty()),
            1
        );
        assert_eq!(wave_of(&rollout, &|_| false), 2);
    }
}
