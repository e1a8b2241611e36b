//! A cluster that is applied to: its connection, whether it answers, and what is seen on it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use fairway_apply::observe::Mode;
use fairway_apply::witness::Witness;
use fairway_apply::{Connection, Mapper, Observer};
use tokio_util::sync::CancellationToken;

use super::residents::Residents;
use crate::queue::schedule::backoff;
use crate::queue::{Lane, jitter};

/// Told when a target stops answering, and when it answers again.
pub(crate) type OnTurn = Arc<dyn Fn(&Target) + Send + Sync>;

/// See the module.
pub struct Target {
    /// Differs from every other target's, also from that of an older connection to the same cluster.
    pub id: u64,
    /// What shares the limit of concurrency: the address of the API server.
    pub lane: Lane,
    /// How it is reached.
    pub connection: Connection,
    /// What it serves.
    pub mapper: Arc<Mapper>,
    /// Who watches what was applied to it.
    pub observer: Arc<Observer>,
    /// The Kustomizations that live in it, as far as they were looked for.
    pub residents: Residents,
    /// Cancelled when this connection is given up.
    pub stop: CancellationToken,
    down: Mutex<Option<Down>>,
    on_turn: OnTurn,
    me: Weak<Target>,
}

/// The cluster does not answer.
#[derive(Debug, Clone)]
struct Down {
    reason: String,
    failures: u32,
}

const SETTLE: Duration = Duration::from_secs(2);
const PROBE_MIN: Duration = Duration::from_secs(1);
/// A probe is one small request, and a cluster that is back should be seen in seconds.
const PROBE_MAX: Duration = Duration::from_secs(5);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("id", &self.id)
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// A target that is believed to answer.
    pub(crate) fn new(
        connection: Connection,
        stop: CancellationToken,
        on_turn: OnTurn,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mapper = Arc::new(Mapper::new(&connection));
        Arc::new_cyclic(|me| Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            lane: Lane::from(connection.server()),
            observer: Observer::new(&connection, mapper.clone()),
            mapper,
            residents: Residents::default(),
            connection,
            stop,
            down: Mutex::default(),
            on_turn,
            me: me.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Down>> {
        self.down
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Who saves requests by watching.
    pub fn witness(&self) -> Option<Arc<dyn Witness>> {
        Some(self.observer.clone())
    }

    /// Whether changes of what was applied are seen as they happen.
    pub fn is_watched(&self) -> bool {
        self.observer.is_synced()
    }

    /// Gives new watches a moment to see what is there, so that it need not be asked for object by object.
    pub async fn settle(&self) {
        let starting = || {
            self.observer
                .modes()
                .values()
                .any(|mode| *mode == Mode::Starting)
        };
        let mut changes = self.observer.changes();
        let settled = async { while starting() && changes.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(SETTLE, settled).await;
    }

    /// Why the cluster cannot be reached, if it cannot.
    pub fn why_down(&self) -> Option<String> {
        self.lock().as_ref().map(|down| down.reason.clone())
    }

    /// Nobody answered. From now on one probe with growing pauses asks for all, until it is heard.
    pub fn went_down(&self, reason: String) {
        let mut guard = self.lock();
        if let Some(down) = guard.as_mut() {
            down.reason = reason;
            return;
        }
        *guard = Some(Down {
            reason,
            failures: 1,
        });
        drop(guard);
        (self.on_turn)(self);
        if let Some(me) = self.me.upgrade() {
            tokio::spawn(me.probe());
        }
    }

    /// It answered.
    pub fn came_up(&self) {
        if self.lock().take().is_some() {
            (self.on_turn)(self);
        }
    }

    async fn probe(self: Arc<Self>) {
        let mut returns = self.connection.returns();
        loop {
            let Some(down) = self.lock().clone() else {
                return;
            };
            let pause = jitter(backoff(PROBE_MIN, PROBE_MAX, down.failures), 20);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A watch was faster.
                _ = returns.changed() => return self.came_up(),
                () = self.stop.cancelled() => return,
            }
            match self.connection.version().await {
                Err(error) if error.is_unreachable() => {
                    if let Some(down) = self.lock().as_mut() {
                        down.failures = down.failures.saturating_add(1);
                        down.reason = error.to_string();
                    }
                }
                // A refusal is an answer too.
                _ => return self.came_up(),
            }
        }
    }
}
