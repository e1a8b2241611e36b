//! The numbers of changes: kept few, and forgotten when everybody has the change.

use std::collections::BTreeSet;

use fairway_types::rollout::{ClusterState, OpenChange};

use super::step::{Work, numbers};

/// The most changes that a cluster keeps apart; older ones are taken for one.
const MAX_CHANGES: usize = 8;

impl Work<'_> {
    /// Keeps the lists short: the oldest of too many changes are taken for one, everywhere.
    pub(super) fn merge(&mut self) {
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
    pub(super) fn finish(&mut self) {
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
