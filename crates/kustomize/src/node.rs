//! Editing YAML trees the way kustomize does.
//!
//! kustomize keeps a scalar's text, its style and its type apart, and an edit that changes the text keeps the style
//! that stood there. So a number that replaces a quoted string stays a string, and a plain name that becomes `12`
//! turns into a number. The functions here keep that.

use fairway_yaml::{Dialect, Kind, Node, Resolved, Scalar, Span, Style};

use crate::error::{Error, Result};

/// The type that an edit gives a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// None: text and style decide.
    Unset,
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
    Binary,
    Str,
}

impl Tag {
    fn name(self) -> Option<&'static str> {
        Some(match self {
            Tag::Unset => return None,
            Tag::Null => "!!null",
            Tag::Bool => "!!bool",
            Tag::Int => "!!int",
            Tag::Float => "!!float",
            Tag::Timestamp => "!!timestamp",
            Tag::Binary => "!!binary",
            Tag::Str => "!!str",
        })
    }

    fn of(resolved: &Resolved<'_>) -> Self {
        match resolved {
            Resolved::Null => Tag::Null,
            Resolved::Bool(_) => Tag::Bool,
            Resolved::Int(_) | Resolved::Uint(_) => Tag::Int,
            Resolved::Float(_) => Tag::Float,
            Resolved::Timestamp(_) => Tag::Timestamp,
            Resolved::Binary(_) => Tag::Binary,
            Resolved::Str(_) => Tag::Str,
        }
    }
}

/// Scalars that are one and the same to kustomize.
///
/// Where it adds a label to several fields of a resource, it adds one scalar to all of them; a later change of one
/// changes all. Nodes made here have no place in a source, so the span of such a scalar holds the number that it has
/// in its resource, and whether it was changed.
pub(crate) mod shared {
    use fairway_yaml::{Node, Span};

    /// The mark of an unchanged shared scalar.
    pub(crate) fn mark(number: u32) -> Span {
        Span {
            start: number,
            ..Span::default()
        }
    }

    /// The number of a shared scalar.
    pub(crate) fn number(span: Span) -> Option<u32> {
        (span.line == 0 && span.start > 0).then_some(span.start)
    }

    /// The span of a scalar that takes the place of the one with this span.
    pub(crate) fn changed(span: Span) -> Span {
        number(span).map_or_else(Span::default, |start| Span {
            start,
            end: 1,
            ..Span::default()
        })
    }

    pub(crate) fn is_changed(node: &Node) -> bool {
        number(node.span).is_some() && node.span.end == 1
    }
}

pub(crate) fn node(kind: Kind) -> Node {
    Node {
        kind,
        span: Span::default(),
    }
}

pub(crate) fn map() -> Node {
    node(Kind::Map(Vec::new()))
}

/// A scalar without a type: its text decides.
pub(crate) fn plain(text: impl Into<String>) -> Node {
    node(Kind::Scalar(Scalar {
        text: text.into(),
        style: Style::Plain,
        tag: None,
    }))
}

/// A string, whatever its text looks like.
pub(crate) fn string(text: impl Into<String>) -> Node {
    let text = text.into();
    let style = if needs_quotes(&text) {
        Style::DoubleQuoted
    } else {
        Style::Plain
    };
    node(Kind::Scalar(typed(text, style, Tag::Str)))
}

/// A scalar as it comes out of kustomize's encoder, which leaves a type out where text and style say the same.
fn typed(text: String, style: Style, tag: Tag) -> Scalar {
    let plain = Scalar {
        text,
        style: Style::Plain,
        tag: None,
    };
    let reads_as = plain
        .resolve(Dialect::Kustomize)
        .map_or(Tag::Str, |resolved| Tag::of(&resolved));
    let quoted = style != Style::Plain;
    let (style, tag) = match tag {
        Tag::Unset => (style, None),
        Tag::Str if quoted => (style, None),
        // Not quoted even where it has to be: the next edit may drop the type, and keeps the style.
        Tag::Str => (style, tag.name().map(Box::from)),
        tag if reads_as == tag => (style, None),
        tag => (style, tag.name().map(Box::from)),
    };
    Scalar {
        text: plain.text,
        style,
        tag,
    }
}

/// The type of a scalar; `Unset` for maps and lists, and for a scalar that an edit left without a type.
///
/// What was read has a place, or was [`placed`], and got its type when it was read.
pub(crate) fn tag_of(node: &Node) -> Tag {
    match node.scalar() {
        None
        | Some(Scalar {
            tag: None,
            style: Style::Plain,
            ..
        }) if node.span.line == 0 => Tag::Unset,
        None => Tag::Unset,
        Some(scalar) => scalar_tag(scalar),
    }
}

