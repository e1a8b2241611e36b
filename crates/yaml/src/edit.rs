//! Changes one value of a YAML text and no other byte.
//!
//! Comments, quotes, order, flow style, indentation and line endings stay as they are. After each edit the
//! new text is parsed and compared with the old one: an edit that would change any other value (through an
//! alias, say) is refused.
//!
//! ```
//! use fairway_yaml::edit::{Step, set_scalar};
//!
//! let source = "images: # promoted by Fairway\n- name: podinfo\n  newTag: 6.5.0 # stage: dev\n";
//! let path = [
//!     Step::key("images"),
//!     Step::matching("name", "podinfo"),
//!     Step::key("newTag"),
//! ];
//! assert_eq!(
//!     set_scalar(source, &path, "6.10")?,
//!     "images: # promoted by Fairway\n- name: podinfo\n  newTag: \"6.10\" # stage: dev\n",
//! );
//! # Ok::<(), fairway_yaml::edit::Error>(())
//! ```

mod find;
mod insert;
mod proof;
mod text;

use std::fmt;

use crate::json::Dialect;
use crate::node::{Node, Scalar, Style};
use crate::parse::parse;
use crate::resolve::{Resolved, resolve_plain};
use find::find;
use proof::{only_added, only_changed};
/// One step of the way from a document's root to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a mapping's key.
    Key(String),
    /// An item of a sequence, from 0.
    Index(usize),
    /// The one item of a sequence that is a mapping whose key has this value.
    Where {
        /// The key to look at.
        key: String,
        /// Its value, as text.
        value: String,
    },
}

impl Step {
    /// The value of a mapping's key.
    pub fn key(key: impl Into<String>) -> Step {
        Step::Key(key.into())
    }

    /// The one item of a sequence that is a mapping whose key has this value.
    pub fn matching(key: impl Into<String>, value: impl Into<String>) -> Step {
        Step::Where {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// A path as messages show it: `images[name=podinfo].newTag`.
struct Path<'p>(&'p [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the document");
        }
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Where { key, value } => write!(f, "[{key}={value}]")?,
            }
        }
        Ok(())
    }
}

/// Why a text was not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text to edit cannot be read.
    #[error(transparent)]
    Syntax(#[from] crate::node::Error),
    /// Nothing stands at the path.
    #[error("no value at {path}")]
    NotFound {
        /// The part of the path that leads nowhere.
        path: String,
    },
    /// Several documents or list items fit the path.
    #[error("{path} fits more than one place")]
    Ambiguous {
        /// The part of the path that fits several times.
        path: String,
    },
    /// The value at the path is of another kind.
    #[error("line {line}: {path} is {found}, not {wanted}")]
    WrongKind {
        /// The path.
        path: String,
        /// Line of the value.
        line: usize,
        /// What stands there.
        found: &'static str,
        /// What the edit needs.
        wanted: &'static str,
    },
    /// The key to insert is already there.
    #[error("line {line}: {path} is already there")]
    Exists {
        /// The path with the key.
        path: String,
        /// Line of the key.
        line: usize,
    },
    /// The value comes from an alias or a merge key, so that other places would change too.
    #[error(
        "line {line}: {path} is shared through an alias or a merge key; hint: give it a value of its own"
    )]
    Shared {
        /// The path.
        path: String,
        /// Line of the value that is shared.
        line: usize,
    },
    /// The text is laid out in a way that the edit does not master; nothing was changed.
    #[error("line {line}: {path} cannot be edited without changing more than its value")]
    Refused {
        /// The path.
        path: String,
        /// Line of the value.
        line: usize,
    },
}

/// Sets a scalar to a new text.
///
/// The value keeps its style (quotes, block) where the new text can be written in it. A number, boolean or
/// null keeps its type if the new text is the same kind of value written the usual way (`3` to `5`);
/// everything else becomes a string, quoted where a plain one would be read as something else (`1.10`,
/// `on`).
///
/// # Errors
///
/// See [`Error`]; the text is never changed in part.
pub fn set_scalar(source: &str, path: &[Step], new: &str) -> Result<String, Error> {
    let documents = parse(source)?;
    let found = find(source, &documents, path)?;
    let Some(scalar) = found.node.scalar() else {
        return Err(Error::WrongKind {
            path: Path(path).to_string(),
            line: found.node.span.line as usize,
            found: found.node.noun(),
            wanted: "a scalar",
        });
    };
    if found.shared {
        return Err(shared(path, found.node));
    }
    let wanted = Wanted::like(scalar, new);
    for change in text::changes(source, &found, scalar, &wanted) {
        let edited = change.apply(source);
        if only_changed(&documents, &edited, &found, &wanted) {
            return Ok(edited);
        }
    }
    Err(refused(path, found.node))
}

