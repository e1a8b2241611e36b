//! The status of a Kustomization as a run goes on. Pure: the time comes in, the result is compared and written elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway_types::kustomization::{Snapshot, record};
use fairway_types::names::{self, reason};
use fairway_types::{ConditionStatus, KustomizationStatus, conditions};
use jiff::Timestamp;

use crate::source::NOT_RUN;

/// What every change of a status needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// `metadata.generation` of what is worked on.
    pub generation: Option<i64>,
    /// The time.
    pub time: Timestamp,
}

fn set(
    status: &mut KustomizationStatus,
    type_: &str,
    is: ConditionStatus,
    reason: &str,
    message: &str,
    now: Now,
) {
    conditions::set(
        &mut status.conditions,
        type_,
        is,
        reason,
        message,
        now.generation,
        now.time,
    );
}

/// Work on the cluster begins.
pub fn progressing(status: &mut KustomizationStatus, message: &str, now: Now) {
    conditions::remove(&mut status.conditions, names::STALLED);
    set(
        status,
        names::READY,
        ConditionStatus::Unknown,
        reason::PROGRESSING,
        "Reconciliation in progress",
        now,
    );
    set(
        status,
        names::RECONCILING,
        ConditionStatus::True,
        reason::PROGRESSING,
        message,
        now,
    );
    conditions::ready_first(&mut status.conditions);
}

/// Health checks begin.
pub fn checking(status: &mut KustomizationStatus, message: &str, now: Now) {
    progressing(status, message, now);
    set(
        status,
        names::HEALTHY,
        ConditionStatus::Unknown,
        reason::PROGRESSING,
        message,
        now,
    );
}

/// The health checks are over; nothing where there were none.
pub fn checked(status: &mut KustomizationStatus, result: Option<Result<&str, &str>>, now: Now) {
    match result {
        None => {
            conditions::remove(&mut status.conditions, names::HEALTHY);
        }
        Some(Ok(message)) => set(
            status,
            names::HEALTHY,
            ConditionStatus::True,
            reason::SUCCEEDED,
            message,
            now,
        ),
        Some(Err(message)) => {
            set(
                status,
                names::HEALTHY,
                ConditionStatus::False,
                reason::HEALTH_CHECK_FAILED,
                message,
                now,
            );
        }
    }
}

/// The cluster is as the revision says.
pub fn succeeded(status: &mut KustomizationStatus, revision: &str, now: Now) {
    conditions::remove(&mut status.conditions, names::RECONCILING);
    conditions::remove(&mut status.conditions, names::STALLED);
    let message = format!("Applied revision: {revision}");
    set(
        status,
        names::READY,
        ConditionStatus::True,
        reason::RECONCILIATION_SUCCEEDED,
        &message,
        now,
    );
    conditions::ready_first(&mut status.conditions);
    status.last_applied_revision = Some(revision.to_owned());
    status.last_attempted_revision = Some(revision.to_owned());
    status.observed_generation = now.generation;
}

/// The run failed and will be tried again.
pub fn failed(status: &mut KustomizationStatus, reason: &str, message: &str, now: Now) {
    conditions::remove(&mut status.conditions, names::STALLED);
    set(
        status,
        names::READY,
        ConditionStatus::False,
        reason,
        message,
        now,
    );
    if let Some(reconciling) = conditions::get(&status.conditions, names::RECONCILING) {
        let message = reconciling.message.clone();
        set(
            status,
            names::RECONCILING,
            ConditionStatus::True,
            reason::PROGRESSING_WITH_RETRY,
            &message,
            now,
        );
    }
    conditions::ready_first(&mut status.conditions);
}

/// The run failed and will not be tried again before something changes.
pub fn stalled(status: &mut KustomizationStatus, reason: &str, message: &str, now: Now) {
    conditions::remove(&mut status.conditions, names::RECONCILING);
    set(
        status,
        names::READY,
        ConditionStatus::False,
        reason,
        message,
        now,
    );
    set(
        status,
        names::STALLED,
        ConditionStatus::True,
        reason,
        message,
        now,
    );
    conditions::ready_first(&mut status.conditions);
    status.observed_generation = now.generation;
}

