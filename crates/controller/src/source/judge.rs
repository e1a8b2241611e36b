//! What the status of a GitRepository says after a run. Pure.

use fairway_types::git_repository::Artifact;
use fairway_types::names::{self, reason};
use fairway_types::{ConditionStatus, GitRepository, GitRepositoryStatus, conditions};
use kube::ResourceExt;

use crate::events::Severity;

/// Reason of the Ready condition of what nobody here runs.
pub(crate) const NOT_RUN: &str = "NotRun";

/// What a failure is about: which condition tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// `FetchFailed`.
    Fetch,
    /// `StorageOperationFailed`.
    Storage,
    /// `IncludeUnavailable`.
    Include,
    /// `SourceVerified`, which is false then.
    Verification,
}

/// Why a source could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing will change until somebody edits the object.
    #[error("{message}")]
    Stalled {
        about: About,
        reason: &'static str,
        message: String,
    },
    /// The next try may go better.
    #[error("{message}")]
    Failed {
        about: About,
        reason: &'static str,
        message: String,
    },
    /// What is included is about to come.
    #[error("waiting quietly")]
    Quiet,
    /// Not run at all, see [`Remotes::Only`](crate::options::Remotes::Only).
    #[error("not run: {0}")]
    NotRun(String),
}

impl Failure {
    pub(super) fn failed(about: About, reason: &'static str, message: impl ToString) -> Self {
        let message = message.to_string();
        Self::Failed {
            about,
            reason,
            message,
        }
    }

    pub(super) fn stalled(about: About, reason: &'static str, message: impl ToString) -> Self {
        let message = message.to_string();
        Self::Stalled {
            about,
            reason,
            message,
        }
    }

    pub(super) fn git(url: &str, error: &fairway_git::Error) -> Self {
        use fairway_git::Error as E;
        let message =
            format!("failed to checkout and determine revision: unable to clone '{url}': {error}");
        match error {
            E::InvalidUrl { .. } => Self::stalled(About::Fetch, reason::URL_INVALID, error),
            E::InvalidReference { .. } => {
                let message = format!("spec.ref: {error}");
                Self::stalled(About::Fetch, reason::GIT_OPERATION_FAILED, message)
            }
            E::SparseMissing { .. } => {
                let message = format!("failed to sparse checkout directories : {error}");
                Self::failed(About::Fetch, reason::GIT_OPERATION_FAILED, message)
            }
            _ => Self::failed(About::Fetch, reason::GIT_OPERATION_FAILED, message),
        }
    }
}

/// What a run found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) artifact: Artifact,
    /// What events call the commit: the beginning of its message.
    pub(super) subject: String,
    pub(super) verified: Option<Verified>,
    pub(super) included: Vec<Artifact>,
}

/// Signatures that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// `HEAD`, `Tag` or `TagAndHEAD`.
    pub(super) mode: String,
    pub(super) message: String,
}

