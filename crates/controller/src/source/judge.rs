//! What the status of a GitRepository says after a run. Pure.

use fairway_types::git_repository::Artifact;
use fairway_types::names::{self, reason};
use fairway_types::{ConditionStatus, GitRepository, GitRepositoryStatus, conditions};
use kube::ResourceExt;

use crate::events::Severity;

/// Reason of the Ready condition of what nobody here runs.
pub(crate) const NOT_RUN: &str = "NotRun";

/// Why a source could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing will change until somebody edits the object.
    #[error("{message}")]
    Stalled {
        reason: &'static str,
        message: String,
    },
    /// The next try may go better.
    #[error("{message}")]
    Failed {
        reason: &'static str,
        message: String,
    },
    /// Not run at all, see [`Remotes::Only`](crate::options::Remotes::Only).
    #[error("not run: {0}")]
    NotRun(String),
}

impl Failure {
    pub(super) fn git(url: &str, error: &fairway_git::Error) -> Self {
        use fairway_git::Error as E;
        let message =
            format!("failed to checkout and determine revision: unable to clone '{url}': {error}");
        match error {
            E::InvalidUrl { .. } => Self::Stalled {
                reason: reason::URL_INVALID,
                message: error.to_string(),
            },
            E::InvalidReference { .. } => Self::Stalled {
                reason: reason::GIT_OPERATION_FAILED,
                message: format!("spec.ref: {error}"),
            },
            E::AuthFailed { .. } => Self::Failed {
                reason: reason::AUTHENTICATION_FAILED,
                message,
            },
            _ => Self::Failed {
                reason: reason::GIT_OPERATION_FAILED,
                message,
            },
        }
    }
}

pub(super) type Told = Option<(Severity, &'static str, String)>;

/// The status after a run, and what to tell about it.
pub(super) fn judge(
    object: &GitRepository,
    before: &GitRepositoryStatus,
    result: &Result<Artifact, Failure>,
    now: jiff::Timestamp,
) -> (GitRepositoryStatus, Told) {
    let mut status = before.clone();
    let generation = object.metadata.generation;
    if let Some(requested) = object.annotations().get(names::REQUESTED_AT) {
        status.last_handled_reconcile_at = Some(requested.clone());
    }
    let list = &mut status.conditions;
    let mut told = None;
    let set = |list: &mut Vec<_>, type_, is, reason: &str, message: &str| {
        conditions::set(list, type_, is, reason, message, generation, now);
    };
    match result {
        Ok(artifact) => {
            let message = format!("stored artifact for revision '{}'", artifact.revision);
            let failed_before = conditions::is_true(list, names::FETCH_FAILED);
            for type_ in [names::FETCH_FAILED, names::RECONCILING, names::STALLED] {
                conditions::remove(list, type_);
            }
            set(
                list,
                names::READY,
                ConditionStatus::True,
                reason::SUCCEEDED,
                &message,
            );
            set(
                list,
                names::ARTIFACT_IN_STORAGE,
                ConditionStatus::True,
                reason::SUCCEEDED,
                &message,
            );
            let same = |old: &Artifact| {
                old.revision == artifact.revision
                    && old.digest == artifact.digest
                    && old.path == artifact.path
            };
            if !before.artifact.as_ref().is_some_and(same) {
                told = Some((Severity::Info, reason::NEW_ARTIFACT, message));
                status.artifact = Some(artifact.clone());
            } else if failed_before {
                told = Some((Severity::Info, reason::SUCCEEDED, message));
            }
            status.observed_ignore.clone_from(&object.spec.ignore);
            status.observed_generation = generation;
        }
        Err(Failure::NotRun(why)) => {
            let message = format!("not run: {why}");
            for type_ in [names::FETCH_FAILED, names::RECONCILING, names::STALLED] {
                conditions::remove(list, type_);
            }
            set(
                list,
                names::READY,
                ConditionStatus::Unknown,
                NOT_RUN,
                &message,
            );
            status.observed_generation = generation;
        }
        Err(failure @ (Failure::Stalled { reason, .. } | Failure::Failed { reason, .. })) => {
            let message = failure.to_string();
            let stalled = matches!(failure, Failure::Stalled { .. });
            set(list, names::READY, ConditionStatus::False, reason, &message);
            set(
                list,
                names::FETCH_FAILED,
                ConditionStatus::True,
                reason,
                &message,
            );
            if stalled {
                conditions::remove(list, names::RECONCILING);
                set(
                    list,
                    names::STALLED,
                    ConditionStatus::True,
                    reason,
                    &message,
                );
                status.observed_generation = generation;
            } else {
                conditions::remove(list, names::STALLED);
                set(
                    list,
                    names::RECONCILING,
                    ConditionStatus::True,
                    reason::PROGRESSING_WITH_RETRY,
                    "reconciliation in progress",
                );
            }
            told = Some((Severity::Error, reason, message));
        }
    }
    conditions::ready_first(&mut status.conditions);
    (status, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    fn object(status: Option<GitRepositoryStatus>) -> GitRepository {
        let mut object: GitRepository = serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "a", "namespace": "ns", "generation": 3,
                         "annotations": {"reconcile.fluxcd.io/requestedAt": "t1"}},
            "spec": {"url": "https://h/r", "interval": "1m"},
        }))
        .unwrap();
        object.status = status;
        object
    }

    fn artifact(revision: &str) -> Artifact {
        Artifact {
            revision: revision.into(),
            digest: format!("sha256:{revision}"),
            ..Artifact::default()
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_new_revision_is_told_once() {
        let empty = GitRepositoryStatus::default();
        let (first, told) = judge(&object(None), &empty, &Ok(artifact("r1")), at(1));
        assert_eq!(told.unwrap().1, "NewArtifact");
        assert_eq!(first.observed_generation, Some(3));
        assert_eq!(first.last_handled_reconcile_at.as_deref(), Some("t1"));
        assert_eq!(
            first.conditions[0].message,
            "stored artifact for revision 'r1'"
        );
        let (second, told) = judge(&object(None), &first, &Ok(artifact("r1")), at(99));
        assert_eq!(told, None);
        assert_eq!(second, first, "nothing to write");
    }

    #[test]
    fn a_failure_keeps_the_artifact() {
        let (good, _) = judge(
            &object(None),
            &GitRepositoryStatus::default(),
            &Ok(artifact("r1")),
            at(1),
        );
        let failure = Failure::Failed {
            reason: reason::GIT_OPERATION_FAILED,
            message: "no answer".into(),
        };
        let (bad, told) = judge(&object(None), &good, &Err(failure), at(2));
        assert_eq!(bad.artifact, good.artifact);
        assert!(conditions::is(
            &bad.conditions,
            names::READY,
            ConditionStatus::False
        ));
        assert!(conditions::is_true(&bad.conditions, names::FETCH_FAILED));
        assert!(conditions::is_true(
            &bad.conditions,
            names::ARTIFACT_IN_STORAGE
        ));
        assert_eq!(told.unwrap().0, Severity::Error);
        let (again, told) = judge(&object(None), &bad, &Ok(artifact("r1")), at(3));
        assert_eq!(told.unwrap().1, "Succeeded");
        assert!(
            !again
                .conditions
                .iter()
                .any(|c| c.type_ == names::FETCH_FAILED)
        );
    }
}
