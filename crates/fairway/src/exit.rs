//! Exit codes, and what is printed when a command fails.

use std::fmt;
use std::process::ExitCode;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; what was asked about is so.
    Done,
    /// Done, but the thing asked about is not so: not ready, or differs.
    NotSo,
}

impl Outcome {
    /// 0 for done, 1 for not so.
    pub(crate) fn code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::NotSo => ExitCode::from(1),
        }
    }
}

/// Wrong use of the command line that clap can't see: exit code 2.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// An error with a next step. The `hint` is printed on its own line.
#[derive(Debug)]
pub(crate) struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    /// What failed, and what to do next.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hinted {}

/// An error's message. What an API server answers is its own message, without the object around it.
fn words(cause: &(dyn std::error::Error + 'static)) -> String {
    match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => match cause.downcast_ref::<kube::core::Status>() {
            Some(status) => status.message.clone(),
            None => cause.to_string(),
        },
    }
}

/// Prints `error: …`, its causes and its hint to standard error; 2 for misuse, else 3.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = String::new();
    let mut hint = None;
    for cause in error.chain() {
        let part = words(cause);
        let part = part.trim_end().trim_end_matches(':');
        if !text.contains(part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(part);
        }
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            hint = Some(hinted.hint.clone());
        }
    }
    eprintln!("error: {text}");
    // A context that was put around another error is no link of the chain by its own type.
    let hint = hint.or_else(|| {
        error
            .downcast_ref::<Hinted>()
            .map(|hinted| hinted.hint.clone())
    });
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(if error.chain().any(|cause| cause.is::<Misuse>()) {
        2
    } else {
        3
    })
}
