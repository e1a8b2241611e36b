//! Why a host did not do what it was asked.

use std::time::Duration;

use jiff::Timestamp;

use crate::outbound::OutboundError;

/// See the module. The hint is not in the message: ask for it by [`HostError::hint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The host was not reached.
    #[error("failed to {what}: {cause}")]
    Unreachable {
        /// What was to be done.
        what: String,
        /// Why not.
        cause: OutboundError,
    },
    /// Too many requests.
    #[error("failed to {what}: {server} answered {status}: too many requests")]
    Limited {
        /// What was to be done.
        what: String,
        /// Host and port.
        server: String,
        /// 403 or 429.
        status: u16,
        /// How long to wait, if it says so.
        after: Option<Duration>,
        /// Until when to wait (seconds since 1970), if it says so.
        until: Option<i64>,
    },
    /// It answered, and refused.
    #[error("failed to {what}: {server} answered {status}{}", if said.is_empty() { String::new() } else { format!(" {said}") })]
    Refused {
        /// What was to be done.
        what: String,
        /// Host and port.
        server: String,
        /// The status.
        status: u16,
        /// Its words.
        said: String,
    },
    /// The answer makes no sense.
    #[error("failed to {what}: the answer of {server} has no {field}")]
    Odd {
        /// What was to be done.
        what: String,
        /// Host and port.
        server: String,
        /// What is missing.
        field: String,
    },
}

impl HostError {
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "is the host right, can it be reached from here, and is its certificate authority trusted?"
            }
            Self::Limited { .. } => "it is tried again when the host allows it",
            Self::Odd { .. } => "is this the URL of the host's API?",
            Self::Refused { status, .. } => match status {
                300..=399 => "the repository was moved or renamed: correct its URL",
                401 => "the token is not accepted: is it of this host, and not expired?",
                403 => {
                    "the token may not do that: on GitHub it needs the scope `repo` (or contents and pull requests, fine-grained), on GitLab `api`"
                }
                404 => {
                    "the token sees no such owner or repository: is its name right, and may the token see it?"
                }
                409 | 422 => {
                    "the host did not accept the names: are owner, repository and branches right?"
                }
                _ => "the host could not do it; try again later",
            },
        }
    }

    /// Whether trying again later, with nothing else changed, may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => cause.is_transient(),
            Self::Limited { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Odd { .. } => false,
        }
    }

    /// How long the host asks to be left alone.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Limited { after, until, .. } => after.or_else(|| {
                let seconds = (*until)? - now.as_second();
                Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
            }),
            _ => None,
        }
    }
}
