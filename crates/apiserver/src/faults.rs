//! Failures on purpose: what a demo and tests do to a cluster.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What is wrong with a cluster. The default is: nothing. As JSON, the body of `/simulator/clusters/NAME/faults`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FaultSpec {
    /// Every request waits that long, in milliseconds.
    pub latency_millis: u64,
    /// Answer with this status instead of serving: 429 or 5xx. Zero for none.
    pub status: u16,
    /// `Retry-After` of such answers, in seconds. Zero for none.
    pub retry_after_seconds: u64,
    /// Fail one of so many requests with `status`; zero and one mean all.
    pub one_in: u64,
    /// The listener is closed and connections are cut: connection refused.
    pub refuse: bool,
    /// Connections are taken and nothing is ever answered.
    pub black_hole: bool,
}

/// Steers the faults of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Faults {
    spec: watch::Sender<FaultSpec>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            spec: watch::Sender::new(FaultSpec::default()),
        }
    }
}

impl Faults {
    /// What is wrong now.
    pub fn get(&self) -> FaultSpec {
        self.spec.borrow().clone()
    }

    /// Replaces all faults. Takes effect at once; a listener closes and opens a moment later.
    pub fn set(&self, spec: FaultSpec) {
        self.spec.send_replace(spec);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.set(FaultSpec::default());
    }

    /// Delays every request.
    pub fn latency(&self, latency: Duration) {
        self.spec.send_modify(|spec| {
            spec.latency_millis = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        });
    }

    /// Answers every request with a status, and with `Retry-After` if one is given.
    pub fn status(&self, status: u16, retry_after_seconds: Option<u64>) {
        self.spec.send_modify(|spec| {
            spec.status = status;
            spec.retry_after_seconds = retry_after_seconds.unwrap_or(0);
        });
    }

    /// Closes (or opens) the listener.
    pub fn refuse(&self, refuse: bool) {
        self.spec.send_modify(|spec| spec.refuse = refuse);
    }

    /// Swallows (or serves) requests.
    pub fn black_hole(&self, black_hole: bool) {
        self.spec.send_modify(|spec| spec.black_hole = black_hole);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<FaultSpec> {
        self.spec.subscribe()
    }

    /// Returns at once unless the cluster is a black hole; then when it no longer is.
    pub(crate) async fn while_black_hole(&self) {
        let mut spec = self.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = spec.wait_for(|spec| !spec.black_hole).await;
    }
}
