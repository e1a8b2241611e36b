//! How clusters take a change: on the way, healthy, failed, away.

use fairway_types::rollout::{ClusterRollout, ClusterState, Unreachable};
use jiff::{SignedDuration, Timestamp};

use super::sight::{Away, Health, Verdict};
use super::step::{Work, cut, fail, reopen, unhealthy};

/// So soon after a change an object may still say how the last one went: a Deployment that goes back to an older template
/// goes on saying that its deadline is over until it gets somewhere.
const SETTLE: SignedDuration = SignedDuration::from_secs(3);

impl Work<'_> {
    /// Follows the clusters that take a change.
    pub(super) fn progress(&mut self) {
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
                (Health::Failed(why), ClusterState::Progressing) if spent < SETTLE => {
                    unhealthy(entry);
                    entry.message = Some(cut(why));
                    let left = SETTLE.saturating_sub(spent);
                    self.wake(now.checked_add(left).unwrap_or(now));
                }
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

    /// Takes for verified what was healthy for long enough.
    pub(super) fn verify(&mut self) {
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
}

/// What becomes of a cluster that is not there. Whether others need not wait for it any more.
pub(super) fn leave(
    entry: &mut ClusterRollout,
    away: &Away,
    rule: Unreachable,
    now: Timestamp,
) -> bool {
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
