//! The queue as a plain state machine: time comes in as an argument, nothing here waits.
//!
//! A key is in one place at most: *waiting* for its time, *ready* to be handed out, or *running*. Adding a key that
//! runs marks it to run *again*, so that what happens meanwhile is never lost and never worked on twice at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// What shares one limit of concurrency: usually the cluster that the work talks to.
pub type Lane = Arc<str>;

/// Which ready keys go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Only handed out while nothing of normal priority can be.
    Low,
    /// Everything else.
    #[default]
    Normal,
}

/// How much may run at the same time, and how failures are spaced.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Keys that hold a slot at the same time, over all lanes.
    pub total: usize,
    /// Keys that hold a slot at the same time in one lane.
    pub per_lane: usize,
    /// Delay after the first failure; each further failure doubles it.
    pub backoff_min: Duration,
    /// The longest delay between two tries.
    pub backoff_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 64,
            per_lane: 8,
            backoff_min: Duration::from_millis(750),
            backoff_max: Duration::from_mins(15),
        }
    }
}

/// The answer to "what is next?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<K> {
    /// This key is running now and must be given back with [`Schedule::finish`].
    Run(K),
    /// Nothing until then, unless something is added or finished before.
    At(Instant),
    /// Nothing waits.
    Idle,
}

#[derive(Debug)]
enum Place {
    Waiting {
        at: Instant,
        lane: Lane,
        priority: Priority,
    },
    Ready {
        lane: Lane,
        priority: Priority,
    },
    Running {
        lane: Lane,
        holds_slot: bool,
        again: Option<(Instant, Lane, Priority)>,
    },
}

#[derive(Debug)]
struct ReadyLane<K> {
    normal: VecDeque<K>,
    low: VecDeque<K>,
}

