//! The proof of an edit: the new text, parsed again, differs from the old one in the intended value only.

use super::Wanted;
use super::find::Found;
use crate::node::{Document, Kind, Node};
use crate::parse::parse;

/// Whether the edited text is the old one but for the found scalar, which is as wanted.
pub(super) fn only_changed(
    old: &[Document],
    edited: &str,
    found: &Found<'_>,
    wanted: &Wanted<'_>,
) -> bool {
    holds(old, edited, found, &|_, new| wanted.is(new))
}

/// What an entry of a mapping is added with.
#[derive(Clone, Copy)]
pub(super) enum Added<'a> {
    /// A string.
    Text(&'a str),
    /// A list of one mapping of strings.
    List(&'a [(&'a str, &'a str)]),
    /// A mapping of strings.
    Map(&'a [(&'a str, &'a str)]),
}

impl Added<'_> {
    fn is(self, node: &Node) -> bool {
        match self {
            Added::Text(text) => is_string(node, text),
            Added::Map(item) => is_item(node, item),
            Added::List(item) => matches!(node.items(), Some([one]) if is_item(one, item)),
        }
    }
}

fn is_string(node: &Node, text: &str) -> bool {
    node.text() == Some(text) && Wanted::Str(text).is(node)
}

fn is_item(node: &Node, item: &[(&str, &str)]) -> bool {
    node.entries().is_some_and(|entries| {
        entries.len() == item.len()
            && entries
                .iter()
                .zip(item)
                .all(|((key, value), (name, text))| is_string(key, name) && is_string(value, text))
    })
}

/// Whether the edited text is the old one but for one more entry in the found mapping.
pub(super) fn only_added(
    old: &[Document],
    edited: &str,
    found: &Found<'_>,
    key: &str,
    value: Added<'_>,
) -> bool {
    holds(old, edited, found, &|old, new| {
        let (Kind::Map(old), Kind::Map(new)) = (&old.kind, &new.kind) else {
            return false;
        };
        let (added, kept): (Vec<_>, Vec<_>) =
            new.iter().partition(|(name, _)| name.text() == Some(key));
        matches!(added[..], [(name, node)] if is_string(name, key) && value.is(node))
            && kept.len() == old.len()
            && old
                .iter()
                .zip(kept)
                .all(|(old, new)| same(&old.0, &new.0) && same(&old.1, &new.1))
    })
}

/// Whether the edited text is the old one but for one more item at the end of the found list.
pub(super) fn only_appended(
    old: &[Document],
    edited: &str,
    found: &Found<'_>,
    item: &[(&str, &str)],
) -> bool {
    holds(old, edited, found, &|old, new| {
        let before = old.items().unwrap_or_default();
        match new.items() {
            Some([kept @ .., added]) => {
                kept.len() == before.len()
                    && before.iter().zip(kept).all(|(old, new)| same(old, new))
                    && is_item(added, item)
            }
            _ => false,
        }
    })
}

/// Whether the edited text is the old one but for one entry or item of the found node, which is gone.
pub(super) fn only_removed(
    old: &[Document],
    edited: &str,
    found: &Found<'_>,
    index: usize,
) -> bool {
    holds(
        old,
        edited,
        found,
        &|old, new| match (&old.kind, &new.kind) {
            (Kind::Map(old), Kind::Map(new)) => {
                old.len() == new.len() + 1
                    && without(old, index)
                        .zip(new)
                        .all(|(old, new)| same(&old.0, &new.0) && same(&old.1, &new.1))
            }
            (Kind::Seq(old), Kind::Seq(new)) => {
                old.len() == new.len() + 1
                    && without(old, index)
                        .zip(new)
                        .all(|(old, new)| same(old, new))
            }
            _ => false,
        },
    )
}

fn without<T>(all: &[T], index: usize) -> impl Iterator<Item = &T> {
    all.iter()
        .enumerate()
        .filter(move |(at, _)| *at != index)
        .map(|(_, one)| one)
}

type Check<'c> = &'c dyn Fn(&Node, &Node) -> bool;

fn holds(old: &[Document], edited: &str, found: &Found<'_>, check: Check<'_>) -> bool {
    let Ok(new) = parse(edited) else {
        return false;
    };
    let [document, indices @ ..] = &found.indices[..] else {
        return false;
    };
    old.len() == new.len()
        && old.iter().zip(&new).enumerate().all(|(at, (old, new))| {
            if at == *document {
                same_but(&old.root, &new.root, indices, check)
            } else {
                same(&old.root, &new.root)
            }
        })
}

/// Compares two trees, and the node at the indices by the check.
fn same_but(old: &Node, new: &Node, indices: &[usize], check: Check<'_>) -> bool {
    let [index, rest @ ..] = indices else {
        return check(old, new);
    };
    match (&old.kind, &new.kind) {
        (Kind::Seq(old), Kind::Seq(new)) => {
            old.len() == new.len()
                && old.iter().zip(new).enumerate().all(|(at, (old, new))| {
                    if at == *index {
                        same_but(old, new, rest, check)
                    } else {
                        same(old, new)
                    }
                })
        }
        (Kind::Map(old), Kind::Map(new)) => {
            old.len() == new.len()
                && old.iter().zip(new).enumerate().all(|(at, (old, new))| {
                    same(&old.0, &new.0)
                        && if at == *index {
                            same_but(&old.1, &new.1, rest, check)
                        } else {
                            same(&old.1, &new.1)
                        }
                })
        }
        _ => false,
    }
}

/// Whether two trees are equal but for their places.
fn same(old: &Node, new: &Node) -> bool {
    match (&old.kind, &new.kind) {
        (Kind::Scalar(old), Kind::Scalar(new)) => old == new,
        (Kind::Seq(old), Kind::Seq(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        }
        (Kind::Map(old), Kind::Map(new)) => {
            old.len() == new.len()
                && old
                    .iter()
                    .zip(new)
                    .all(|(old, new)| same(&old.0, &new.0) && same(&old.1, &new.1))
        }
        _ => false,
    }
}
