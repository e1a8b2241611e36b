//! A keyed work queue: what is to be reconciled, when, and how much at once.
//!
//! ```text
//!  add(key, lane) ──▶ waiting ──time──▶ ready ──slot──▶ running ──▶ finished
//!                        ▲                                 │ asked for meanwhile, or "after"
//!                        └─────────────────────────────────┘
//! ```
//!
//! [`schedule`] decides, this module waits: it drives the schedule on tokio's clock (which tests pause) and runs one
//! task a key.

pub mod schedule;

use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use schedule::{Lane, Limits, Next, Priority, Schedule};

/// What a key must be to live in a queue.
pub trait Key: Clone + Ord + Hash + Send + Sync + 'static {}
impl<T: Clone + Ord + Hash + Send + Sync + 'static> Key for T {}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do until somebody asks.
    Done,
    /// Fine; look again after this time.
    After(Duration),
    /// Failed, but the next try has its own time (Flux's `retryInterval`).
    RetryAfter(Duration),
    /// Failed; try again with exponential back-off.
    Backoff,
}

/// A shared handle on a queue.
#[derive(Debug)]
pub struct Queue<K: Key> {
    schedule: Mutex<Schedule<K>>,
    changed: Notify,
    /// Woken whenever a running key is asked for again.
    again: Notify,
}

impl<K: Key> Queue<K> {
    /// An empty queue.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            schedule: Mutex::new(Schedule::new(limits)),
            changed: Notify::new(),
            again: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Schedule<K>> {
        self.schedule
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks for `key` at once.
    pub fn add(&self, key: K, lane: Lane) {
        self.add_with(key, lane, Duration::ZERO, Priority::Normal);
    }

    /// Asks for `key` after a delay, with a priority.
    pub fn add_with(&self, key: K, lane: Lane, after: Duration, priority: Priority) {
        let now = Instant::now();
        let at = now.checked_add(after).unwrap_or(now);
        if self.lock().add(key, lane, at, priority) {
            self.again.notify_waiters();
        }
        self.changed.notify_one();
    }

    /// Forgets `key` where it waits.
    pub fn forget(&self, key: &K) {
        self.lock().forget(key);
    }

    /// Keys that run now, and keys that are ready but wait for a slot.
    pub fn load(&self) -> (usize, usize) {
        let schedule = self.lock();
        (schedule.running(), schedule.backlog())
    }

    /// Runs `work` for each key as it comes due until `stop` is cancelled, then waits for what runs.
    ///
    /// A panic in `work` counts as a failure of that key alone.
    pub async fn run<F, Fut>(self: Arc<Self>, stop: CancellationToken, work: F)
    where
        F: Fn(Ticket<K>) -> Fut,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let mut tasks = tokio::task::JoinSet::new();
        while !stop.is_cancelled() {
            while tasks.try_join_next().is_some() {}
            let next = self.lock().next(Instant::now());
            let sleep_until = match next {
                Next::Run(key) => {
                    let ticket = Ticket {
                        key,
                        queue: self.clone(),
                        finished: false,
                    };
                    let (key, queue) = (ticket.key.clone(), ticket.queue.clone());
                    let future = work(ticket);
                    tasks.spawn(async move {
                        let mut end = End {
                            key,
                            queue,
                            outcome: Outcome::Backoff,
                        };
                        end.outcome = future.await;
                    });
                    continue;
                }
                Next::At(at) => at,
                Next::Idle => Instant::now() + Duration::from_hours(1),
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(sleep_until) => {}
                () = stop.cancelled() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    fn finish(&self, key: &K, outcome: Outcome) {
        let mut schedule = self.lock();
        let after = match outcome {
            Outcome::Done => {
                schedule.succeeded(key);
                None
            }
            Outcome::After(after) | Outcome::RetryAfter(after) => {
                schedule.succeeded(key);
                Some(after)
            }
            Outcome::Backoff => {
                let delay = schedule.failed(key);
                Some(jitter(delay, 20))
            }
        };
        schedule.finish(key, Instant::now(), after);
        drop(schedule);
        self.changed.notify_one();
    }
}

/// Ends a run when it is dropped: after the future is done, cancelled or has panicked.
struct End<K: Key> {
    key: K,
    queue: Arc<Queue<K>>,
    outcome: Outcome,
}

impl<K: Key> Drop for End<K> {
    fn drop(&mut self) {
        self.queue.finish(&self.key, self.outcome);
    }
}

/// The right to work on one key; nobody else works on it meanwhile.
#[derive(Debug)]
pub struct Ticket<K: Key> {
    key: K,
    queue: Arc<Queue<K>>,
    finished: bool,
}

impl<K: Key> Ticket<K> {
    /// What is to be worked on.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Gives the slot back: from here on this run only waits, and others may start.
    pub fn release_slot(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.queue.lock().release_slot(&self.key);
            self.queue.changed.notify_one();
        }
    }

    /// Whether the key has been asked for again since this run began.
    pub fn is_superseded(&self) -> bool {
        self.queue.lock().is_wanted_again(&self.key, Instant::now())
    }

    /// Waits until the key is asked for again.
    pub async fn superseded(&self) {
        loop {
            let again = self.queue.again.notified();
            tokio::pin!(again);
            again.as_mut().enable();
            if self.is_superseded() {
                return;
            }
            again.await;
        }
    }
}

/// `duration`, give or take `percent` of it: what was started together shall not come back together.
pub fn jitter(duration: Duration, percent: u32) -> Duration {
    // Each RandomState has keys of its own; that is all the randomness that spreading load needs.
    let random =
        std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), duration);
    spread(duration, percent, random)
}

