//! From samples to a verdict. Pure: what it knows is the evidence so far, one more sample, and the time.
//!
//! | sample | what it does |
//! |---|---|
//! | passed | counts; the verdict is Passed when `count` of them were seen |
//! | failed | counts; the verdict is Failed when more than `failureLimit` were seen |
//! | inconclusive | neither; asked again until `timeout`, then the verdict is Failed |
//! | invalid | the check itself can never be answered: Failed at once |
//!
//! A verdict stays as it is. Time in which nobody looked (the controller was down, the clock was set) does not count
//! towards the timeout: a check is not failed for what was not seen.

use std::time::Duration;

use fairway_types::check::{Evidence, Verdict};
use jiff::{SignedDuration, Timestamp};

/// What one look said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// It holds.
    Passed(Seen),
    /// It does not hold.
    Failed(Seen),
    /// Nobody can tell: no data, no answer, or not yet.
    Inconclusive(Seen),
    /// It can't be asked as it is written.
    Invalid(String),
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// For people.
    pub message: String,
    /// What was measured.
    pub value: Option<String>,
    /// When the one who was asked wants to be asked again.
    pub again: Option<Duration>,
}

impl Seen {
    /// A message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// With what was measured.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// How samples are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Time between two samples.
    pub interval: Duration,
    /// Samples that must hold.
    pub count: u32,
    /// Samples that may fail.
    pub failure_limit: u32,
    /// Time without a verdict after which it is Failed.
    pub timeout: Duration,
}

/// No check is looked at more often.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// A look may be this late (a busy controller) before it counts as one that nobody took.
const LATENESS: Duration = Duration::from_secs(30);
/// The longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 1024;

impl Policy {
    fn interval(&self) -> Duration {
        self.interval.max(LEAST_INTERVAL)
    }

    /// The timeout, and no less than the samples need.
    fn timeout(&self) -> Duration {
        let samples = self.count.saturating_add(self.failure_limit);
        self.timeout.max(self.interval().saturating_mul(samples))
    }
}

/// The time since then; none where the clock went back.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// How long until the next sample is due; nothing where there is a verdict.
pub fn due(policy: &Policy, evidence: &Evidence, now: Timestamp) -> Option<Duration> {
    if evidence.verdict != Verdict::Pending {
        return None;
    }
    if samples(evidence) == 0 {
        return Some(Duration::ZERO);
    }
    if now < evidence.at {
        // The clock went back: whatever is waited for is over.
        return Some(Duration::ZERO);
    }
    Some(policy.interval().saturating_sub(since(evidence.at, now)))
}

fn samples(evidence: &Evidence) -> u32 {
    evidence
        .passes
        .saturating_add(evidence.failures)
        .saturating_add(evidence.inconclusive)
}

/// The evidence after one more sample, and when to look again; nothing where there is a verdict.
pub fn judge(
    policy: &Policy,
    mut evidence: Evidence,
    sample: Sample,
    now: Timestamp,
) -> (Evidence, Option<Duration>) {
    if evidence.verdict != Verdict::Pending {
        return (evidence, None);
    }
    skip_gap(policy, &mut evidence, now);
    evidence.at = now;
    let (verdict, seen) = match sample {
        Sample::Invalid(message) => (Verdict::Failed, Seen::new(message)),
        Sample::Passed(seen) => {
            evidence.passes = evidence.passes.saturating_add(1);
            let enough = evidence.passes >= policy.count.max(1);
            (
                if enough {
                    Verdict::Passed
                } else {
                    Verdict::Pending
                },
                seen,
            )
        }
        Sample::Failed(seen) => {
            evidence.failures = evidence.failures.saturating_add(1);
            let too_many = evidence.failures > policy.failure_limit;
            (
                if too_many {
                    Verdict::Failed
                } else {
                    Verdict::Pending
                },
                seen,
            )
        }
        Sample::Inconclusive(seen) => {
            evidence.inconclusive = evidence.inconclusive.saturating_add(1);
            (Verdict::Pending, seen)
        }
    };
    let late = since(evidence.since, now) >= policy.timeout();
    let timed_out = verdict == Verdict::Pending && late;
    evidence.verdict = if timed_out { Verdict::Failed } else { verdict };
    evidence.message = cut(if timed_out {
        let timeout = fairway_types::Duration::from(policy.timeout());
        format!("no verdict within {timeout}; last: {}", seen.message)
    } else {
        seen.message
    });
    evidence.value = seen.value;
    let again = (evidence.verdict == Verdict::Pending).then(|| {
        let left = policy.timeout().saturating_sub(since(evidence.since, now));
        let wished = seen.again.unwrap_or_default().max(policy.interval());
        // At the timeout somebody must look.
        wished.min(left.max(LEAST_INTERVAL))
    });
    (evidence, again)
}

/// Moves the beginning of the evaluation on by the time in which nobody looked.
fn skip_gap(policy: &Policy, evidence: &mut Evidence, now: Timestamp) {
    if now < evidence.at {
        let back = evidence.at.duration_since(now);
        evidence.since = evidence.since.saturating_sub(back).unwrap_or(now);
        return;
    }
    let gap = since(evidence.at, now);
    let expected = policy.interval();
    if gap > expected * 2 + LATENESS {
        let unseen = SignedDuration::try_from(gap.saturating_sub(expected)).unwrap_or_default();
        evidence.since = evidence
            .since
            .saturating_add(unseen)
            .unwrap_or(now)
            .min(now);
    }
}

