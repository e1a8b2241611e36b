//! What can go wrong with one request to an API server.

use std::{error::Error, fmt::Write as _, time::Duration};

use kube::core::Status;

/// One request failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No answer: the name does not resolve, nothing listens, TLS fails, the connection broke.
    #[error("{server} is unreachable: {reason}")]
    Unreachable {
        /// Address of the API server.
        server: String,
        /// The causes, outermost first.
        reason: String,
    },
    /// The answer took too long.
    #[error("{server} did not answer within {}s", after.as_secs())]
    Timeout {
        /// Address of the API server.
        server: String,
        /// The time allowed.
        after: Duration,
    },
    /// The API server refused.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// The answer is no JSON of the expected form. Its text is left out: it may hold secrets.
    #[error("{server} gave an answer that cannot be read: {reason}")]
    Answer {
        /// Address of the API server.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The credentials cannot be read.
    #[error("cannot read credentials: {0}")]
    Credentials(String),
    /// The request itself cannot be built.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// No resource of this kind is served.
    #[error("no matches for kind \"{kind}\" in version \"{api_version}\"")]
    UnknownKind {
        /// The API version that was asked for.
        api_version: String,
        /// The kind that was asked for.
        kind: String,
    },
}

impl RequestError {
    /// The status that the API server answered.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// HTTP status code; 0 where there was no answer.
    pub fn code(&self) -> u16 {
        self.status().map_or(0, |status| status.code)
    }

    /// The API server's reason, such as `Invalid`; empty where there was no answer.
    pub fn reason(&self) -> &str {
        self.status().map_or("", |status| status.reason.as_str())
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// The object changed meanwhile, or a field is owned by another.
    pub fn is_conflict(&self) -> bool {
        self.code() == 409 && self.reason() != "AlreadyExists"
    }

    /// The account may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.code() == 403
    }

    /// The credentials were refused.
    pub fn is_unauthorized(&self) -> bool {
        self.code() == 401 || matches!(self, Self::Credentials(_))
    }

    /// The requested resource version is too old.
    pub fn is_gone(&self) -> bool {
        self.code() == 410
    }

    /// The object is invalid.
    pub fn is_invalid(&self) -> bool {
        self.code() == 422
    }

    /// Whether the API server said no, or was never asked: what the request was to do is not done. Anything else may have been
    /// done without an answer.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Status(status) => (400..500).contains(&status.code),
            Self::Credentials(_) | Self::Invalid(_) | Self::UnknownKind { .. } => true,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Answer { .. } => false,
        }
    }

    /// Nobody answered; the request may be tried again later.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// The API server cannot serve now: it is overloaded, starting, or broken.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.code(), 429 | 500..=599)
    }

    /// How long the API server wishes to be left alone; none where it says nothing of it.
    pub fn retry_after(&self) -> Option<Duration> {
        let details = self.status()?.details.as_ref()?;
        (details.retry_after_seconds > 0)
            .then(|| Duration::from_secs(u64::from(details.retry_after_seconds)))
    }

    /// The request may have failed on a field that cannot be changed: the object is invalid, or the message of an
    /// admission webhook or a CEL rule says so.
    pub fn is_immutable(&self) -> bool {
        self.is_invalid() || self.is_conflict() || self.says_immutable()
    }

    /// The object has a field that its type does not have, or that an owner's entry of another version does not know.
    pub fn is_undeclared_field(&self) -> bool {
        self.status()
            .is_some_and(|status| status.message.contains("field not declared in schema"))
    }

    /// The message says that a field cannot be changed.
    pub fn says_immutable(&self) -> bool {
        self.status().is_some_and(|status| {
            status.message.contains("is immutable")
                || status.message.contains("immutable field")
                || status.message.contains("updates to ")
                    && status.message.contains("are forbidden")
        })
    }
}

/// An error and its causes as one line: `client error (Connect): tcp connect error: Connection refused`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}
