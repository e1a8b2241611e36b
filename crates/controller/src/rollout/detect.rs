//! What is rendered for clusters now, and was not before.

use std::collections::BTreeSet;

use fairway_types::rollout::{ClusterRollout, ClusterState, Rendered};
use jiff::Timestamp;

use super::sight::Wanted;
use super::step::{Work, fail, held, numbers, open, reopen, unhealthy};

impl Work<'_> {
    /// Compares what is wanted with what was.
    pub(super) fn detect(&mut self) {
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
                if entry.is_admitted() {
                    // What is followed renders what it is held at: there is nothing that it is held back from.
                    entry.changes.clear();
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
    pub(super) fn judge_targets(&mut self) {
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