/// A tree that was not parsed, as if it had been.
pub(crate) fn placed(mut node: Node) -> Node {
    node.span.line = node.span.line.max(1);
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::Seq(items) => {
            for item in items {
                *item = placed(std::mem::replace(item, plain("")));
            }
        }
        Kind::Map(entries) => {
            for (_, value) in entries {
                *value = placed(std::mem::replace(value, plain("")));
            }
        }
    }
    node
}

fn scalar_tag(scalar: &Scalar) -> Tag {
    match scalar.tag.as_deref() {
        Some("!!null") => Tag::Null,
        Some("!!bool") => Tag::Bool,
        Some("!!int") => Tag::Int,
        Some("!!float") => Tag::Float,
        Some("!!timestamp") => Tag::Timestamp,
        Some("!!binary") => Tag::Binary,
        Some(_) => Tag::Str,
        None => scalar
            .resolve(Dialect::Kustomize)
            .map_or(Tag::Str, |resolved| Tag::of(&resolved)),
    }
}

pub(crate) fn is_null(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(Scalar {
            text,
            style: Style::Plain,
            tag: None,
        }) => {
            matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
        }
        Kind::Scalar(Scalar { tag: Some(tag), .. }) => &**tag == "!!null",
        _ => false,
    }
}

/// Null, `{}` or `[]`.
pub(crate) fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(_) => is_null(node),
        Kind::Seq(items) => items.is_empty(),
        Kind::Map(entries) => entries.is_empty(),
    }
}

/// The text of a scalar; nothing for maps and lists.
pub(crate) fn text(node: &Node) -> &str {
    node.text().unwrap_or_default()
}

pub(crate) fn get_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let Kind::Map(entries) = &mut node.kind else {
        return None;
    };
    entries
        .iter_mut()
        .find(|(k, _)| k.text() == Some(key))
        .map(|(_, value)| value)
}

pub(crate) fn remove(node: &mut Node, key: &str) -> Option<Node> {
    let Kind::Map(entries) = &mut node.kind else {
        return None;
    };
    let at = entries.iter().position(|(k, _)| k.text() == Some(key))?;
    Some(entries.remove(at).1)
}

/// Sets an entry of a map, with the value as it is. A new key is plain, as kustomize writes it: one that reads as a
/// number or a boolean makes the output fail.
pub(crate) fn insert(node: &mut Node, key: &str, value: Node) {
    let Kind::Map(entries) = &mut node.kind else {
        return;
    };
    match entries.iter_mut().find(|(k, _)| k.text() == Some(key)) {
        Some((_, old)) => *old = value,
        None => entries.push((plain(key), value)),
    }
}

/// A scalar in the place of another one, whose span is given.
pub(crate) fn edited(text: String, style: Style, tag: Tag, old: Span) -> Node {
    let mut span = shared::changed(old);
    // A scalar with a type is like one that was read: it keeps it when its text changes.
    if shared::number(old).is_none() && tag != Tag::Unset {
        span.line = 1;
    }
    Node {
        kind: Kind::Scalar(typed(text, style, tag)),
        span,
    }
}

/// Sets a scalar entry of a map, keeping the style of what stood there.
pub(crate) fn set_entry(node: &mut Node, key: &str, value: &str, tag: Tag) -> Result<()> {
    set_shared_entry(node, key, value, tag, 0)
}

/// [`set_entry`], where a new entry is shared with others under a number above zero.
pub(crate) fn set_shared_entry(
    node: &mut Node,
    key: &str,
    value: &str,
    tag: Tag,
    number: u32,
) -> Result<()> {
    let Kind::Map(entries) = &mut node.kind else {
        return Err(wrong_kind("a map", node));
    };
    if let Some((_, old)) = entries.iter_mut().find(|(k, _)| k.text() == Some(key)) {
        let style = old.scalar().map_or(Style::Plain, |scalar| scalar.style);
        *old = edited(value.to_owned(), style, tag, old.span);
    } else {
        let is_text = matches!(tag, Tag::Unset | Tag::Str);
        let style = if is_text && needs_quotes(value) {
            Style::DoubleQuoted
        } else {
            Style::Plain
        };
        let kind = Kind::Scalar(typed(value.to_owned(), style, tag));
        entries.push((
            plain(key),
            Node {
                kind,
                span: shared::mark(number),
            },
        ));
    }
    Ok(())
}

/// Whether kustomize quotes a text without a type when it adds it anew: where YAML 1.1 would not read a string.
fn needs_quotes(text: &str) -> bool {
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    // What is more than a word may be a map, a list or a comment.
    let structured = text.starts_with(['[', '{', '-', '?', '#', '!', '&', '*', '|', '>', ' '])
        || text.contains(": ")
        || text.contains(" #")
        || text.ends_with(':');
    if structured {
        return match fairway_yaml::parse(text) {
            Ok(documents) => documents.first().is_none_or(|document| {
                document
                    .root
                    .scalar()
                    .is_none_or(|scalar| !is_string(scalar))
            }),
            Err(_) => false,
        };
    }
    !is_string(&Scalar {
        text: text.to_owned(),
        style: Style::Plain,
        tag: None,
    })
}

