//! The waves in short, for people.

use fairway_types::rollout::{ClusterRollout, ClusterState, RolloutStatus, WaveState, WaveStatus};
use jiff::Timestamp;

use super::policy::{Policy, WavePolicy};
use super::step::Seen;

/// What is said of the waves.
pub(super) struct Summary {
    pub(super) waves: Vec<WaveStatus>,
    pub(super) message: Option<String>,
}

/// Clusters in a wave.
pub(super) fn size(seen: &Seen, wave: usize) -> usize {
    seen.clusters
        .values()
        .filter(|sight| sight.wave == wave)
        .count()
}

/// Sums up.
pub(super) fn summarize(
    policy: &Policy,
    before: &RolloutStatus,
    entries: &[ClusterRollout],
    seen: &Seen,
    now: Timestamp,
) -> Summary {
    let mut waves = Vec::new();
    let mut told = Vec::new();
    for (index, rules) in policy.waves.iter().enumerate() {
        let total = size(seen, index);
        let members: Vec<&ClusterRollout> = entries
            .iter()
            .filter(|entry| entry.wave == rules.name)
            .collect();
        if total == 0 && members.is_empty() && index + 1 == policy.waves.len() && index > 0 {
            // Nobody is left for the last wave.
            continue;
        }
        let mut status = wave(rules, &members, total);
        let known = before.waves.iter().find(|wave| wave.name == rules.name);
        if let Some(known) = known {
            status.checks.clone_from(&known.checks);
            status.checked.clone_from(&known.checked);
        }
        status.started = match status.state {
            WaveState::Done => None,
            WaveState::Waiting => known.and_then(|known| known.started),
            _ => known.and_then(|known| known.started).or(Some(now)),
        };
        if !members.is_empty() {
            told.push(one_line(rules, &status));
        }
        waves.push(status);
    }
    Summary {
        waves,
        message: (!told.is_empty()).then(|| told.join("; ")),
    }
}

fn wave(rules: &WavePolicy, members: &[&ClusterRollout], total: usize) -> WaveStatus {
    let count = |wanted: &[ClusterState]| {
        members
            .iter()
            .filter(|entry| wanted.contains(&entry.state))
            .count()
    };
    use ClusterState as C;
    let failed = count(&[C::Failed]);
    let healthy = count(&[C::Soaking, C::Done]);
    let (started, soaking) = (count(&[C::Progressing]), count(&[C::Soaking]));
    let (pending, held) = (count(&[C::Pending]), count(&[C::Held, C::HeldBack]));
    let state = if failed > rules.max_failed.rounded_down(total) {
        WaveState::Failed
    } else if started > 0 || (pending > 0 && healthy + failed > 0) {
        WaveState::Progressing
    } else if pending + held > 0 {
        WaveState::Waiting
    } else if soaking > 0 {
        WaveState::Soaking
    } else {
        WaveState::Done
    };
    let trouble = |states: &[ClusterState]| {
        members
            .iter()
            .find(|entry| states.contains(&entry.state) && entry.message.is_some())
            .map(|entry| {
                let text = entry.message.as_deref().unwrap_or_default();
                format!(
                    "{}: {}",
                    entry.name,
                    text.lines().next().unwrap_or_default()
                )
            })
    };
    let message = trouble(&[C::Failed])
        .or_else(|| trouble(&[C::HeldBack]))
        .or_else(|| trouble(&[C::Held]))
        .or_else(|| trouble(&[C::Progressing, C::Pending]))
        .or_else(|| trouble(&[C::Skipped]));
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    WaveStatus {
        name: rules.name.clone(),
        state,
        clusters: number(total),
        changing: number(members.len()),
        healthy: number(healthy),
        failed: number(failed),
        message,
        started: None,
        checks: Vec::new(),
        checked: None,
    }
}

/// `wave canary 1/1 soaking 20s`.
fn one_line(rules: &WavePolicy, status: &WaveStatus) -> String {
    let WaveStatus {
        name,
        changing,
        healthy,
        ..
    } = status;
    let why = status
        .message
        .as_deref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    match status.state {
        WaveState::Waiting if status.message.is_none() => format!("wave {name} waits"),
        WaveState::Waiting => format!("wave {name} waits{why}"),
        WaveState::Progressing => format!("wave {name} {healthy}/{changing} healthy{why}"),
        WaveState::Soaking if rules.has_checks => {
            let soak = fairway_types::Duration::from(rules.soak);
            format!("wave {name} {healthy}/{changing} soaking {soak}, checks{why}")
        }
        WaveState::Soaking => {
            let soak = fairway_types::Duration::from(rules.soak);
            format!("wave {name} {healthy}/{changing} soaking {soak}{why}")
        }
        WaveState::Failed => format!("wave {name} failed{why}"),
        WaveState::Done => format!("wave {name} {healthy}/{changing} done{why}"),
    }
}
