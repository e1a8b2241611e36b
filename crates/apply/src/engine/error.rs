//! Why an apply stopped, in the words that Flux has for it.

use fairway_types::ObjectId;

use crate::error::RequestError;

/// Why an apply stopped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server does not accept an object; nothing of its stage was written.
    #[error("{}", dry_run_message(.id, .error))]
    DryRun {
        /// The object.
        id: ObjectId,
        /// What the server said.
        error: RequestError,
    },
    /// A namespaced object says no namespace.
    #[error("{} namespace not specified: the server could not find the requested resource", .0.subject())]
    NamespaceMissing(ObjectId),
    /// A request failed after the checks.
    #[error("{} {doing} failed: {error}", .id.subject())]
    Request {
        /// The object.
        id: ObjectId,
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        error: RequestError,
    },
    /// A field cannot be changed, and recreating the object would not work either.
    #[error("{} immutable field detected, but the object cannot be created anew: {error}", .id.subject())]
    CannotRecreate {
        /// The object, which is still there.
        id: ObjectId,
        /// Why the server would not accept it.
        error: RequestError,
    },
    /// A recreated object did not go in time.
    #[error("{} immutable field detected, failed to wait for object to be deleted: timeout", .0.subject())]
    StillThere(ObjectId),
    /// What the next stage needs did not come about in time.
    #[error("timeout waiting for: [{0}]")]
    NotEstablished(String),
    /// What the next stage needs will not come about.
    #[error("failed early due to stalled resources: [{0}]")]
    DefinitionFailed(String),
}

impl ApplyError {
    /// The request that failed, where it was one.
    pub fn request(&self) -> Option<&RequestError> {
        match self {
            Self::DryRun { error, .. }
            | Self::Request { error, .. }
            | Self::CannotRecreate { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the cluster did not answer, so that nothing is wrong with the objects.
    pub fn is_unreachable(&self) -> bool {
        self.request().is_some_and(RequestError::is_unreachable)
    }
}

fn dry_run_message(id: &ObjectId, error: &RequestError) -> String {
    let subject = id.subject();
    if error.is_not_found() {
        return format!("{subject} not found: {error}");
    }
    let conflict = error
        .status()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "FieldManagerConflict")
        });
    let reason = if conflict {
        "FieldManagerConflict"
    } else {
        error.reason()
    };
    if reason.is_empty() {
        format!("{subject} dry-run failed: {error}")
    } else {
        format!("{subject} dry-run failed ({reason}): {error}")
    }
}
