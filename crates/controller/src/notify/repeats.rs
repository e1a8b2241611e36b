//! What was told a moment ago is not told again: within five minutes an event of the same object with the same message and
//! revision is a repeat, as for Flux's notification-controller.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::event::FluxEvent;

const INTERVAL: Duration = Duration::from_mins(5);
const MAX_REMEMBERED: usize = 16_384;

/// Remembers what was told lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<[u8; 32], Instant>);

impl Repeats {
    /// Whether the event of a home is one that was told lately; if not, it is from now on.
    pub(super) fn is_repeat(&mut self, home: &str, event: &FluxEvent, now: Instant) -> bool {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= INTERVAL;
        let key = key(home, event);
        if self.0.get(&key).is_some_and(|at| !is_old(at)) {
            return true;
        }
        if self.0.len() >= MAX_REMEMBERED {
            self.0.retain(|_, at| !is_old(at));
        }
        if self.0.len() >= MAX_REMEMBERED {
            self.0.clear();
        }
        self.0.insert(key, now);
        false
    }
}

fn key(home: &str, event: &FluxEvent) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [
        home,
        event.name(),
        event.namespace(),
        event.kind(),
        &event.message,
        event.of_object("originRevision").unwrap_or_default(),
        event.of_object("revision").unwrap_or_default(),
        event.of_object("token").unwrap_or_default(),
    ] {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::*;

    #[test]
    fn repeats_are_told_after_five_minutes() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let one = event(&[("kustomize.toolkit.fluxcd.io/revision", "a")]);
        let mut two = event(&[("kustomize.toolkit.fluxcd.io/revision", "b")]);
        assert!(!repeats.is_repeat("hub", &one, now));
        assert!(repeats.is_repeat("hub", &one, now + Duration::from_secs(299)));
        assert!(!repeats.is_repeat("ns/a", &one, now));
        assert!(!repeats.is_repeat("hub", &two, now));
        two.message = "other".into();
        assert!(!repeats.is_repeat("hub", &two, now));
        assert!(!repeats.is_repeat("hub", &one, now + INTERVAL));
    }
}
