//! Why a build failed: what, where, and what to do about it.

use std::fmt;

use fairway_yaml::Span;

use crate::tree::{FileTree, TreeError};

/// What sort of problem an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A file, a directory or a kustomization that is named is not there.
    Missing,
    /// A text is not the YAML or JSON that it should be.
    Syntax,
    /// A field is unknown, of the wrong type, or has a value that makes no sense.
    Invalid,
    /// Something that a build here never does: fetch, execute, read outside of its tree.
    Refused,
    /// Resources contradict each other: an id twice, no or several candidates for a reference.
    Conflict,
    /// A limit was passed that keeps hostile input from taking the machine.
    Limit,
    /// The tree could not be read.
    Tree,
}

/// Why a build failed. Displays as `file:line:column: field: what; hint`, without the parts that are not known.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    file: Option<String>,
    place: Place,
    field: Option<String>,
    what: String,
    hint: Option<String>,
    source: Option<TreeError>,
}

/// Line and column in a file, from 1; zero where they are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    line: u32,
    column: u32,
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Self {
            line: span.line,
            column: span.column,
        }
    }
}

/// The result of a step of the build.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        let what = what.into();
        Self(Box::new(Parts {
            kind,
            file: None,
            place: Place::default(),
            field: None,
            what,
            hint: None,
            source: None,
        }))
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, what)
    }

    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, what)
    }

    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, what)
    }

    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Missing, what)
    }

    /// The file, unless a more inner place is known already.
    #[must_use]
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        if self.0.file.is_none() {
            self.0.file = Some(file.to_owned());
        }
        self
    }

    /// File and line, unless a more inner place is known already.
    #[must_use]
    pub(crate) fn at(mut self, file: &str, place: impl Into<Place>) -> Self {
        if self.0.file.is_none() {
            self.0.file = Some(file.to_owned());
            self.0.place = place.into();
        }
        self
    }

    #[must_use]
    pub(crate) fn in_field(mut self, field: impl Into<String>) -> Self {
        if self.0.field.is_none() {
            self.0.field = Some(field.into());
        }
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts what was being done in front.
    #[must_use]
    pub(crate) fn while_doing(mut self, doing: impl fmt::Display) -> Self {
        self.0.what = format!("{doing}: {}", self.0.what);
        self
    }

    /// Another place than the one known: a text that stands inside of a file has lines of its own.
    #[must_use]
    pub(crate) fn moved(mut self, file: &str, place: Place) -> Self {
        self.0.file = (place.line > 0).then(|| file.to_owned());
        self.0.place = place;
        self
    }

    pub(crate) fn syntax(error: &fairway_yaml::Error) -> Self {
        let mut out = Self::new(ErrorKind::Syntax, error.message.clone());
        out.0.place = Place {
            line: u32::try_from(error.line).unwrap_or(0),
            column: u32::try_from(error.column).unwrap_or(0),
        };
        out
    }

    /// The file of an error that has a line already.
    #[must_use]
    pub(crate) fn of_file(mut self, file: &str) -> Self {
        if self.0.file.is_none() {
            self.0.file = Some(file.to_owned());
        }
        self
    }

    /// The file as the tree shows it.
    #[must_use]
    pub(crate) fn shown_by(mut self, tree: &dyn FileTree) -> Self {
        self.0.file = self.0.file.map(|file| tree.shown(&file));
        self
    }

    /// What sort of problem it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file that has to change, as the tree shows it.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The line in that file, from 1.
    pub fn line(&self) -> Option<u32> {
        (self.0.place.line > 0).then_some(self.0.place.line)
    }

    /// The column in that line, from 1, counted in characters.
    pub fn column(&self) -> Option<u32> {
        (self.0.place.column > 0).then_some(self.0.place.column)
    }

    /// The field of the kustomization, as in `images[0].newTag`.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// What is wrong, without the place.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// What to do about it.
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Where it is and what is wrong, without what to do about it.
    #[must_use]
    pub fn without_next_step(mut self) -> Self {
        self.0.hint = None;
        self
    }
}

impl From<TreeError> for Error {
    fn from(source: TreeError) -> Self {
        let kind = match &source {
            TreeError::NotFound { .. } | TreeError::WrongKind { .. } => ErrorKind::Missing,
            TreeError::Outside { .. } => ErrorKind::Refused,
            TreeError::Io { .. } | TreeError::Store { .. } => ErrorKind::Tree,
        };
        let mut error = Self::new(kind, source.to_string());
        error.0.source = Some(source);
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.0.file {
            f.write_str(file)?;
            for number in [self.line(), self.column()].into_iter().flatten() {
                write!(f, ":{number}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(field) = &self.0.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.0.what)?;
        if let Some(hint) = &self.0.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}
