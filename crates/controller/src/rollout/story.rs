//! What has happened between two states of a rollout, for events and counters.

use std::collections::BTreeMap;

use fairway_types::rollout::{ClusterRollout, ClusterState, RolloutStatus, WaveState, WaveStatus};

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// CamelCase.
    pub reason: &'static str,
    /// What happened.
    pub message: String,
    /// Whether it is bad.
    pub is_bad: bool,
}

/// The most clusters that are told of one by one.
const ONE_BY_ONE: usize = 5;

/// Told once a cluster.
fn of_cluster(before: Option<&ClusterRollout>, after: &ClusterRollout) -> Option<Told> {
    let was = before.map(|before| before.state);
    if was == Some(after.state) {
        return None;
    }
    let ClusterRollout {
        name, wave, target, ..
    } = after;
    let why = after
        .message
        .as_deref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let (reason, message, is_bad) = match after.state {
        ClusterState::Failed => (
            "ClusterFailed",
            format!("{name} (wave {wave}) failed at {}{why}", target.revision),
            true,
        ),
        ClusterState::Skipped => (
            "ClusterSkipped",
            format!("{name} (wave {wave}) is skipped and catches up later{why}"),
            true,
        ),
        ClusterState::HeldBack => (
            "ClusterHeldBack",
            format!("{name} (wave {wave}){why}"),
            true,
        ),
        ClusterState::Held => (
            "ClusterHeld",
            format!("{name} (wave {wave}) is held{why}"),
            true,
        ),
        ClusterState::Pending
        | ClusterState::Progressing
        | ClusterState::Soaking
        | ClusterState::Done => return None,
    };
    Some(Told {
        reason,
        message,
        is_bad,
    })
}

fn of_wave(before: Option<&WaveStatus>, after: &WaveStatus) -> Option<Told> {
    let was = before.map_or(WaveState::Done, |before| before.state);
    if was == after.state {
        return None;
    }
    let WaveStatus {
        name,
        changing,
        healthy,
        message,
        ..
    } = after;
    let why = message
        .as_deref()
        .map(|why| format!(": {why}"))
        .unwrap_or_default();
    let (reason, message, is_bad) = match after.state {
        WaveState::Progressing if was == WaveState::Soaking => (
            "WaveUnhealthy",
            format!("wave {name} is not healthy any more{why}"),
            true,
        ),
        WaveState::Progressing => (
            "WaveStarted",
            format!("wave {name} begins: {changing} clusters change"),
            false,
        ),
        WaveState::Soaking => (
            "WaveHealthy",
            format!(
                "wave {name}: {healthy} of {changing} clusters are healthy, and have to stay so"
            ),
            false,
        ),
        WaveState::Failed => ("WaveFailed", format!("wave {name} failed{why}"), true),
        WaveState::Done if was == WaveState::Waiting => return None,
        WaveState::Done => ("WaveFinished", format!("wave {name} is done"), false),
        WaveState::Waiting => return None,
    };
    Some(Told {
        reason,
        message,
        is_bad,
    })
}

/// Many clusters of which the same is told are told of at once.
fn group(mut told: Vec<Told>) -> Vec<Told> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &told {
        *counts.entry(one.reason).or_default() += 1;
    }
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    told.retain_mut(|one| {
        let count = counts[one.reason];
        let seen = kept.entry(one.reason).or_default();
        *seen += 1;
        if count > ONE_BY_ONE && *seen == ONE_BY_ONE {
            one.message = format!("{}; and {} more", one.message, count - ONE_BY_ONE);
        }
        *seen <= ONE_BY_ONE
    });
    told
}

/// All of it: waves in order, then clusters by name.
pub fn tell(before: &RolloutStatus, after: &RolloutStatus) -> Vec<Told> {
    let waves: BTreeMap<&str, &WaveStatus> = before
        .waves
        .iter()
        .map(|wave| (wave.name.as_str(), wave))
        .collect();
    let clusters: BTreeMap<&str, &ClusterRollout> = before
        .clusters
        .iter()
        .map(|cluster| (cluster.name.as_str(), cluster))
        .collect();
    let of_waves = after
        .waves
        .iter()
        .filter_map(|wave| of_wave(waves.get(wave.name.as_str()).copied(), wave));
    let of_clusters = after
        .clusters
        .iter()
        .filter_map(|cluster| of_cluster(clusters.get(cluster.name.as_str()).copied(), cluster));
    let mut told: Vec<Told> = of_waves.chain(group(of_clusters.collect())).collect();
    if !before.clusters.is_empty() && after.clusters.is_empty() {
        told.push(Told {
            reason: "RolloutFinished",
            message: "all clusters have the change".to_owned(),
            is_bad: false,
        });
    }
    told
}