fn spread(duration: Duration, percent: u32, random: u64) -> Duration {
    let unit = (random >> 11) as f64 / (1u64 << 53) as f64;
    let factor = 1.0 + f64::from(percent) / 100.0 * (2.0 * unit - 1.0);
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn lane() -> Lane {
        Arc::from("lane")
    }

    #[tokio::test(start_paused = true)]
    async fn runs_keys_at_their_time_and_repeats_them() {
        let queue = Queue::new(Limits::default());
        queue.add("now", lane());
        queue.add_with("later", lane(), Duration::from_secs(5), Priority::Normal);
        let stop = CancellationToken::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let begin = Instant::now();
        let runner = tokio::spawn(queue.clone().run(stop.clone(), {
            let seen = seen.clone();
            move |ticket| {
                let seen = seen.clone();
                async move {
                    seen.lock()
                        .unwrap()
                        .push((*ticket.key(), begin.elapsed().as_secs()));
                    if *ticket.key() == "now" {
                        Outcome::After(Duration::from_secs(3))
                    } else {
                        Outcome::Done
                    }
                }
            }
        }));
        tokio::time::sleep(Duration::from_secs(7)).await;
        stop.cancel();
        runner.await.unwrap();
        assert_eq!(
            *seen.lock().unwrap(),
            [("now", 0), ("now", 3), ("later", 5), ("now", 6)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_of_that_key_alone() {
        let queue = Queue::new(Limits::default());
        queue.add("bad", lane());
        queue.add("good", lane());
        let stop = CancellationToken::new();
        let (bad, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let runner = tokio::spawn(queue.clone().run(stop.clone(), {
            let (bad, good) = (bad.clone(), good.clone());
            move |ticket| {
                let (bad, good) = (bad.clone(), good.clone());
                async move {
                    if *ticket.key() == "bad" {
                        bad.fetch_add(1, Ordering::Relaxed);
                        panic!("as planned");
                    }
                    good.fetch_add(1, Ordering::Relaxed);
                    Outcome::Done
                }
            }
        }));
        tokio::time::sleep(Duration::from_secs(3)).await;
        stop.cancel();
        runner.await.unwrap();
        assert_eq!(good.load(Ordering::Relaxed), 1);
        assert!((2..4).contains(&bad.load(Ordering::Relaxed)), "{bad:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_hears_that_it_is_superseded() {
        let queue = Queue::new(Limits::default());
        queue.add("a", lane());
        let stop = CancellationToken::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let runner = tokio::spawn(queue.clone().run(stop.clone(), {
            let runs = runs.clone();
            move |ticket| {
                let runs = runs.clone();
                async move {
                    if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                        ticket.superseded().await;
                    }
                    Outcome::Done
                }
            }
        }));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(queue.load(), (1, 0));
        queue.add("a", lane());
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        runner.await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let ten = Duration::from_secs(10);
        assert_eq!(spread(ten, 5, 0), Duration::from_millis(9500));
        assert!(spread(ten, 5, u64::MAX) <= Duration::from_millis(10500));
        assert_eq!(spread(Duration::MAX, 5, u64::MAX), Duration::MAX);
    }
}
