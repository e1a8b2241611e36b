//! What is worth an Event: repeats are counted instead of written again, and one object cannot flood the API.
//!
//! The numbers are client-go's: per object 25 at once, then one in five minutes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_mins(5);
const REPEAT_WINDOW: Duration = Duration::from_mins(10);
const MAX_REMEMBERED: usize = 4096;

/// What makes two events the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    pub object: String,
    pub reason: String,
    pub message: String,
    pub warning: bool,
}

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Write a new Event.
    Create,
    /// Raise the count of this Event to that number.
    Count(String, i32),
    /// Too many of this object.
    Drop,
}

#[derive(Debug)]
struct Seen {
    name: String,
    count: i32,
    last: Instant,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Remembers what was written lately.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    seen: HashMap<Fingerprint, Seen>,
    buckets: HashMap<String, Bucket>,
}

impl Limiter {
    pub(crate) fn judge(&mut self, event: &Fingerprint, now: Instant) -> Verdict {
        let bucket = self.buckets.entry(event.object.clone()).or_insert(Bucket {
            tokens: BURST,
            at: now,
        });
        let refilled =
            now.saturating_duration_since(bucket.at).as_secs_f64() / REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refilled).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Verdict::Drop;
        }
        bucket.tokens -= 1.0;
        match self.seen.get_mut(event) {
            Some(seen) if now.saturating_duration_since(seen.last) < REPEAT_WINDOW => {
                seen.count = seen.count.saturating_add(1);
                seen.last = now;
                Verdict::Count(seen.name.clone(), seen.count)
            }
            _ => Verdict::Create,
        }
    }

    /// Remembers under which name an event was written.
    pub(crate) fn wrote(&mut self, event: Fingerprint, name: String, now: Instant) {
        if self.seen.len() >= MAX_REMEMBERED {
            self.seen
                .retain(|_, seen| now.saturating_duration_since(seen.last) < REPEAT_WINDOW);
        }
        if self.seen.len() >= MAX_REMEMBERED {
            self.seen.clear();
        }
        if self.buckets.len() >= MAX_REMEMBERED {
            self.buckets.retain(|_, bucket| {
                now.saturating_duration_since(bucket.at) < REFILL * BURST as u32
            });
        }
        self.seen.insert(
            event,
            Seen {
                name,
                count: 1,
                last: now,
            },
        );
    }

    /// Forgets an Event that is no longer there.
    pub(crate) fn lost(&mut self, event: &Fingerprint) {
        self.seen.remove(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Fingerprint {
        Fingerprint {
            object: "uid".into(),
            reason: "R".into(),
            message: message.into(),
            warning: false,
        }
    }

    #[test]
    fn repeats_are_counted_for_ten_minutes() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.judge(&event("m"), now), Verdict::Create);
        limiter.wrote(event("m"), "e1".into(), now);
        assert_eq!(
            limiter.judge(&event("m"), now),
            Verdict::Count("e1".into(), 2)
        );
        assert_eq!(limiter.judge(&event("other"), now), Verdict::Create);
        assert_eq!(
            limiter.judge(&event("m"), now + Duration::from_mins(11)),
            Verdict::Create
        );
    }

    #[test]
    fn one_object_cannot_flood() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let written = (0..100)
            .filter(|n| limiter.judge(&event(&n.to_string()), now) == Verdict::Create)
            .count();
        assert_eq!(written, 25);
        assert_eq!(
            limiter.judge(&event("x"), now + Duration::from_mins(5)),
            Verdict::Create
        );
        let other = Fingerprint {
            object: "another".into(),
            ..event("x")
        };
        assert_eq!(limiter.judge(&other, now), Verdict::Create);
    }
}