/// Adds a key with a string value to the mapping at the path, behind its last entry and laid out like it.
///
/// # Errors
///
/// See [`Error`]; among others if the key is already there.
pub fn insert_key(source: &str, path: &[Step], key: &str, new: &str) -> Result<String, Error> {
    let documents = parse(source)?;
    let found = find(source, &documents, path)?;
    let whole = || {
        let mut path = path.to_vec();
        path.push(Step::key(key));
        Path(&path).to_string()
    };
    let Some(entries) = found.node.entries() else {
        return Err(Error::WrongKind {
            path: Path(path).to_string(),
            line: found.node.span.line as usize,
            found: found.node.noun(),
            wanted: "a map",
        });
    };
    if let Some((there, _)) = found.node.entry(key) {
        return Err(Error::Exists {
            path: whole(),
            line: there.span.line as usize,
        });
    }
    if found.shared {
        return Err(shared(path, found.node));
    }
    for change in insert::changes(source, &found, entries, key, new) {
        let edited = change.apply(source);
        if only_added(&documents, &edited, &found, key, new) {
            return Ok(edited);
        }
    }
    Err(refused(path, found.node))
}

/// Sets a scalar like [`set_scalar`]; where only the last key of the path is missing, adds it like
/// [`insert_key`].
///
/// # Errors
///
/// See [`Error`].
pub fn set_or_insert(source: &str, path: &[Step], new: &str) -> Result<String, Error> {
    match (set_scalar(source, path, new), path) {
        (Err(Error::NotFound { .. }), [parent @ .., Step::Key(key)]) => {
            insert_key(source, parent, key, new)
        }
        (result, _) => result,
    }
}

/// The text of the scalar at a path, whatever its type.
///
/// # Errors
///
/// If the text cannot be read, or no one scalar stands at the path.
pub fn get_scalar(source: &str, path: &[Step]) -> Result<String, Error> {
    let documents = parse(source)?;
    let found = find(source, &documents, path)?;
    match found.node.text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::WrongKind {
            path: Path(path).to_string(),
            line: found.node.span.line as usize,
            found: found.node.noun(),
            wanted: "a scalar",
        }),
    }
}

fn shared(path: &[Step], node: &Node) -> Error {
    Error::Shared {
        path: Path(path).to_string(),
        line: node.span.line as usize,
    }
}

fn refused(path: &[Step], node: &Node) -> Error {
    Error::Refused {
        path: Path(path).to_string(),
        line: node.span.line as usize,
    }
}

/// What a value must be after the edit.
enum Wanted<'n> {
    /// Exactly this string.
    Str(&'n str),
    /// A plain scalar with this text, of the type of the old one.
    Plain(&'n str),
}

impl<'n> Wanted<'n> {
    fn like(old: &Scalar, new: &'n str) -> Self {
        if old.style != Style::Plain || old.tag.is_some() {
            return Wanted::Str(new);
        }
        let old = resolve_plain(&old.text, Dialect::Kustomize, true);
        let typed = resolve_plain(new, Dialect::Kustomize, true);
        let usual = match (&old, &typed) {
            (Resolved::Int(_) | Resolved::Uint(_), Resolved::Int(int)) => int.to_string() == new,
            (Resolved::Int(_) | Resolved::Uint(_), Resolved::Uint(int)) => int.to_string() == new,
            (Resolved::Float(_), Resolved::Float(float)) => float.to_string() == new,
            (Resolved::Bool(_), Resolved::Bool(bool)) => bool.to_string() == new,
            _ => false,
        };
        if usual {
            Wanted::Plain(new)
        } else {
            Wanted::Str(new)
        }
    }

    fn is(&self, node: &Node) -> bool {
        let Some(scalar) = node.scalar() else {
            return false;
        };
        match self {
            Wanted::Plain(text) => {
                scalar.style == Style::Plain && scalar.tag.is_none() && scalar.text == *text
            }
            // Whoever reads the file, and by whichever rules, must see the string.
            Wanted::Str(text) => [Dialect::Kustomize, Dialect::Kubectl]
                .into_iter()
                .all(|dialect| scalar.resolve(dialect) == Ok(Resolved::Str(text))),
        }
    }
}
