//! Checks: gates before a stage takes a version, verification after it, the checks of a wave.
//!
//! ```text
//!   Check + Subject ──▶ one look (prometheus, webhook, job, cel: thin IO) ──▶ Sample ──┐
//!                                                        Evidence so far ──▶ judge (pure) ──▶ Evidence, when to look again
//! ```
//!
//! [`Evidence`] is kept in the status of what asked, and is all that is needed to go on: after a crash nothing is counted
//! twice, and no Job runs twice. A verdict is final, but for windows: they open and close, and whoever is about to act must
//! ask once more.

pub(crate) mod cel;
mod job;
pub mod judge;
pub(crate) mod places;
mod prometheus;
pub(crate) mod secrets;
mod semver;
mod subject;
mod template;
mod webhook;
mod window;

use std::sync::Arc;
use std::time::Duration;

use fairway_types::check::{Check, Evidence, Kind, Verdict};
use jiff::Timestamp;

pub use judge::{Policy, Sample, Seen, due, judge};
pub use subject::Subject;

use crate::context::Context;
use places::places;
use secrets::Secrets;

/// How a check stands, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// To be kept, and given to the next evaluation.
    pub evidence: Evidence,
    /// When to look again; nothing where that can't change the verdict.
    pub again: Option<Duration>,
}

/// For what is judged at once, each time.
const AT_ONCE: Policy = Policy {
    interval: Duration::from_secs(1),
    count: 1,
    failure_limit: 0,
    timeout: Duration::MAX,
};

/// Looks at one check, if it is time to. It may take as long as its servers take to answer (at most about half a minute).
/// Approvals are for the Pipeline to judge: they stay pending here.
pub async fn evaluate(
    context: &Arc<Context>,
    check: &Check,
    subject: &Subject,
    previous: Option<&Evidence>,
) -> Evaluation {
    let now = (context.clock)();
    let kind = match check.kind() {
        Ok(kind) => kind,
        Err(error) => {
            let evidence = Evidence::begin(&check.name, "", now);
            let (evidence, again) =
                judge(&AT_ONCE, evidence, Sample::Invalid(error.to_string()), now);
            return Evaluation { evidence, again };
        }
    };
    let known = previous.filter(|known| known.name == check.name && known.kind == kind.name());
    let evidence = known
        .cloned()
        .unwrap_or_else(|| Evidence::begin(&check.name, kind.name(), now));
    let evaluation = look(context, &kind, subject, evidence.clone(), now).await;
    if evaluation.evidence.verdict != evidence.verdict
        && evaluation.evidence.verdict != Verdict::Pending
    {
        let judged = &evaluation.evidence;
        context
            .metrics
            .delivery
            .checked(kind.name(), judged.verdict);
        tracing::info!(
            check = check.name,
            kind = kind.name(),
            namespace = subject.namespace,
            pipeline = subject.pipeline,
            promotion = subject.promotion,
            stage = subject.stage,
            wave = subject.wave,
            verdict = judged.verdict.as_str(),
            "{}",
            judged.message
        );
    }
    evaluation
}

async fn look(
    context: &Arc<Context>,
    kind: &Kind<'_>,
    subject: &Subject,
    evidence: Evidence,
    now: Timestamp,
) -> Evaluation {
    let policy = match kind {
        Kind::Prometheus(check) => prometheus::policy(check),
        Kind::Webhook(check) => webhook::policy(check),
        Kind::Job(check) => job::policy(check),
        Kind::Cel(check) => cel::policy(check),
        Kind::Semver(_) => AT_ONCE,
        Kind::Window(check) => return in_window(window::sample(check, now), evidence, now),
        Kind::Approval(_) => {
            let again = None;
            return Evaluation { evidence, again };
        }
    };
    match due(&policy, &evidence, now) {
        None => {
            let again = None;
            return Evaluation { evidence, again };
        }
        Some(left) if !left.is_zero() => {
            let again = Some(left);
            return Evaluation { evidence, again };
        }
        Some(_) => {}
    }
    let sample = match kind {
        Kind::Semver(check) => semver::sample(check, &subject.version, &subject.from),
        Kind::Prometheus(check) => match secrets(context, subject) {
            Ok(secrets) => prometheus::sample(&context.outbound, &secrets, check, subject).await,
            Err(sample) => sample,
        },
        Kind::Webhook(check) => match secrets(context, subject) {
            Ok(secrets) => {
                let name = &evidence.name;
                webhook::sample(&context.outbound, &secrets, name, check, subject).await
            }
            Err(sample) => sample,
        },
        Kind::Job(check) => {
            let places = places(context, subject).await;
            job::sample(&evidence.name, check, &places, subject, &evidence).await
        }
        Kind::Cel(check) => {
            let places = places(context, subject).await;
            cel::sample(check, &places, &subject.json()).await
        }
        Kind::Window(_) | Kind::Approval(_) => {
            let again = None;
            return Evaluation { evidence, again };
        }
    };
    let (evidence, again) = judge(&policy, evidence, sample, (context.clock)());
    Evaluation { evidence, again }
}

