//! The tree that [`parse`](crate::parse()) builds: nodes with their place in the source.

use std::fmt;
use std::ops::Range;

/// One document of a YAML stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The document's only node. Of an empty document it is an empty plain scalar, which is null.
    pub root: Node,
}

impl Document {
    /// Whether the document holds nothing at all (not even `null` or `~`), as between two `---` lines.
    pub fn is_empty(&self) -> bool {
        match &self.root.kind {
            Kind::Scalar(scalar) => {
                scalar.text.is_empty() && scalar.style == Style::Plain && scalar.tag.is_none()
            }
            Kind::Seq(_) | Kind::Map(_) => false,
        }
    }
}

/// A value and where it stands in the source.
///
/// Aliases and merge keys are already resolved: a node that came through an alias carries the span of the
/// anchored node, so its line is where the text really is.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What the node holds.
    pub kind: Kind,
    /// Where it stands, without its anchor and tag. All zero on nodes made by [`Node::from_json`].
    pub span: Span,
}

/// The three kinds of YAML values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text, with everything that decides its type.
    Scalar(Scalar),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping, in the order of the source. No key stands twice. Entries that came through a merge key
    /// (`<<`) follow the mapping's own.
    Map(Vec<(Node, Node)>),
}

/// A scalar as the source has it; its type is decided by [`Scalar::resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, with quotes, escapes and folding already undone.
    pub text: String,
    /// How it was written.
    pub style: Style,
    /// The tag in short form (`!!str`, `!custom`), if the source has one.
    pub tag: Option<Box<str>>,
}

/// How a scalar is written in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// Without quotes; the only style whose text may mean something else than a string.
    Plain,
    /// `'…'`
    SingleQuoted,
    /// `"…"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// A place in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Line of the first character, from 1.
    pub line: u32,
    /// Column of the first character, from 1, counted in characters.
    pub column: u32,
    /// Byte offset of the first character.
    pub start: u32,
    /// Byte offset after the last character.
    pub end: u32,
}

impl Span {
    /// The bytes of the source that the span covers.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Node {
    /// A plain-styled or quoted string node without a place, for building trees by hand.
    pub fn string(text: impl Into<String>) -> Node {
        Node {
            kind: Kind::Scalar(Scalar {
                text: text.into(),
                style: Style::DoubleQuoted,
                tag: None,
            }),
            span: Span::default(),
        }
    }

    /// The value of a mapping's key, compared by text; `None` on other kinds and absent keys.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key and value of a mapping's entry, to name the line of the key.
    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        let Kind::Map(entries) = &self.kind else {
            return None;
        };
        entries.iter().find(|(k, _)| k.text() == Some(key))
    }

    /// The item of a sequence.
    pub fn at(&self, index: usize) -> Option<&Node> {
        self.items().and_then(|items| items.get(index))
    }

    /// The items, if this is a sequence.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Some(items),
            Kind::Scalar(_) | Kind::Map(_) => None,
        }
    }

    /// The entries, if this is a mapping.
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Scalar(_) | Kind::Seq(_) => None,
        }
    }

    /// The scalar, if this is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    /// The text of a scalar, whatever its type.
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    /// What the kind is called in messages.
    pub(crate) fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(_) => "a scalar",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Why a text could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// What is wrong, without the place; a lowercase fragment.
    pub message: String,
    /// Line, from 1; 0 if the place is not known.
    pub line: usize,
    /// Column, from 1, counted in characters; 0 if the place is not known.
    pub column: usize,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>, span: Span) -> Error {
        Error {
            message: message.into(),
            line: span.line as usize,
            column: span.column as usize,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.message),
            (line, 0) => write!(f, "line {line}: {}", self.message),
            (line, column) => write!(f, "line {line}, column {column}: {}", self.message),
        }
    }
}
