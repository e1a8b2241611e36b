//! Who begins, who has to wait, and who goes back.

use std::collections::{BTreeMap, BTreeSet};

use fairway_types::rollout::{ClusterRollout, ClusterState, OnFailure};
use jiff::Timestamp;

use super::progress::leave;
use super::sight::Wanted;
use super::step::{Work, cut, held, numbers, reopen, unhealthy};
use super::waves;

impl Work<'_> {
    /// The changes that more clusters of a wave have failed with than may, with the first such wave.
    pub(super) fn given_up(&self) -> BTreeMap<i64, usize> {
        let mut failed: BTreeMap<(usize, i64), usize> = BTreeMap::new();
        for (name, entry) in &self.entries {
            // Who is held by a Promotion has failed all the same.
            if entry.failed.as_ref() == Some(&entry.target.digest) {
                let wave = self.seen.clusters[name].wave;
                for number in numbers(entry) {
                    *failed.entry((wave, number)).or_default() += 1;
                }
            }
        }
        let mut given_up = BTreeMap::new();
        for ((wave, number), count) in failed {
            let rules = &self.policy.waves[wave.min(self.policy.waves.len() - 1)];
            let total = waves::size(self.seen, wave);
            if count > rules.max_failed.rounded_down(total) {
                given_up.entry(number).or_insert(wave);
            }
        }
        given_up
    }

    /// Holds back, halts, and lets clusters begin. Whether somebody left the queue, so that it is to be looked at again.
    pub(super) fn admit(&mut self) -> bool {
        let given_up = self.given_up();
        let hold_back = self.policy.on_failure == OnFailure::HoldBack;
        // What a Promotion holds one cluster back from, no other one begins.
        let frozen: BTreeSet<i64> = self
            .entries
            .iter()
            .filter(|(name, _)| self.seen.clusters[*name].hold.is_some())
            .flat_map(|(_, entry)| numbers(entry))
            .collect();
        let mut waiting = Vec::new();
        let mut again = false;
        for (name, entry) in &mut self.entries {
            let sight = &self.seen.clusters[name];
            if sight.hold.is_some() {
                continue;
            }
            if hold_back {
                again |= go_back(entry, &given_up, self.now);
            }
            if !matches!(
                entry.state,
                ClusterState::Pending | ClusterState::Held | ClusterState::HeldBack
            ) {
                continue;
            }
            let halted = numbers(entry).find_map(|number| {
                let wave = *given_up.get(&number)?;
                (hold_back || wave <= sight.wave).then_some(wave)
            });
            let frozen = numbers(entry).any(|number| frozen.contains(&number));
            let why = match (halted, frozen) {
                (Some(wave), _) => Some(format!(
                    "halted: wave {} failed",
                    self.policy.waves[wave].name
                )),
                (None, true) => {
                    Some("halted: a Promotion holds clusters back from this".to_owned())
                }
                (None, false) => None,
            };
            if let Some(why) = why {
                if entry.state != ClusterState::HeldBack {
                    held(entry, &why, self.now);
                }
                continue;
            }
            if entry.state != ClusterState::Pending {
                (entry.state, entry.since, entry.message) = (ClusterState::Pending, self.now, None);
            }
            let first = numbers(entry).min().unwrap_or_default();
            waiting.push((first, sight.wave, name.clone()));
        }
        let known = self
            .seen
            .clusters
            .values()
            .all(|sight| sight.wanted != Wanted::Unknown);
        if !known || again {
            return again;
        }
        // The first wave that has something to do with a change yet.
        let mut first: BTreeMap<i64, usize> = BTreeMap::new();
        let mut in_flight: BTreeMap<usize, usize> = BTreeMap::new();
        for (name, entry) in &self.entries {
            let wave = self.seen.clusters[name].wave;
            if entry.state == ClusterState::Progressing {
                *in_flight.entry(wave).or_default() += 1;
            }
            if matches!(entry.state, ClusterState::Skipped | ClusterState::Done) {
                continue;
            }
            for number in numbers(entry) {
                let tolerated =
                    entry.state == ClusterState::Failed && !given_up.contains_key(&number);
                if !tolerated {
                    let known = first.entry(number).or_insert(wave);
                    *known = wave.min(*known);
                }
            }
        }
        waiting.sort();
        for (_, wave, name) in waiting {
            let rules = &self.policy.waves[wave.min(self.policy.waves.len() - 1)];
            let limit = rules.max_concurrent.of(waves::size(self.seen, wave));
            let sight = &self.seen.clusters[&name];
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            let comes_later =
                numbers(entry).any(|number| first.get(&number).is_some_and(|w| *w < wave));
            let running = in_flight.entry(wave).or_default();
            if comes_later || *running >= limit {
                continue;
            }
            if let Some(away) = &sight.away {
                again |= leave(entry, away, self.policy.unreachable, self.now);
                continue;
            }
            *running += 1;
            entry
                .before
                .get_or_insert(entry.current.clone().unwrap_or_default());
            entry.current = Some(entry.target.clone());
            (entry.state, entry.since, entry.took) = (ClusterState::Progressing, self.now, 0);
            (entry.message, entry.unreachable) = (None, false);
            let deadline = rules.progress_deadline;
            self.wake_deadline(&name, deadline);
        }
        again
    }
}

/// Takes a cluster back to what it had before a change that was given up. Whether that was to do.
fn go_back(entry: &mut ClusterRollout, given_up: &BTreeMap<i64, usize>, now: Timestamp) -> bool {
    let is_back = match entry.state {
        ClusterState::HeldBack => true,
        ClusterState::Failed => !entry.is_admitted(),
        _ => false,
    };
    if is_back {
        return false;
    }
    let is_given_up = |number: i64| given_up.contains_key(&number);
    let (open, done) = (
        numbers(entry).any(is_given_up),
        entry.done.iter().copied().any(is_given_up),
    );
    let Some(before) = entry.before.clone().filter(|_| open || done) else {
        return false;
    };
    // A change that was verified in between is kept, unless it is the one that was given up.
    let back = match entry.verified.clone() {
        Some(verified) if !done => verified,
        _ => before.clone(),
    };
    if back.revision.is_empty() || entry.current.as_ref() == Some(&back) {
        return false;
    }
    entry.current = Some(back.clone());
    if back == before {
        (entry.before, entry.verified) = (None, None);
        let done = std::mem::take(&mut entry.done);
        reopen(entry, &done);
    }
    unhealthy(entry);
    let told = format!("went back to {}", back.revision);
    if entry.state == ClusterState::Failed {
        let why = entry.message.take().unwrap_or_default();
        entry.message = Some(cut(&format!("{told}; {why}")));
    } else {
        (entry.state, entry.since) = (ClusterState::HeldBack, now);
        entry.message = Some(told);
    }
    true
}