/// Cuts a message at [`MAX_MESSAGE`].
fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        interval: Duration::from_secs(10),
        count: 3,
        failure_limit: 1,
        timeout: Duration::from_mins(2),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn sample(letter: char) -> Sample {
        let seen = Seen::new(letter.to_string());
        match letter {
            'p' => Sample::Passed(seen),
            'f' => Sample::Failed(seen),
            'i' => Sample::Inconclusive(seen),
            _ => Sample::Invalid("x".into()),
        }
    }

    /// Takes one sample every ten seconds.
    fn run(policy: &Policy, samples: &str) -> Evidence {
        let mut evidence = Evidence::begin("a", "prometheus", at(0));
        for (n, letter) in samples.chars().enumerate() {
            let now = at(10 * n as i64);
            assert_eq!(
                due(policy, &evidence, now),
                Some(Duration::ZERO),
                "{samples} {n}"
            );
            evidence = judge(policy, evidence, sample(letter), now).0;
            if evidence.verdict != Verdict::Pending {
                assert_eq!(n + 1, samples.len(), "decided early: {evidence:?}");
            }
        }
        evidence
    }

    #[test]
    fn samples_make_a_verdict() {
        for (samples, verdict) in [
            ("pp", Verdict::Pending),
            ("ppp", Verdict::Passed),
            ("pfpp", Verdict::Passed),
            ("pfpf", Verdict::Failed),
            ("ff", Verdict::Failed),
            ("ipiipip", Verdict::Passed),
            ("iiiiii", Verdict::Pending),
            ("x", Verdict::Failed),
        ] {
            assert_eq!(run(&POLICY, samples).verdict, verdict, "{samples}");
        }
    }

    #[test]
    fn what_never_answers_fails_at_the_timeout() {
        let evidence = run(&POLICY, "iiiiiiiiiiiii");
        assert_eq!(evidence.verdict, Verdict::Failed);
        assert_eq!(evidence.message, "no verdict within 2m0s; last: i");
        assert_eq!(evidence.inconclusive, 13);
    }

    #[test]
    fn a_timeout_too_short_for_the_samples_is_stretched() {
        let policy = Policy {
            timeout: Duration::from_secs(5),
            ..POLICY
        };
        assert_eq!(run(&policy, "pipp").verdict, Verdict::Passed);
        assert_eq!(run(&policy, "iiiii").verdict, Verdict::Failed);
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let began = Evidence::begin("a", "webhook", at(0));
        let (first, again) = judge(&POLICY, began, sample('i'), at(0));
        assert_eq!(again, Some(Duration::from_secs(10)));
        // The controller was away for an hour.
        let (second, _) = judge(&POLICY, first, sample('i'), at(3600));
        assert_eq!(second.verdict, Verdict::Pending);
        assert_eq!(second.since, at(3590));
        // The clock goes back.
        let (third, _) = judge(&POLICY, second, sample('i'), at(60));
        assert_eq!(third.verdict, Verdict::Pending);
        assert!(third.since <= at(60));
        let (last, _) = judge(&POLICY, third, sample('p'), at(70));
        assert_eq!((last.passes, last.verdict), (1, Verdict::Pending));
    }

    #[test]
    fn a_server_can_ask_for_patience_within_the_timeout() {
        let evidence = Evidence::begin("a", "webhook", at(0));
        let mut seen = Seen::new("busy");
        seen.again = Some(Duration::from_mins(1));
        let (evidence, again) = judge(&POLICY, evidence, Sample::Inconclusive(seen.clone()), at(0));
        assert_eq!(again, Some(Duration::from_mins(1)));
        seen.again = Some(Duration::from_mins(100));
        let (_, again) = judge(&POLICY, evidence, Sample::Inconclusive(seen), at(15));
        assert_eq!(again, Some(Duration::from_secs(105)));
    }

    proptest! {
        /// A verdict comes in bounded time, is right by its counts, and never changes.
        #[test]
        fn verdicts_are_final_and_bounded(
            letters in proptest::collection::vec(proptest::sample::select(vec!['p', 'f', 'i']), 1..60),
            count in 1_u32..5,
            limit in 0_u32..4,
        ) {
            let policy = Policy { count, failure_limit: limit, ..POLICY };
            let mut evidence = Evidence::begin("a", "cel", at(0));
            let mut decided = None;
            for (n, letter) in letters.iter().enumerate() {
                let now = at(10 * n as i64);
                evidence = judge(&policy, evidence, sample(*letter), now).0;
                match (decided, evidence.verdict) {
                    (None, Verdict::Pending) => prop_assert!(since(at(0), now) < policy.timeout()),
                    (None, verdict) => decided = Some(verdict),
                    (Some(before), verdict) => prop_assert_eq!(before, verdict),
                }
            }
            match evidence.verdict {
                Verdict::Passed => prop_assert!(evidence.passes >= count && evidence.failures <= limit),
                Verdict::Failed => prop_assert!(evidence.failures > limit || evidence.message.starts_with("no verdict")),
                _ => prop_assert!(evidence.passes < count && evidence.failures <= limit),
            }
        }

        /// A controller that is replaced between any two samples comes to the same verdict.
        #[test]
        fn evidence_is_all_that_is_needed(letters in "[pfi]{1,20}") {
            let mut kept = Evidence::begin("a", "cel", at(0));
            let mut written = kept.clone();
            for (n, letter) in letters.chars().enumerate() {
                let now = at(10 * n as i64);
                kept = judge(&POLICY, kept, sample(letter), now).0;
                let read: Evidence = serde_json::from_value(serde_json::to_value(&written).unwrap()).unwrap();
                written = judge(&POLICY, read, sample(letter), now).0;
            }
            prop_assert_eq!(kept, written);
        }
    }
}
