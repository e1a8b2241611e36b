//! What can't be done to a file, where, why, and what to do about it.

use std::fmt;

use fairway_yaml::edit;

/// A file that can't be read or edited as wanted. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file or folder in the repository.
    pub path: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The field, such as `images[name=ghcr.io/acme/myapp].newTag`; empty where it is about the whole file.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            line: None,
            field: String::new(),
            reason: reason.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn in_field(mut self, field: impl ToString) -> Self {
        self.field = field.to_string();
        self
    }

    pub(super) fn on_line(mut self, line: usize) -> Self {
        self.line = Some(line).filter(|line| *line > 0);
        self
    }

    pub(super) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// A text that can't be read at all.
    pub(super) fn unreadable(error: &fairway_yaml::Error) -> Self {
        Self::new(
            error.message.clone(),
            "correct the file; nothing was committed",
        )
        .on_line(error.line)
    }
}

impl From<edit::Error> for Fault {
    fn from(error: edit::Error) -> Self {
        let own = "nothing was committed";
        match error {
            edit::Error::Syntax(error) => Self::unreadable(&error),
            edit::Error::NotFound { path } => {
                Self::new("it is not there", format!("write it once; {own}")).in_field(path)
            }
            edit::Error::Ambiguous { path } => Self::new(
                "it fits more than one place",
                format!("leave one of them; {own}"),
            )
            .in_field(path),
            edit::Error::WrongKind {
                path,
                line,
                found,
                wanted,
            } => Self::new(
                format!("it is {found}, not {wanted}"),
                format!("correct the file; {own}"),
            )
            .in_field(path)
            .on_line(line),
            edit::Error::Exists { path, line } => {
                Self::new("it is there already", format!("correct the file; {own}"))
                    .in_field(path)
                    .on_line(line)
            }
            edit::Error::Shared { path, line } => Self::new(
                "it is shared with other places through an alias or a merge key",
                format!("give it a value of its own; {own}"),
            )
            .in_field(path)
            .on_line(line),
            edit::Error::Refused { path, line } => Self::new(
                "it can't be edited without changing more than its value",
                format!("write it on a line of its own; {own}"),
            )
            .in_field(path)
            .on_line(line),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; hint: {}", self.reason, self.hint)
    }
}

impl std::error::Error for Fault {}