fn is_string(scalar: &Scalar) -> bool {
    matches!(
        scalar.resolve(Dialect::Kubectl),
        Ok(Resolved::Str(_)) | Err(_)
    )
}

/// A value of a map as a merge leaves it: a plain string that YAML 1.1 would not read as one gets quotes, which it keeps
/// when another value takes its place.
pub(crate) fn settled(mut value: Node) -> Node {
    let is_text = |scalar: &Scalar| {
        scalar.style == Style::Plain
            && match scalar.tag.as_deref() {
                None => scalar_tag(scalar) == Tag::Str,
                Some(tag) => tag == "!!str",
            }
    };
    let quoted = value.scalar().is_some_and(|scalar| {
        // Letters beyond these start nothing but strings.
        !scalar.text.starts_with(|c: char| {
            c.is_ascii_alphabetic()
                && !matches!(c, 'y' | 'Y' | 'n' | 'N' | 'o' | 'O' | 't' | 'T' | 'f' | 'F')
        }) && is_text(scalar)
            && needs_quotes(&scalar.text)
    });
    if quoted && let Kind::Scalar(scalar) = &mut value.kind {
        scalar.style = Style::DoubleQuoted;
        scalar.tag = None;
    }
    value
}

/// Replaces a scalar's text and type, keeping its style. A null becomes the scalar.
pub(crate) fn set_scalar(node: &mut Node, value: &str, tag: Tag) -> Result<()> {
    match &node.kind {
        Kind::Scalar(old) => {
            *node = edited(value.to_owned(), old.style, tag, node.span);
            Ok(())
        }
        _ => Err(wrong_kind("a scalar", node)),
    }
}

/// Replaces a scalar's text only: type and style stay, so a text that does not fit the type fails later.
pub(crate) fn set_text(node: &mut Node, value: &str) {
    let tag = tag_of(node);
    if let Kind::Scalar(old) = &node.kind {
        *node = edited(value.to_owned(), old.style, tag, node.span);
    }
}

/// The value with the style of what it replaces, whose span is given.
pub(crate) fn styled(value: Node, style: Option<Style>, span: Span) -> Node {
    let tag = tag_of(&value);
    match value.kind {
        Kind::Scalar(new) => edited(new.text, style.unwrap_or(Style::Plain), tag, span),
        kind => Node {
            kind,
            span: value.span,
        },
    }
}

/// The value at a path of map keys.
pub(crate) fn lookup<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, key| node.get(key))
}

/// The map at `key`, made where nothing or null stands.
pub(crate) fn child_map<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match node.get(key) {
        Some(child) if is_null(child) => insert(node, key, map()),
        Some(_) => {}
        None => insert(node, key, map()),
    }
    get_mut(node, key).filter(|child| matches!(child.kind, Kind::Map(_)))
}

pub(crate) fn noun(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Scalar(_) if is_null(node) => "null",
        Kind::Scalar(_) => "a scalar",
        Kind::Seq(_) => "a list",
        Kind::Map(_) => "a map",
    }
}

pub(crate) fn wrong_kind(expected: &str, found: &Node) -> Error {
    Error::invalid(format!("expected {expected}, found {}", noun(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        fairway_yaml::parse(text).unwrap().remove(0).root
    }

    #[test]
    fn a_number_that_replaces_a_quoted_string_stays_a_string() {
        let mut doc = parse("a: \"1\"\nb: 1\n");
        for (key, value) in [("a", "5"), ("b", "'5'")] {
            let old = get_mut(&mut doc, key).unwrap();
            *old = styled(
                parse(value),
                old.scalar().map(|scalar| scalar.style),
                old.span,
            );
        }
        assert_eq!(
            doc.to_json().unwrap(),
            serde_json::json!({"a": "5", "b": "5"})
        );
    }

    #[test]
    fn an_untyped_text_takes_the_type_it_reads_as() {
        let mut doc = parse("name: web\n");
        set_scalar(get_mut(&mut doc, "name").unwrap(), "12", Tag::Unset).unwrap();
        assert_eq!(doc.to_json().unwrap(), serde_json::json!({"name": 12}));
    }

    #[test]
    fn text_of_a_typed_scalar_must_fit() {
        let mut doc = parse("port: 80\n");
        set_text(get_mut(&mut doc, "port").unwrap(), "8080");
        assert_eq!(doc.to_json().unwrap(), serde_json::json!({"port": 8080}));
        set_text(get_mut(&mut doc, "port").unwrap(), "http");
        assert!(doc.to_json().is_err());
    }
}
