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

mod append;
mod find;
mod insert;
mod proof;
mod remove;
mod text;

use std::fmt;

use crate::json::Dialect;
use crate::node::{Node, Scalar, Style};
use crate::parse::parse;
use crate::resolve::{Resolved, resolve_plain};
use find::{find, find_in};
use proof::{Added, only_added, only_appended, only_changed, only_removed};

/// One step of the way from a document's root to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// One document of several, from 0; only as the first step. Without it all documents are looked at.
    Document(usize),
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
        let steps = match self.0 {
            [Step::Document(_), rest @ ..] => rest,
            all => all,
        };
        if steps.is_empty() {
            return f.write_str("the document");
        }
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Document(_) => {}
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
    set(source, path, &|old| Wanted::like(old, new))
}

/// Sets a scalar to a string, whatever it was before: the tag `6` in place of a plain `5` is written `"6"`.
///
/// # Errors
///
/// See [`Error`]; the text is never changed in part.
pub fn set_string(source: &str, path: &[Step], new: &str) -> Result<String, Error> {
    set(source, path, &|_| Wanted::Str(new))
}

fn set<'n>(
    source: &str,
    path: &[Step],
    wanted: &dyn Fn(&Scalar) -> Wanted<'n>,
) -> Result<String, Error> {
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
    let wanted = wanted(scalar);
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
    insert(source, path, key, Added::Text(new))
}

/// Adds a key to the mapping at the path, with a list whose one item is a mapping of strings. Indentation and brackets
/// are as in the rest of the mapping.
///
/// # Errors
///
/// See [`Error`]; among others if the key is already there.
pub fn insert_list(
    source: &str,
    path: &[Step],
    key: &str,
    item: &[(&str, &str)],
) -> Result<String, Error> {
    insert(source, path, key, Added::List(item))
}

/// Adds a key to the mapping at the path, with a mapping of strings below it. Indentation and brackets are as in the rest
/// of the mapping.
///
/// # Errors
///
/// See [`Error`]; among others if the key is already there.
pub fn insert_map(
    source: &str,
    path: &[Step],
    key: &str,
    entries: &[(&str, &str)],
) -> Result<String, Error> {
    insert(source, path, key, Added::Map(entries))
}

fn insert(source: &str, path: &[Step], key: &str, added: Added<'_>) -> Result<String, Error> {
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
    for change in insert::changes(source, &found, entries, key, added) {
        let edited = change.apply(source);
        if only_added(&documents, &edited, &found, key, added) {
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

/// Adds a mapping of strings to the end of the list at the path, laid out like the items before it. A key without a
/// value (`images:`) counts as an empty list.
///
/// # Errors
///
/// See [`Error`].
pub fn append_item(source: &str, path: &[Step], item: &[(&str, &str)]) -> Result<String, Error> {
    let documents = parse(source)?;
    let found = find(source, &documents, path)?;
    let is_nothing = found
        .node
        .scalar()
        .is_some_and(|s| s.text.is_empty() && s.style == Style::Plain && s.tag.is_none());
    if found.node.items().is_none() && !is_nothing {
        return Err(Error::WrongKind {
            path: Path(path).to_string(),
            line: found.node.span.line as usize,
            found: found.node.noun(),
            wanted: "a list",
        });
    }
    if found.shared {
        return Err(shared(path, found.node));
    }
    for change in append::changes(source, &documents, &found, item) {
        let edited = change.apply(source);
        if only_appended(&documents, &edited, &found, item) {
            return Ok(edited);
        }
    }
    Err(refused(path, found.node))
}

/// Removes the entry or item at the path with its lines; comments on lines of their own stay. The last entry of a
/// mapping or list can't be removed: remove what holds it.
///
/// # Errors
///
/// See [`Error`].
pub fn remove(source: &str, path: &[Step]) -> Result<String, Error> {
    let documents = parse(source)?;
    let found = find(source, &documents, path)?;
    let [
        parent @ ..,
        Step::Key(_) | Step::Index(_) | Step::Where { .. },
    ] = path
    else {
        return Err(refused(path, found.node));
    };
    if found.shared {
        return Err(shared(path, found.node));
    }
    let holder = find_in(source, &documents, found.indices[0], parent)?;
    let [.., index] = found.indices[..] else {
        return Err(refused(path, found.node));
    };
    for change in remove::changes(source, &holder, index) {
        let edited = change.apply(source);
        if only_removed(&documents, &edited, &holder, index) {
            return Ok(edited);
        }
    }
    Err(refused(path, found.node))
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
