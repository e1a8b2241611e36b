//! One step of a rollout: a pure function of the rules, what was written down, what is seen, and the time.
//!
//! Each time that something else is rendered for clusters gets a number. A cluster keeps the numbers of the changes that
//! it has yet to be healthy with ([`ClusterRollout::changes`]), and a cluster of a later wave waits for one of an earlier
//! wave only where they share a number. So changes to different clusters never wait for each other, and a cluster that is
//! changed again carries all that it has not verified yet.

use std::collections::{BTreeMap, BTreeSet};

use fairway_types::rollout::{
    ClusterRollout, ClusterState, OnFailure, OpenChange, Rendered, RolloutStatus, Unreachable,
};
use jiff::{SignedDuration, Timestamp};

use super::policy::{Policy, WavePolicy};
use super::sight::{Away, Health, Sight, Verdict, Wanted};
use super::waves;

/// The most changes that a cluster keeps apart; older ones are taken for one.
const MAX_CHANGES: usize = 8;

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
    let summary = waves::summarize(policy, &status.clusters, seen);
    status.waves = summary.waves;
    status.message = summary.message;
    Step {
        status,
        wake_at: work.wake_at,
    }
}

/// Cuts a message to what is kept of it.
fn cut(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(ClusterRollout::MAX_MESSAGE) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

struct Work<'a> {
    policy: &'a Policy,
    seen: &'a Seen,
    now: Timestamp,
    entries: BTreeMap<String, ClusterRollout>,
    sequence: i64,
    wake_at: Option<Timestamp>,
}

fn numbers(entry: &ClusterRollout) -> impl Iterator<Item = i64> + '_ {
    entry.changes.iter().map(|change| change.number)
}

fn unhealthy(entry: &mut ClusterRollout) {
    for change in &mut entry.changes {
        change.healthy_since = None;
    }
}

fn open(number: i64) -> OpenChange {
    OpenChange {
        number,
        healthy_since: None,
    }
}