pub(super) type Told = Option<(Severity, &'static str, String)>;

/// The status after a run, and what to tell about it.
pub(super) fn judge(
    object: &GitRepository,
    before: &GitRepositoryStatus,
    result: &Result<Found, Failure>,
    now: jiff::Timestamp,
) -> (GitRepositoryStatus, Told) {
    let mut status = before.clone();
    let generation = object.metadata.generation;
    let requested = object.annotations().get(names::REQUESTED_AT);
    let is_requested =
        requested.is_some() && requested != before.last_handled_reconcile_at.as_ref();
    if !matches!(result, Err(Failure::Quiet))
        && let Some(requested) = requested
    {
        status.last_handled_reconcile_at = Some(requested.clone());
    }
    let list = &mut status.conditions;
    let mut told = None;
    let set = |list: &mut Vec<_>, type_, is, reason: &str, message: &str| {
        conditions::set(list, type_, is, reason, message, generation, now);
    };
    let troubles = [
        names::FETCH_FAILED,
        names::STORAGE_OPERATION_FAILED,
        names::INCLUDE_UNAVAILABLE,
        names::ARTIFACT_OUTDATED,
        names::RECONCILING,
        names::STALLED,
    ];
    match result {
        Ok(found) => {
            let artifact = &found.artifact;
            let message = format!("stored artifact for revision '{}'", artifact.revision);
            let failed_before = troubles[..3]
                .iter()
                .any(|type_| conditions::is_true(list, type_))
                || conditions::is(list, names::SOURCE_VERIFIED, ConditionStatus::False);
            for type_ in troubles {
                conditions::remove(list, type_);
            }
            for type_ in [names::READY, names::ARTIFACT_IN_STORAGE] {
                set(
                    list,
                    type_,
                    ConditionStatus::True,
                    reason::SUCCEEDED,
                    &message,
                );
            }
            match &found.verified {
                Some(verified) => {
                    let message = &verified.message;
                    set(
                        list,
                        names::SOURCE_VERIFIED,
                        ConditionStatus::True,
                        reason::SUCCEEDED,
                        message,
                    );
                }
                None => {
                    conditions::remove(list, names::SOURCE_VERIFIED);
                }
            }
            let event = format!("stored artifact for commit '{}'", found.subject);
            let old = before.artifact.as_ref();
            if old.is_none_or(|old| old.digest != artifact.digest) {
                told = Some((Severity::Info, reason::NEW_ARTIFACT, event));
            } else if failed_before {
                told = Some((Severity::Info, reason::SUCCEEDED, event));
            } else if is_requested {
                let message = format!(
                    "no changes since last reconciliation: observed revision '{}'",
                    artifact.revision
                );
                told = Some((Severity::Info, reason::GIT_OPERATION_SUCCEEDED, message));
            }
            status.artifact = Some(artifact.clone());
            status.included_artifacts.clone_from(&found.included);
            status.source_verification_mode = found
                .verified
                .as_ref()
                .map(|verified| verified.mode.clone());
            let spec = &object.spec;
            status.observed_ignore.clone_from(&spec.ignore);
            status.observed_recurse_submodules = spec.recurse_submodules;
            status.observed_include.clone_from(&spec.include);
            status
                .observed_sparse_checkout
                .clone_from(&spec.sparse_checkout);
            status.observed_generation = generation;
        }
        Err(Failure::Quiet) => return (before.clone(), None),
        Err(Failure::NotRun(why)) => {
            let message = format!("not run: {why}");
            for type_ in troubles {
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
        Err(
            failure @ (Failure::Stalled { about, reason, .. }
            | Failure::Failed { about, reason, .. }),
        ) => {
            let message = failure.to_string();
            set(list, names::READY, ConditionStatus::False, reason, &message);
            // Each look finds out anew what was wrong; that something was verified before still says something.
            if conditions::is(list, names::SOURCE_VERIFIED, ConditionStatus::False) {
                conditions::remove(list, names::SOURCE_VERIFIED);
            }
            for type_ in &troubles[..4] {
                conditions::remove(list, type_);
            }
            let (type_, is) = match about {
                About::Fetch => (names::FETCH_FAILED, ConditionStatus::True),
                About::Storage => (names::STORAGE_OPERATION_FAILED, ConditionStatus::True),
                About::Include => (names::INCLUDE_UNAVAILABLE, ConditionStatus::True),
                About::Verification => (names::SOURCE_VERIFIED, ConditionStatus::False),
            };
            set(list, type_, is, reason, &message);
            if matches!(failure, Failure::Stalled { .. }) {
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
                let (reason, message) =
                    (reason::PROGRESSING_WITH_RETRY, "reconciliation in progress");
                set(
                    list,
                    names::RECONCILING,
                    ConditionStatus::True,
                    reason,
                    message,
                );
            }
            told = Some((Severity::Error, reason, message));
        }
    }
    conditions::ready_first(&mut status.conditions);
    (status, told)
}

/// The status of a source while a run takes its time.
pub(super) fn under_way(
    object: &GitRepository,
    before: &GitRepositoryStatus,
    now: jiff::Timestamp,
) -> GitRepositoryStatus {
    let mut status = before.clone();
    let generation = object.metadata.generation;
    let message = match (generation, before.observed_generation) {
        (Some(new), old) if Some(new) != old => {
            format!(
                "processing object: new generation {} -> {new}",
                old.unwrap_or(0)
            )
        }
        _ => "reconciliation in progress".to_owned(),
    };
    let list = &mut status.conditions;
    let reason = reason::PROGRESSING;
    conditions::remove(list, names::STALLED);
    conditions::set(
        list,
        names::RECONCILING,
        ConditionStatus::True,
        reason,
        &message,
        generation,
        now,
    );
    if before.artifact.is_none() || generation != before.observed_generation {
        conditions::set(
            list,
            names::READY,
            ConditionStatus::Unknown,
            reason,
            &message,
            generation,
            now,
        );
    }
    conditions::ready_first(list);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    fn object(requested: &str) -> GitRepository {
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "a", "namespace": "ns", "generation": 3,
                         "annotations": {"reconcile.fluxcd.io/requestedAt": requested}},
            "spec": {"url": "https://h/r", "interval": "1m", "ignore": "x", "sparseCheckout": ["a"]},
        }))
        .unwrap()
    }

    fn found(revision: &str) -> Found {
        Found {
            artifact: Artifact {
                revision: revision.into(),
                digest: format!("sha256:{revision}"),
                ..Artifact::default()
            },
            subject: "Fix it".into(),
            verified: None,
            included: Vec::new(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn good() -> GitRepositoryStatus {
        judge(
            &object("t1"),
            &GitRepositoryStatus::default(),
            &Ok(found("r1")),
            at(1),
        )
        .0
    }

    fn failed(about: About) -> Result<Found, Failure> {
        Err(Failure::failed(
            about,
            reason::GIT_OPERATION_FAILED,
            "no answer",
        ))
    }

    #[test]
    fn a_new_revision_is_told_once() {
        let empty = GitRepositoryStatus::default();
        let (first, told) = judge(&object("t1"), &empty, &Ok(found("r1")), at(1));
        let (_, reason, message) = told.unwrap();
        assert_eq!(
            (reason, message.as_str()),
            ("NewArtifact", "stored artifact for commit 'Fix it'")
        );
        assert_eq!(first.observed_generation, Some(3));
        assert_eq!(first.last_handled_reconcile_at.as_deref(), Some("t1"));
        assert_eq!(first.observed_ignore.as_deref(), Some("x"));
        assert_eq!(first.observed_sparse_checkout, ["a"]);
        assert_eq!(
            first.conditions[0].message,
            "stored artifact for revision 'r1'"
        );
        let (second, told) = judge(&object("t1"), &first, &Ok(found("r1")), at(99));
        assert_eq!(told, None);
        assert_eq!(second, first, "nothing to write");
        let (_, told) = judge(&object("t2"), &first, &Ok(found("r1")), at(99));
        assert_eq!(
            told.unwrap().1,
            "GitOperationSucceeded",
            "who asks gets an answer"
        );
    }

    #[test]
    fn a_failure_keeps_the_artifact() {
        let good = good();
        for (about, type_, is) in [
            (About::Fetch, "FetchFailed", ConditionStatus::True),
            (
                About::Storage,
                "StorageOperationFailed",
                ConditionStatus::True,
            ),
            (About::Include, "IncludeUnavailable", ConditionStatus::True),
            (
                About::Verification,
                "SourceVerified",
                ConditionStatus::False,
            ),
        ] {
            let (bad, told) = judge(&object("t1"), &good, &failed(about), at(2));
            assert_eq!(bad.artifact, good.artifact);
            assert!(conditions::is(
                &bad.conditions,
                names::READY,
                ConditionStatus::False
            ));
            assert!(conditions::is(&bad.conditions, type_, is), "{type_}");
            assert!(conditions::is_true(
                &bad.conditions,
                names::ARTIFACT_IN_STORAGE
            ));
            assert!(conditions::is_true(&bad.conditions, names::RECONCILING));
            assert_eq!(told.unwrap().0, Severity::Error);
            let (again, told) = judge(&object("t1"), &bad, &Ok(found("r1")), at(3));
            assert_eq!(told.unwrap().1, "Succeeded");
            assert!(
                !again.conditions.iter().any(|c| c.type_ == type_),
                "{type_}"
            );
        }
    }

    #[test]
    fn signatures_are_told_in_a_condition() {
        let mut signed = found("r1");
        signed.verified = Some(Verified {
            mode: "HEAD".into(),
            message: "verified signature of\n\t- commit 'c' with key 'k'".into(),
        });
        let (status, _) = judge(
            &object("t1"),
            &GitRepositoryStatus::default(),
            &Ok(signed),
            at(1),
        );
        assert!(conditions::is_true(
            &status.conditions,
            names::SOURCE_VERIFIED
        ));
        assert_eq!(status.source_verification_mode.as_deref(), Some("HEAD"));
        // A later fetch that fails says nothing about it.
        let (status, _) = judge(&object("t1"), &status, &failed(About::Fetch), at(1));
        assert!(conditions::is_true(
            &status.conditions,
            names::SOURCE_VERIFIED
        ));
        let (status, _) = judge(&object("t1"), &status, &Ok(found("r1")), at(1));
        assert!(
            !status
                .conditions
                .iter()
                .any(|c| c.type_ == names::SOURCE_VERIFIED)
        );
        assert_eq!(status.source_verification_mode, None);
    }

    #[test]
    fn a_long_run_says_that_it_is_under_way() {
        let first = under_way(&object("t1"), &GitRepositoryStatus::default(), at(1));
        assert_eq!(first.conditions[0].status, ConditionStatus::Unknown);
        assert_eq!(
            first.conditions[0].message,
            "processing object: new generation 0 -> 3"
        );
        let later = under_way(&object("t1"), &good(), at(1));
        assert!(conditions::is_true(&later.conditions, names::READY));
        assert!(conditions::is_true(&later.conditions, names::RECONCILING));
    }
}