/// Nothing is done while it is suspended; where all was well, that is true of the newest generation too.
pub fn resting(status: &mut KustomizationStatus, now: Now) {
    if conditions::is_true(&status.conditions, names::READY) {
        conditions::remove(&mut status.conditions, names::RECONCILING);
        status.observed_generation = now.generation;
    }
}

/// Nobody here can run it.
pub fn not_run(status: &mut KustomizationStatus, message: &str, now: Now) {
    conditions::remove(&mut status.conditions, names::RECONCILING);
    conditions::remove(&mut status.conditions, names::STALLED);
    set(
        status,
        names::READY,
        ConditionStatus::Unknown,
        NOT_RUN,
        message,
        now,
    );
    status.observed_generation = now.generation;
}

/// Adds a run to the history.
pub fn remember(
    status: &mut KustomizationStatus,
    digest: &str,
    revision: &str,
    ended: &str,
    took: Duration,
    now: Now,
) {
    let attempt = Snapshot {
        digest: digest.to_owned(),
        first_reconciled: now.time,
        last_reconciled: now.time,
        last_reconciled_duration: Duration::from_millis(
            took.as_millis().min(u128::from(u64::MAX)) as u64
        )
        .into(),
        last_reconciled_status: ended.to_owned(),
        total_reconciliations: 1,
        metadata: BTreeMap::from([("revision".to_owned(), revision.to_owned())]),
    };
    record(&mut status.history, attempt);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(second: i64) -> Now {
        Now {
            generation: Some(7),
            time: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn a_run_goes_through_the_conditions_of_flux() {
        let mut status = KustomizationStatus::default();
        progressing(
            &mut status,
            "Building manifests for revision r1 with a timeout of 30s",
            now(1),
        );
        assert!(conditions::is(
            &status.conditions,
            names::READY,
            ConditionStatus::Unknown
        ));
        assert_eq!(status.observed_generation, None, "not yet");
        checking(&mut status, "Running health checks", now(2));
        checked(&mut status, Some(Ok("Health check passed in 1s")), now(3));
        succeeded(&mut status, "r1", now(3));
        let types: Vec<_> = status
            .conditions
            .iter()
            .map(|c| (c.type_.as_str(), c.status.as_str()))
            .collect();
        assert_eq!(types, [("Ready", "True"), ("Healthy", "True")]);
        assert_eq!(status.conditions[0].message, "Applied revision: r1");
        assert_eq!(status.observed_generation, Some(7));
    }

    #[test]
    fn suspending_leaves_nothing_unfinished() {
        let mut status = KustomizationStatus::default();
        resting(&mut status, now(1));
        assert_eq!(status, KustomizationStatus::default(), "never reconciled");
        succeeded(&mut status, "r1", now(1));
        let later = Now {
            generation: Some(8),
            ..now(2)
        };
        resting(&mut status, later);
        assert_eq!(status.observed_generation, Some(8));
        failed(&mut status, reason::BUILD_FAILED, "no", now(3));
        resting(
            &mut status,
            Now {
                generation: Some(9),
                ..now(4)
            },
        );
        assert_eq!(status.observed_generation, Some(8));
    }

    #[test]
    fn a_failure_keeps_what_was_applied() {
        let mut status = KustomizationStatus::default();
        succeeded(&mut status, "r1", now(1));
        progressing(&mut status, "work", now(2));
        failed(&mut status, reason::BUILD_FAILED, "no", now(3));
        assert_eq!(status.last_applied_revision.as_deref(), Some("r1"));
        let reconciling = conditions::get(&status.conditions, names::RECONCILING).unwrap();
        assert_eq!(reconciling.reason, "ProgressingWithRetry");
        stalled(&mut status, reason::ACCESS_DENIED, "no", now(4));
        assert!(conditions::get(&status.conditions, names::RECONCILING).is_none());
        succeeded(&mut status, "r2", now(5));
        assert!(conditions::get(&status.conditions, names::STALLED).is_none());
    }
}
