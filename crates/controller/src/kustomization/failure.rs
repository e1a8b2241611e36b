//! How a run over a Kustomization can fail, and what becomes of it.

use fairway_apply::plan::PlanError;
use fairway_types::names::reason;

use super::ALLOW_EMPTY;
use crate::build;

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Tried again after `retryInterval`; told as a warning.
    #[error("{message}")]
    Failed {
        reason: &'static str,
        message: String,
    },
    /// Tried again after `retryInterval`, and said on the object alone.
    #[error("{message}")]
    Unsaid {
        reason: &'static str,
        message: String,
    },
    /// Something else has to happen first: looked at again soon.
    #[error("{message}")]
    Waiting {
        reason: &'static str,
        message: String,
        told: Option<String>,
    },
    /// Not tried again before the object changes.
    #[error("{message}")]
    Stalled {
        reason: &'static str,
        message: String,
    },
    /// There is no controller for this here, and nobody is to be bothered.
    #[error("not run: {0}")]
    NotRun(String),
    /// A newer request ended the wait for health.
    #[error("New reconciliation triggered, health checks canceled")]
    Superseded,
    /// The engine stops, or leads no more: the next one carries on.
    #[error("stopped")]
    Stopped,
    /// Nothing to say: the status stays as it is, and the object is looked at again when something is heard.
    #[error("waiting quietly")]
    Quiet,
}

impl Failure {
    /// An expression that cannot be read, in Flux's words.
    pub(super) fn invalid_expression(error: impl ToString) -> Self {
        Self::Stalled {
            reason: reason::INVALID_CEL_EXPRESSION,
            message: format!(
                "Reconciliation failed terminally due to configuration error: {}",
                error.to_string()
            ),
        }
    }

    /// The same with values taken out that nobody may read.
    pub(super) fn masked(self, secrets: &[String]) -> Self {
        match self {
            Self::Failed { reason, message } => Self::Failed {
                reason,
                message: mask(message, secrets),
            },
            other => other,
        }
    }

    pub(super) fn failed(reason: &'static str, message: impl ToString) -> Self {
        Self::Failed {
            reason,
            message: message.to_string(),
        }
    }
}

impl From<build::Error> for Failure {
    fn from(error: build::Error) -> Self {
        let reason = match &error {
            build::Error::PathNotFound { .. } | build::Error::Source(_) => reason::ARTIFACT_FAILED,
            _ => reason::BUILD_FAILED,
        };
        Self::failed(reason, error)
    }
}

/// An API server may quote a value that it refuses.
fn mask(mut message: String, secrets: &[String]) -> String {
    for secret in secrets {
        if message.contains(secret.as_str()) {
            message = message.replace(secret.as_str(), "*****");
        }
    }
    message
}

/// A plan that cannot be made. What is wrong with the build is the build's failure.
pub(super) fn of_plan(error: &PlanError) -> Failure {
    let message = match error {
        PlanError::EmptiesInventory(count) => format!(
            "the build is empty, which would delete all {count} objects that were applied before; nothing is changed\n\
             hint: if that is what you want, annotate this Kustomization with {ALLOW_EMPTY}: \"true\""
        ),
        other => other.to_string(),
    };
    let reason = match error {
        PlanError::Encrypted(_) | PlanError::EmptiesInventory(_) => reason::RECONCILIATION_FAILED,
        _ => reason::BUILD_FAILED,
    };
    Failure::failed(reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_masked() {
        let secrets = ["s3cr3t-value".to_owned(), "s3cr3t".to_owned()];
        let failure = Failure::failed("X", "metadata.labels: Invalid value: \"s3cr3t-value\"");
        assert_eq!(
            failure.masked(&secrets),
            Failure::failed("X", "metadata.labels: Invalid value: \"*****\"")
        );
    }

    #[test]
    fn an_empty_build_says_how_to_allow_it() {
        let Failure::Failed { message, .. } = of_plan(&PlanError::EmptiesInventory(3)) else {
            panic!()
        };
        assert!(message.contains("all 3 objects"), "{message}");
        assert!(
            message.contains("fleet.fairway.dev/allow-empty: \"true\""),
            "{message}"
        );
    }
}
