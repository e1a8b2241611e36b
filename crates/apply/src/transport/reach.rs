//! Whether an API server serves us, as all requests to it see it together.

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use tokio::sync::watch;

/// Notes how requests end, and tells when the server is back.
pub(crate) struct Reach {
    up: AtomicBool,
    returns: watch::Sender<u64>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            up: AtomicBool::new(true),
            returns: watch::Sender::new(0),
        }
    }
}

impl Reach {
    /// A request got no answer.
    pub(super) fn lost(&self) {
        self.up.store(false, Ordering::Relaxed);
    }

    /// A request was answered. A server that only says that it cannot serve is not back.
    pub(super) fn answered(&self, status: StatusCode) {
        if status.is_server_error() {
            self.up.store(false, Ordering::Relaxed);
        } else if !self.up.swap(true, Ordering::Relaxed) {
            self.returns
                .send_modify(|returns| *returns = returns.wrapping_add(1));
        }
    }

    /// Changes each time the server is back after it was away.
    pub(crate) fn returns(&self) -> watch::Receiver<u64> {
        self.returns.subscribe()
    }
}
