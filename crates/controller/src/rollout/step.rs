//! One step of a rollout: a pure function of the rules, what was written down, what is seen, and the time.
//!
//! Each time that something else is rendered for clusters gets a number. A cluster keeps the numbers of the changes that
//! it has yet to be healthy with ([`ClusterRollout::changes`]), and a cluster of a later wave waits for one of an earlier
//! wave only where they share a number. So changes to different clusters never wait for each other, and a cluster that is
//! changed again carries all that it has not verified yet.

use std::collections::BTreeMap;

use fairway_types::rollout::{ClusterRollout, ClusterState, OpenChange, RolloutStatus};
use jiff::{SignedDuration, Timestamp};

use super::policy::{Policy, WavePolicy};
use super::sight::{Sight, Verdict};
use super::waves;

/// What is seen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The matching clusters by name.
    pub clusters: BTreeMap<String, Sight>,
    /// What the checks of waves say, by index of the wave.
    pub checks: BTreeMap<usize, Verdict>,
    /// Whether somebody asks to try again what failed.
    pub retry: bool,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is to be written down before anything is done.
    pub status: RolloutStatus,
    /// When to look again, should nothing be heard before.
    pub wake_at: Option<Timestamp>,
}

/// Takes one step. Doing it again with its own result changes nothing.
pub fn step(policy: &Policy, before: &RolloutStatus, seen: &Seen, now: Timestamp) -> Step {
    // As it is written down: to the millisecond.
    let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    let mut work = Work {
        policy,
        seen,
        now,
        entries: before
            .clusters
            .iter()
            .filter(|entry| seen.clusters.contains_key(&entry.name))
            .map(|entry| (entry.name.clone(), entry.clone()))
            .collect(),
        sequence: before.sequence,
        wake_at: None,
    };
    work.detect();
    work.merge();
    work.progress();
    work.verify();
    // Who is skipped or fails at its turn makes way for others.
    while work.admit() {
        work.merge();
    }
    work.finish();
    let mut status = RolloutStatus {
        sequence: work.sequence,
        message: None,
        waves: Vec::new(),
        clusters: work.entries.into_values().collect(),
    };
    let summary = waves::summarize(policy, before, &status.clusters, seen, now);
    status.waves = summary.waves;
    status.message = summary.message;
    Step {
        status,
        wake_at: work.wake_at,
    }
}

/// Cuts a message to what is kept of it.
pub(super) fn cut(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(ClusterRollout::MAX_MESSAGE) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

pub(super) struct Work<'a> {
    pub(super) policy: &'a Policy,
    pub(super) seen: &'a Seen,
    pub(super) now: Timestamp,
    pub(super) entries: BTreeMap<String, ClusterRollout>,
    pub(super) sequence: i64,
    pub(super) wake_at: Option<Timestamp>,
}

pub(super) fn numbers(entry: &ClusterRollout) -> impl Iterator<Item = i64> + '_ {
    entry.changes.iter().map(|change| change.number)
}

pub(super) fn unhealthy(entry: &mut ClusterRollout) {
    for change in &mut entry.changes {
        change.healthy_since = None;
    }
}

pub(super) fn open(number: i64) -> OpenChange {
    OpenChange {
        number,
        healthy_since: None,
    }
}

impl Work<'_> {
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    pub(super) fn wave(&self, name: &str) -> &WavePolicy {
        let index = self.seen.clusters[name].wave;
        &self.policy.waves[index.min(self.policy.waves.len() - 1)]
    }

    pub(super) fn wake_deadline(&mut self, name: &str, deadline: std::time::Duration) {
        let entry = &self.entries[name];
        let left = SignedDuration::try_from(deadline)
            .unwrap_or(SignedDuration::MAX)
            .saturating_sub(SignedDuration::from_millis(entry.took));
        if let Ok(at) = entry.since.checked_add(left) {
            self.wake(at);
        }
    }
}

pub(super) fn held(entry: &mut ClusterRollout, why: &str, now: Timestamp) {
    let why = Some(cut(why));
    if entry.state != ClusterState::Held || entry.message != why {
        if entry.state != ClusterState::Held {
            entry.since = now;
        }
        (entry.state, entry.message) = (ClusterState::Held, why);
    }
}

pub(super) fn fail(entry: &mut ClusterRollout, why: &str, now: Timestamp) {
    unhealthy(entry);
    (entry.state, entry.since, entry.took) = (ClusterState::Failed, now, 0);
    entry.failed = Some(entry.target.digest.clone());
    entry.message = Some(cut(why));
    entry.unreachable = false;
}

pub(super) fn reopen(entry: &mut ClusterRollout, done: &[i64]) {
    for number in done {
        if numbers(entry).all(|known| known != *number) {
            entry.changes.push(open(*number));
        }
    }
    entry.changes.sort_by_key(|change| change.number);
}
