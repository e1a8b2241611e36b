//! From YAML text to typed values, with errors that name the line and the field.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::json::Dialect;
use crate::node::{Error, Node, Span};
use crate::parse::parse;

/// Reads a text of at most one document into a type, by kubectl's rules ([`Dialect::Kubectl`]). Of an
/// empty text the value is null.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Settings {
///     retries: u32,
/// }
///
/// let error = fairway_yaml::from_str::<Settings>("# settings\nretries: often\n").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "line 2, column 10: retries: invalid type: string \"often\", expected u32",
/// );
/// ```
///
/// # Errors
///
/// What [`parse()`] refuses, a second document, and values that the type does not take; those with the path
/// of the field, and the place of the value or of the unknown key.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut documents = parse(text)?
        .into_iter()
        .filter(|document| !document.is_empty());
    let root = documents.next().map(|document| document.root);
    if let Some(second) = documents.next() {
        return Err(Error::new(
            "only one document is expected here",
            second.root.span,
        ));
    }
    match root {
        Some(root) => from_node(&root),
        None => serde_json::from_value(serde_json::Value::Null).map_err(|error| Error {
            message: format!("the text is empty: {error}"),
            line: 0,
            column: 0,
        }),
    }
}

/// Reads a node into a type, by kubectl's rules.
///
/// # Errors
///
/// Values that the type does not take, with the path of the field and its place.
pub fn from_node<T: DeserializeOwned>(node: &Node) -> Result<T, Error> {
    let value = node.to_json_as(Dialect::Kubectl)?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let (key, value) = place(node, error.path());
        let what = error.into_inner().to_string();
        // Of an unknown field the key is what is wrong.
        let span = if what.starts_with("unknown field") {
            key
        } else {
            value
        };
        let message = match path.as_str() {
            "." => what,
            path => format!("{path}: {what}"),
        };
        Error::new(message, span)
    })
}

/// The places of the key and the value at a path, or of the last part of it that exists.
fn place(root: &Node, path: &Path) -> (Span, Span) {
    let (mut key, mut node) = (root.span, root);
    for segment in path {
        let next = match segment {
            Segment::Map { key } => node.entry(key).map(|(key, value)| (key.span, value)),
            Segment::Seq { index } => node.at(*index).map(|item| (item.span, item)),
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        match next {
            Some(next) => (key, node) = next,
            None => break,
        }
    }
    (key, node.span)
}