/// The state of the queue.
#[derive(Debug)]
pub struct Schedule<K> {
    limits: Limits,
    places: HashMap<K, Place>,
    by_time: BTreeSet<(Instant, K)>,
    ready: BTreeMap<Lane, ReadyLane<K>>,
    busy: HashMap<Lane, usize>,
    busy_total: usize,
    last_lane: Option<Lane>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Ord + Hash> Schedule<K> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            places: HashMap::new(),
            by_time: BTreeSet::new(),
            ready: BTreeMap::new(),
            busy: HashMap::new(),
            busy_total: 0,
            last_lane: None,
            failures: HashMap::new(),
        }
    }

    /// Asks for `key` to be worked on at `at` (or now, if that is past). Of several requests the earliest time and the
    /// highest priority win; a running key is handed out once more after it has finished.
    ///
    /// Returns whether the key was running.
    pub fn add(&mut self, key: K, lane: Lane, at: Instant, priority: Priority) -> bool {
        match self.places.get_mut(&key) {
            None => {
                self.by_time.insert((at, key.clone()));
                self.places
                    .insert(key, Place::Waiting { at, lane, priority });
                false
            }
            Some(Place::Waiting {
                at: old,
                lane: old_lane,
                priority: old_priority,
            }) => {
                *old_lane = lane;
                *old_priority = priority.max(*old_priority);
                if at < *old {
                    let was = std::mem::replace(old, at);
                    self.by_time.remove(&(was, key.clone()));
                    self.by_time.insert((at, key));
                }
                false
            }
            Some(Place::Ready {
                lane: in_lane,
                priority: old,
            }) => {
                if priority > *old {
                    *old = priority;
                    let in_lane = in_lane.clone();
                    if let Some(queue) = self.ready.get_mut(&in_lane) {
                        queue.low.retain(|k| *k != key);
                        queue.normal.push_back(key);
                    }
                }
                false
            }
            Some(Place::Running { again, .. }) => {
                *again = Some(match again.take() {
                    Some((old, _, p)) => (old.min(at), lane, p.max(priority)),
                    None => (at, lane, priority),
                });
                true
            }
        }
    }

    /// Hands out the next key, if one may run at `now`.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        while let Some((at, key)) = self.by_time.first().cloned() {
            if at > now {
                break;
            }
            self.by_time.pop_first();
            self.make_ready(key);
        }
        if self.busy_total < self.limits.total {
            for priority in [Priority::Normal, Priority::Low] {
                if let Some(key) = self.take_ready(priority) {
                    return Next::Run(key);
                }
            }
        }
        match self.by_time.first() {
            Some((at, _)) => Next::At(*at),
            None => Next::Idle,
        }
    }

    fn make_ready(&mut self, key: K) {
        let Some(place) = self.places.get_mut(&key) else {
            return;
        };
        let Place::Waiting { lane, priority, .. } = place else {
            return;
        };
        let (lane, priority) = (lane.clone(), *priority);
        *place = Place::Ready {
            lane: lane.clone(),
            priority,
        };
        let queue = self.ready.entry(lane).or_insert_with(|| ReadyLane {
            normal: VecDeque::new(),
            low: VecDeque::new(),
        });
        match priority {
            Priority::Normal => queue.normal.push_back(key),
            Priority::Low => queue.low.push_back(key),
        }
    }

    /// Lanes take turns, so that one with a thousand ready keys does not hold up the others.
    fn take_ready(&mut self, priority: Priority) -> Option<K> {
        let free = |lane: &Lane, queue: &ReadyLane<K>| {
            let has_work = match priority {
                Priority::Normal => !queue.normal.is_empty(),
                Priority::Low => !queue.low.is_empty(),
            };
            has_work && self.busy.get(lane).copied().unwrap_or(0) < self.limits.per_lane
        };
        let start = match &self.last_lane {
            Some(lane) => Bound::Excluded(lane.clone()),
            None => Bound::Unbounded,
        };
        let lane = self
            .ready
            .range((start, Bound::Unbounded))
            .chain(self.ready.iter())
            .find(|(lane, queue)| free(lane, queue))
            .map(|(lane, _)| lane.clone())?;
        let queue = self.ready.get_mut(&lane)?;
        let key = match priority {
            Priority::Normal => queue.normal.pop_front(),
            Priority::Low => queue.low.pop_front(),
        }?;
        if queue.normal.is_empty() && queue.low.is_empty() {
            self.ready.remove(&lane);
        }
        *self.busy.entry(lane.clone()).or_insert(0) += 1;
        self.busy_total += 1;
        self.last_lane = Some(lane.clone());
        self.places.insert(
            key.clone(),
            Place::Running {
                lane,
                holds_slot: true,
                again: None,
            },
        );
        Some(key)
    }

    /// Gives the slot back while the key goes on running: for work that only waits, so that it cannot hold up others.
    pub fn release_slot(&mut self, key: &K) {
        if let Some(Place::Running {
            lane, holds_slot, ..
        }) = self.places.get_mut(key)
            && std::mem::take(holds_slot)
        {
            let lane = lane.clone();
            self.free(&lane);
        }
    }

    fn free(&mut self, lane: &Lane) {
        self.busy_total = self.busy_total.saturating_sub(1);
        if let Some(busy) = self.busy.get_mut(lane) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                self.busy.remove(lane);
            }
        }
    }

    /// Ends the run of `key`. `after` asks for the next run; an earlier request that came in meanwhile wins over it.
    pub fn finish(&mut self, key: &K, now: Instant, after: Option<Duration>) {
        let Some(Place::Running {
            lane,
            holds_slot,
            again,
        }) = self.places.remove(key)
        else {
            return;
        };
        if holds_slot {
            self.free(&lane);
        }
        if let Some((at, lane, priority)) = again {
            self.add(key.clone(), lane, at, priority);
        }
        if let Some(after) = after {
            self.add(
                key.clone(),
                lane,
                now.checked_add(after).unwrap_or(now + FAR),
                Priority::Normal,
            );
        }
    }

    /// Counts a failure of `key` and says how long to wait before the next try, without jitter.
    pub fn failed(&mut self, key: &K) -> Duration {
        let count = self.failures.entry(key.clone()).or_insert(0);
        *count = count.saturating_add(1);
        backoff(self.limits.backoff_min, self.limits.backoff_max, *count)
    }

    /// Forgets the failures of `key`.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Forgets `key` where it waits; a running key is not stopped, but does not run again.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
        match self.places.get_mut(key) {
            None => {}
            Some(Place::Running { again, .. }) => *again = None,
            Some(Place::Waiting { at, .. }) => {
                let at = *at;
                self.by_time.remove(&(at, key.clone()));
                self.places.remove(key);
            }
            Some(Place::Ready { lane, .. }) => {
                let lane = lane.clone();
                if let Some(queue) = self.ready.get_mut(&lane) {
                    queue.normal.retain(|k| k != key);
                    queue.low.retain(|k| k != key);
                    if queue.normal.is_empty() && queue.low.is_empty() {
                        self.ready.remove(&lane);
                    }
                }
                self.places.remove(key);
            }
        }
    }

    /// Whether `key` has been asked for again since it began to run.
    pub fn is_wanted_again(&self, key: &K, now: Instant) -> bool {
        matches!(self.places.get(key), Some(Place::Running { again: Some((at, ..)), .. }) if *at <= now)
    }

    /// How many keys run now, with or without a slot.
    pub fn running(&self) -> usize {
        self.places
            .values()
            .filter(|place| matches!(place, Place::Running { .. }))
            .count()
    }

    /// How many keys are ready but have not been handed out.
    pub fn backlog(&self) -> usize {
        self.places
            .values()
            .filter(|place| matches!(place, Place::Ready { .. }))
            .count()
    }
}