impl Work<'_> {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }

    fn wave(&self, name: &str) -> &WavePolicy {
        let index = self.seen.clusters[name].wave;
        &self.policy.waves[index.min(self.policy.waves.len() - 1)]
    }

    /// Compares what is wanted with what was.
    fn detect(&mut self) {
        let next = self.sequence + 1;
        let everything: BTreeSet<i64> = self.entries.values().flat_map(numbers).collect();
        for (name, sight) in &self.seen.clusters {
            let wave = self.wave(name).name.clone();
            let wanted = sight.wanted.target();
            let Some(entry) = self.entries.get_mut(name) else {
                let (Some(target), None) = (&wanted, &sight.hold) else {
                    if let Some(hold) = &sight.hold
                        && let Some(has) = hold.at.clone().or_else(|| sight.has.clone())
                    {
                        let target = wanted.unwrap_or_else(|| has.clone());
                        let mut entry = begin(name, wave, target, Some(has), self.now);
                        if !entry.is_admitted() {
                            // It comes back to what others are still on the way to in its turn.
                            entry.changes = everything.iter().copied().map(open).collect();
                            entry.changes.push(open(next));
                            self.sequence = next;
                        }
                        held(&mut entry, &hold.reason, self.now);
                        self.entries.insert(name.clone(), entry);
                    }
                    continue;
                };
                if sight
                    .has
                    .as_ref()
                    .is_some_and(|has| has.digest == target.digest)
                {
                    continue;
                }
                if sight.has.is_none() && everything.is_empty() {
                    // A first installation: nothing runs there that waves could protect, and nothing is under way that
                    // others try first.
                    continue;
                }
                let mut entry = begin(name, wave, target.clone(), sight.has.clone(), self.now);
                if sight.has.is_none() {
                    // Who joins takes all that is under way, in its turn.
                    entry.changes = everything.iter().copied().map(open).collect();
                }
                entry.changes.push(open(next));
                self.sequence = next;
                self.entries.insert(name.clone(), entry);
                continue;
            };
            entry.wave = wave;
            if let Some(hold) = &sight.hold {
                if let Some(at) = &hold.at
                    && entry.current.as_ref() != Some(at)
                {
                    entry.current = Some(at.clone());
                    entry.before = None;
                    entry.verified = None;
                    let done = std::mem::take(&mut entry.done);
                    reopen(entry, &done);
                    reopen(entry, &everything.iter().copied().collect::<Vec<i64>>());
                    unhealthy(entry);
                }
                if let Some(target) = wanted
                    && target.digest != entry.target.digest
                {
                    entry.target = target;
                    entry.changes.push(open(next));
                    self.sequence = next;
                }
                held(entry, &hold.reason, self.now);
                continue;
            }
            let Some(target) = wanted else { continue };
            let is_current = entry
                .current
                .as_ref()
                .is_some_and(|current| current.digest == target.digest);
            if is_current && entry.before.is_none() {
                // What is followed renders what the cluster has: there is nothing to hold any more.
                self.entries.remove(name);
                continue;
            }
            if target.digest == entry.target.digest {
                continue;
            }
            let was = entry.state;
            entry.target = target;
            entry.since = self.now;
            entry.took = 0;
            entry.message = None;
            if was == ClusterState::Done {
                entry.verified.clone_from(&entry.current);
            }
            if is_current {
                entry.state = ClusterState::Progressing;
            } else {
                entry.state = ClusterState::Pending;
                entry.changes.push(open(next));
                self.sequence = next;
            }
        }
        self.judge_targets();
    }

    /// What does not build has failed, and what failed is not tried again unless somebody asks for it.
    fn judge_targets(&mut self) {
        for (name, entry) in &mut self.entries {
            let sight = &self.seen.clusters[name];
            if sight.hold.is_some() {
                continue;
            }
            if let Wanted::Broken { message, .. } = &sight.wanted {
                if entry.state != ClusterState::Failed || entry.message.is_none() {
                    fail(entry, message, self.now);
                }
                continue;
            }
            if self.seen.retry && entry.failed.take().is_some() {
                entry.state = if entry.is_admitted() {
                    ClusterState::Progressing
                } else {
                    ClusterState::Pending
                };
                (entry.since, entry.took, entry.message) = (self.now, 0, None);
            }
            if entry.failed.as_ref() == Some(&entry.target.digest)
                && entry.state != ClusterState::Failed
            {
                let why = "it failed before and is not tried again; hint: commit a fix, or ask for a reconciliation of the \
                           FleetKustomization";
                fail(entry, why, self.now);
            }
        }
    }

    /// Follows the clusters that take a change.
    fn progress(&mut self) {
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            let deadline = self.wave(&name).progress_deadline;
            let sight = &self.seen.clusters[&name];
            let now = self.now;
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            if entry.state == ClusterState::Skipped && sight.away.is_none() {
                entry.state = if entry.is_admitted() {
                    ClusterState::Progressing
                } else {
                    ClusterState::Pending
                };
                (entry.since, entry.took, entry.message) = (now, 0, None);
            }
            if sight.away.is_some() && entry.state != ClusterState::Done {
                // Nobody sees whether it is healthy.
                unhealthy(entry);
            }
            if matches!(entry.state, ClusterState::Pending | ClusterState::Held)
                && !matches!(
                    sight.health_with(entry.current.as_ref()),
                    Health::Healthy | Health::Unsure
                )
            {
                // What it has while it waits for the next change does not last.
                unhealthy(entry);
            }
            if entry.state == ClusterState::Done
                && sight.away.is_none()
                && let Health::Failed(why) = sight.health_with(entry.current.as_ref())
            {
                // Others are about to take what does not last.
                let done = std::mem::take(&mut entry.done);
                reopen(entry, &done);
                fail(entry, why, now);
            }
            if !matches!(
                entry.state,
                ClusterState::Progressing | ClusterState::Soaking
            ) {
                continue;
            }
            if let Some(away) = &sight.away {
                leave(entry, away, self.policy.unreachable, now);
                continue;
            }
            if std::mem::take(&mut entry.unreachable) {
                (entry.since, entry.message) = (now, None);
            }
            let health = sight.health_with(entry.current.as_ref());
            let spent = SignedDuration::from_millis(entry.took)
                .saturating_add(now.duration_since(entry.since).max(SignedDuration::ZERO));
            match (health, entry.state) {
                (Health::Healthy, ClusterState::Progressing) => {
                    for change in &mut entry.changes {
                        change.healthy_since.get_or_insert(now);
                    }
                    entry.took = i64::try_from(spent.as_millis()).unwrap_or(i64::MAX);
                    (entry.state, entry.since, entry.message) = (ClusterState::Soaking, now, None);
                }
                (Health::Healthy, _) | (Health::Unsure, ClusterState::Soaking) => {}
                (Health::Failed(why), _) => fail(entry, why, now),
                (health, state) => {
                    let mut spent = spent;
                    if state == ClusterState::Soaking {
                        unhealthy(entry);
                        (entry.state, entry.since) = (ClusterState::Progressing, now);
                        entry.message = Some("it was healthy, and is not any more".to_owned());
                        // Only the time that it is not healthy counts.
                        spent = SignedDuration::from_millis(entry.took);
                    }
                    let limit = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
                    let trouble = match health {
                        Health::Troubled(why) => Some(cut(why)),
                        _ => None,
                    };
                    if spent >= limit {
                        let limit = fairway_types::Duration::from(deadline);
                        let why = trouble.map(|why| format!(": {why}")).unwrap_or_default();
                        let why =
                            format!("not healthy within the progress deadline of {limit}{why}");
                        fail(entry, &why, now);
                    } else {
                        if trouble.is_some() {
                            entry.message = trouble;
                        }
                        self.wake_deadline(&name, deadline);
                    }
                }
            }
        }
    }

    fn wake_deadline(&mut self, name: &str, deadline: std::time::Duration) {
        let entry = &self.entries[name];
        let left = SignedDuration::try_from(deadline)
            .unwrap_or(SignedDuration::MAX)
            .saturating_sub(SignedDuration::from_millis(entry.took));
        if let Ok(at) = entry.since.checked_add(left) {
            self.wake(at);
        }
    }

    /// Takes for verified what was healthy for long enough.
    fn verify(&mut self) {
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for name in names {
            let wave = self.seen.clusters[&name].wave;
            let rules = self.wave(&name);
            let soak = SignedDuration::try_from(rules.soak).unwrap_or(SignedDuration::MAX);
            let verdict = if rules.has_checks {
                self.seen
                    .checks
                    .get(&wave)
                    .cloned()
                    .unwrap_or(Verdict::Pending)
            } else {
                Verdict::Passed
            };
            let (now, mut wake) = (self.now, None);
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            if self.seen.clusters[&name].hold.is_some() {
                continue;
            }
            match (&verdict, entry.state) {
                (Verdict::Failed(why), ClusterState::Soaking) => {
                    fail(entry, why, now);
                    continue;
                }
                (
                    Verdict::Passed,
                    ClusterState::Soaking
                    | ClusterState::Pending
                    | ClusterState::Progressing
                    | ClusterState::Held,
                ) => {}
                _ => continue,
            }
            let mut verified = Vec::new();
            entry.changes.retain(|change| {
                let due = change
                    .healthy_since
                    .map(|since| since.checked_add(soak).unwrap_or(Timestamp::MAX));
                match due {
                    Some(due) if due <= now => {
                        verified.push(change.number);
                        false
                    }
                    Some(due) => {
                        wake = Some(wake.map_or(due, |known: Timestamp| known.min(due)));
                        true
                    }
                    None => true,
                }
            });
            entry.done.extend(verified);
            if entry.state == ClusterState::Soaking && entry.changes.is_empty() {
                (entry.state, entry.since, entry.message) = (ClusterState::Done, now, None);
                (entry.took, entry.failed) = (0, None);
                entry.verified.clone_from(&entry.current);
            }
            if let Some(at) = wake {
                self.wake(at);
            }
        }
    }

    /// The changes that more clusters of a wave have failed with than may, with the first such wave.
    fn given_up(&self) -> BTreeMap<i64, usize> {
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
    fn admit(&mut self) -> bool {
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

    /// Keeps the lists short: the oldest of too many changes are taken for one, everywhere.
    fn merge(&mut self) {
        loop {
            let oldest = self
                .entries
                .values()
                .find(|entry| entry.changes.len() > MAX_CHANGES)
                .map(|entry| (entry.changes[0].number, entry.changes[1].number));
            let Some((from, into)) = oldest else { return };
            for entry in self.entries.values_mut() {
                for done in &mut entry.done {
                    if *done == from {
                        *done = into;
                    }
                }
                entry.done.sort_unstable();
                entry.done.dedup();
                if let Some(at) = entry.changes.iter().position(|c| c.number == from) {
                    let moved = entry.changes.remove(at);
                    match entry.changes.iter_mut().find(|c| c.number == into) {
                        // Only as long as it is healthy with both.
                        Some(other) => {
                            let since = moved.healthy_since.zip(other.healthy_since);
                            other.healthy_since = since.map(|(a, b)| a.max(b));
                        }
                        None => entry.changes.push(OpenChange {
                            number: into,
                            ..moved
                        }),
                    }
                    entry.changes.sort_by_key(|change| change.number);
                }
                let open: Vec<i64> = numbers(entry).collect();
                entry.done.retain(|number| !open.contains(number));
            }
        }
    }

    /// Forgets changes that everybody has.
    fn finish(&mut self) {
        let open: BTreeSet<i64> = self
            .entries
            .values()
            .filter(|entry| !matches!(entry.state, ClusterState::Done | ClusterState::Skipped))
            .flat_map(numbers)
            .collect();
        self.entries.retain(|_, entry| {
            let had = !entry.done.is_empty();
            entry.done.retain(|number| open.contains(number));
            let settled = entry.done.is_empty();
            if had
                && settled
                && entry.state != ClusterState::Done
                && let Some(verified) = entry.verified.take()
            {
                entry.before = Some(verified);
            }
            !(settled && entry.state == ClusterState::Done)
        });
    }
}

fn begin(
    name: &str,
    wave: String,
    target: Rendered,
    current: Option<Rendered>,
    now: Timestamp,
) -> ClusterRollout {
    ClusterRollout {
        name: name.to_owned(),
        wave,
        target,
        current,
        since: now,
        ..ClusterRollout::default()
    }
}

fn held(entry: &mut ClusterRollout, why: &str, now: Timestamp) {
    let why = Some(cut(why));
    if entry.state != ClusterState::Held || entry.message != why {
        if entry.state != ClusterState::Held {
            entry.since = now;
        }
        (entry.state, entry.message) = (ClusterState::Held, why);
    }
}

fn fail(entry: &mut ClusterRollout, why: &str, now: Timestamp) {
    unhealthy(entry);
    (entry.state, entry.since, entry.took) = (ClusterState::Failed, now, 0);
    entry.failed = Some(entry.target.digest.clone());
    entry.message = Some(cut(why));
    entry.unreachable = false;
}

fn reopen(entry: &mut ClusterRollout, done: &[i64]) {
    for number in done {
        if numbers(entry).all(|known| known != *number) {
            entry.changes.push(open(*number));
        }
    }
    entry.changes.sort_by_key(|change| change.number);
}

/// What becomes of a cluster that is not there. Whether others need not wait for it any more.
fn leave(entry: &mut ClusterRollout, away: &Away, rule: Unreachable, now: Timestamp) -> bool {
    let (why, rule) = match away {
        Away::Suspended => ("the Cluster is suspended".to_owned(), Unreachable::Skip),
        Away::Unreachable(why) => (format!("cluster unreachable: {why}"), rule),
    };
    match rule {
        Unreachable::Wait => {
            if entry.state == ClusterState::Soaking {
                unhealthy(entry);
                (entry.state, entry.since) = (ClusterState::Progressing, now);
            } else if entry.state == ClusterState::Progressing && !entry.unreachable {
                // The clock stands still while nobody answers.
                let spent = now.duration_since(entry.since).max(SignedDuration::ZERO);
                let spent = i64::try_from(spent.as_millis()).unwrap_or(i64::MAX);
                entry.took = entry.took.saturating_add(spent);
                entry.since = now;
            }
            entry.unreachable = true;
            entry.message = Some(cut(&why));
            false
        }
        Unreachable::Skip => {
            unhealthy(entry);
            (entry.state, entry.since, entry.unreachable) = (ClusterState::Skipped, now, false);
            entry.message = Some(cut(&why));
            true
        }
        Unreachable::Fail => {
            fail(entry, &why, now);
            true
        }
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