fn secrets<'a>(context: &Context, subject: &'a Subject) -> Result<Secrets<'a>, Sample> {
    let hub = context
        .hub()
        .ok_or_else(|| Sample::Inconclusive(Seen::new("the hub is not known yet")))?;
    Ok(Secrets {
        client: hub.connection.client(),
        namespace: &subject.namespace,
    })
}

/// A window has no memory: it is open, or it is waited for.
fn in_window(sample: Sample, mut evidence: Evidence, now: Timestamp) -> Evaluation {
    let (verdict, seen) = match sample {
        Sample::Passed(seen) => (Verdict::Passed, seen),
        Sample::Inconclusive(seen) => (Verdict::Pending, seen),
        Sample::Failed(seen) => (Verdict::Failed, seen),
        Sample::Invalid(message) => (Verdict::Failed, Seen::new(message)),
    };
    if evidence.verdict != verdict || evidence.message != seen.message {
        // Else a waiting Promotion would be written again and again for nothing.
        evidence.at = now;
    }
    evidence.verdict = verdict;
    evidence.message = seen.message;
    Evaluation {
        evidence,
        again: seen
            .again
            .map(|again| again.max(Duration::from_millis(100))),
    }
}

/// Looks at all checks of a list at once. The evidence is in the order of the checks; what was known of checks that are no
/// longer there is left out. Says when to look again.
pub async fn evaluate_all(
    context: &Arc<Context>,
    checks: &[Check],
    subject: &Subject,
    previous: &[Evidence],
) -> (Vec<Evidence>, Option<Duration>) {
    let looks = checks.iter().map(|check| {
        let known = previous.iter().find(|known| known.name == check.name);
        evaluate(context, check, subject, known)
    });
    let looked = futures::future::join_all(looks).await;
    let again = looked.iter().filter_map(|one| one.again).min();
    let evidence = looked.into_iter().map(|one| one.evidence).collect();
    (evidence, again)
}

/// The verdict over all: Failed where one failed or was revoked, Passed where all passed (or there are none).
pub fn overall(evidence: &[Evidence]) -> Verdict {
    if evidence.iter().any(Evidence::failed) {
        Verdict::Failed
    } else if evidence.iter().all(Evidence::passed) {
        Verdict::Passed
    } else {
        Verdict::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_outweighs_all() {
        let with = |verdicts: &[Verdict]| {
            let all: Vec<Evidence> = verdicts
                .iter()
                .map(|verdict| Evidence {
                    verdict: *verdict,
                    ..Evidence::default()
                })
                .collect();
            overall(&all)
        };
        assert_eq!(with(&[]), Verdict::Passed);
        assert_eq!(with(&[Verdict::Passed, Verdict::Passed]), Verdict::Passed);
        assert_eq!(with(&[Verdict::Passed, Verdict::Pending]), Verdict::Pending);
        assert_eq!(with(&[Verdict::Pending, Verdict::Failed]), Verdict::Failed);
        assert_eq!(with(&[Verdict::Passed, Verdict::Revoked]), Verdict::Failed);
    }

    #[test]
    fn a_window_opens_and_closes() {
        let now = Timestamp::UNIX_EPOCH;
        let later: Timestamp = "1970-01-01T01:00:00Z".parse().unwrap();
        let seen = |text: &str| Seen {
            again: Some(Duration::from_mins(1)),
            ..Seen::new(text)
        };
        let evidence = Evidence::begin("hours", "window", now);
        let closed = in_window(Sample::Inconclusive(seen("closed")), evidence, now).evidence;
        assert_eq!(closed.verdict, Verdict::Pending);
        // Nothing new: nothing to write.
        let still = in_window(Sample::Inconclusive(seen("closed")), closed.clone(), later);
        assert_eq!(still.evidence, closed);
        let open = in_window(Sample::Passed(seen("open")), closed, later);
        assert!(open.evidence.passed());
        assert_eq!(open.again, Some(Duration::from_mins(1)));
        let shut = in_window(Sample::Inconclusive(seen("closed")), open.evidence, later);
        assert_eq!(shut.evidence.verdict, Verdict::Pending);
    }
}