/// Longer than anybody waits, short enough to be added to any instant.
const FAR: Duration = Duration::from_hours(24 * 365);

/// The delay after `failures` failures in a row: `min`, then doubling up to `max`.
pub fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    min.checked_mul(1 << doublings).unwrap_or(max).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(name: &str) -> Lane {
        Arc::from(name)
    }

    fn queue(total: usize, per_lane: usize) -> Schedule<&'static str> {
        Schedule::new(Limits {
            total,
            per_lane,
            ..Limits::default()
        })
    }

    #[test]
    fn a_key_added_twice_runs_once() {
        let (mut q, now) = (queue(9, 9), Instant::now());
        q.add("a", lane("x"), now, Priority::Normal);
        q.add("a", lane("x"), now, Priority::Normal);
        assert_eq!(q.next(now), Next::Run("a"));
        assert_eq!(q.next(now), Next::Idle);
    }

    #[test]
    fn a_key_added_while_it_runs_runs_again_afterwards() {
        let (mut q, now) = (queue(9, 9), Instant::now());
        q.add("a", lane("x"), now, Priority::Normal);
        assert_eq!(q.next(now), Next::Run("a"));
        assert!(q.add("a", lane("x"), now, Priority::Normal));
        assert!(q.is_wanted_again(&"a", now));
        assert_eq!(q.next(now), Next::Idle);
        q.finish(&"a", now, Some(Duration::from_mins(1)));
        assert_eq!(q.next(now), Next::Run("a"));
    }

    #[test]
    fn the_earliest_time_wins() {
        let (mut q, now) = (queue(9, 9), Instant::now());
        let later = now + Duration::from_secs(9);
        q.add("a", lane("x"), later, Priority::Normal);
        q.add(
            "a",
            lane("x"),
            now + Duration::from_secs(5),
            Priority::Normal,
        );
        q.add("a", lane("x"), later, Priority::Normal);
        assert_eq!(q.next(now), Next::At(now + Duration::from_secs(5)));
        assert_eq!(q.next(now + Duration::from_secs(5)), Next::Run("a"));
    }

    #[test]
    fn a_full_lane_does_not_hold_up_another() {
        let (mut q, now) = (queue(9, 1), Instant::now());
        for key in ["a", "b", "c"] {
            q.add(key, lane("dead"), now, Priority::Normal);
        }
        q.add("z", lane("fine"), now, Priority::Normal);
        assert_eq!(q.next(now), Next::Run("a"));
        assert_eq!(q.next(now), Next::Run("z"));
        assert_eq!(q.next(now), Next::Idle);
        q.release_slot(&"a");
        assert_eq!(q.next(now), Next::Run("b"));
        q.finish(&"a", now, None);
        assert_eq!(
            q.next(now),
            Next::Idle,
            "the slot of a was given back once only"
        );
    }

    #[test]
    fn low_priority_waits_for_the_rest_and_can_be_raised() {
        let (mut q, now) = (queue(1, 1), Instant::now());
        q.add("low", lane("a"), now, Priority::Low);
        q.add("low2", lane("a"), now, Priority::Low);
        q.add("normal", lane("b"), now, Priority::Normal);
        assert_eq!(q.next(now), Next::Run("normal"));
        q.add("low2", lane("a"), now, Priority::Normal);
        q.finish(&"normal", now, None);
        assert_eq!(q.next(now), Next::Run("low2"));
    }

    #[test]
    fn failures_double_the_delay_up_to_the_longest() {
        let mut q = queue(1, 1);
        assert_eq!(q.failed(&"a"), Duration::from_millis(750));
        assert_eq!(q.failed(&"a"), Duration::from_millis(1500));
        for _ in 0..90 {
            q.failed(&"a");
        }
        assert_eq!(q.failed(&"a"), Duration::from_mins(15));
        q.succeeded(&"a");
        assert_eq!(q.failed(&"a"), Duration::from_millis(750));
    }

    #[test]
    fn an_absurd_delay_does_not_panic() {
        let (mut q, now) = (queue(1, 1), Instant::now());
        q.add("a", lane("x"), now, Priority::Normal);
        assert_eq!(q.next(now), Next::Run("a"));
        q.finish(&"a", now, Some(Duration::MAX));
        assert!(matches!(q.next(now), Next::At(_)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, u8, u64, bool),
        Next,
        Finish(u8, Option<u64>),
        Release(u8),
        Forget(u8),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..6, 0u8..3, 0u64..5, any::<bool>()).prop_map(|(k, l, t, p)| Step::Add(k, l, t, p)),
            Just(Step::Next),
            Just(Step::Next),
            (0u8..6, proptest::option::of(0u64..5)).prop_map(|(k, t)| Step::Finish(k, t)),
            (0u8..6).prop_map(Step::Release),
            (0u8..6).prop_map(Step::Forget),
            (0u64..5).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn never_two_runs_of_a_key_never_over_the_limits(steps in proptest::collection::vec(step(), 1..200)) {
            let mut q = Schedule::new(Limits { total: 3, per_lane: 2, ..Limits::default() });
            let mut now = Instant::now();
            let mut running: HashMap<u8, bool> = HashMap::new();
            for step in steps {
                match step {
                    Step::Add(key, l, after, low) => {
                        let priority = if low { Priority::Low } else { Priority::Normal };
                        let was = q.add(key, lane(&l.to_string()), now + Duration::from_secs(after), priority);
                        prop_assert_eq!(was, running.contains_key(&key));
                    }
                    Step::Next => {
                        if let Next::Run(key) = q.next(now) {
                            prop_assert!(running.insert(key, true).is_none());
                        }
                    }
                    Step::Finish(key, after) => {
                        if running.remove(&key).is_some() {
                            q.finish(&key, now, after.map(Duration::from_secs));
                        }
                    }
                    Step::Release(key) => {
                        if let Some(slot) = running.get_mut(&key) {
                            *slot = false;
                            q.release_slot(&key);
                        }
                    }
                    Step::Forget(key) => q.forget(&key),
                    Step::Pass(secs) => now += Duration::from_secs(secs),
                }
                let holding = running.values().filter(|slot| **slot).count();
                prop_assert!(holding <= 3);
                prop_assert_eq!(q.busy_total, holding);
                prop_assert_eq!(q.running(), running.len());
            }
        }
    }
}
