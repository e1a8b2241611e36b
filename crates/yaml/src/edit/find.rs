//! The way from the documents to the node of a path.

use super::{Error, Path, Step};
use crate::node::{Document, Kind, Node};

/// A node and what an edit has to know about where it stands.
pub(super) struct Found<'d> {
    pub(super) node: &'d Node,
    /// Index of the document, then the index of the entry or item at each level.
    pub(super) indices: Vec<usize>,
    /// The key, if the node is a mapping's value.
    pub(super) key: Option<&'d Node>,
    /// Whether a `[…]` or `{…}` is around it.
    pub(super) in_flow: bool,
    /// Whether the text stands in another place, and comes here through an alias or a merge key.
    pub(super) shared: bool,
}

/// Finds the one node that a path leads to, in whichever document it is.
pub(super) fn find<'d>(
    source: &str,
    documents: &'d [Document],
    path: &[Step],
) -> Result<Found<'d>, Error> {
    if let [Step::Document(at), ..] = path {
        return find_in(source, documents, *at, path);
    }
    let mut best: Option<Result<Found<'d>, Error>> = None;
    for (at, document) in documents.iter().enumerate() {
        match (walk(source, &document.root, at, path), &best) {
            (Ok(_), Some(Ok(_))) => {
                return Err(Error::Ambiguous {
                    path: Path(path).to_string(),
                });
            }
            (Err(Error::NotFound { .. }), Some(_)) => {}
            (result, _) => best = Some(result),
        }
    }
    best.unwrap_or_else(|| {
        Err(Error::NotFound {
            path: Path(path).to_string(),
        })
    })
}

/// Finds the node in one document.
pub(super) fn find_in<'d>(
    source: &str,
    documents: &'d [Document],
    at: usize,
    path: &[Step],
) -> Result<Found<'d>, Error> {
    match documents.get(at) {
        Some(document) => walk(source, &document.root, at, path),
        None => Err(Error::NotFound {
            path: Path(path).to_string(),
        }),
    }
}

fn walk<'d>(
    source: &str,
    root: &'d Node,
    document: usize,
    path: &[Step],
) -> Result<Found<'d>, Error> {
    let mut found = Found {
        node: root,
        indices: vec![document],
        key: None,
        in_flow: false,
        shared: false,
    };
    for (at, step) in path.iter().enumerate() {
        if at == 0 && matches!(step, Step::Document(_)) {
            continue;
        }
        let parent = found.node;
        let (index, key, child) = child(parent, step, &path[..=at])?;
        found.indices.push(index);
        found.key = key;
        found.node = child;
        found.in_flow |= is_flow(source, parent);
        // The text of an alias's value stands before the alias.
        found.shared |= !within(parent, child)
            || key.is_some_and(|key| !within(parent, key) || child.span.start < key.span.end);
    }
    Ok(found)
}

/// Whether a collection is written with brackets.
pub(super) fn is_flow(source: &str, node: &Node) -> bool {
    node.scalar().is_none() && source[node.span.range()].starts_with(['[', '{'])
}

fn within(parent: &Node, child: &Node) -> bool {
    parent.span.start <= child.span.start && child.span.end <= parent.span.end
}

fn child<'d>(
    parent: &'d Node,
    step: &Step,
    path: &[Step],
) -> Result<(usize, Option<&'d Node>, &'d Node), Error> {
    let missing = || Error::NotFound {
        path: Path(path).to_string(),
    };
    match (step, &parent.kind) {
        (Step::Key(name), Kind::Map(entries)) => entries
            .iter()
            .enumerate()
            .find(|(_, (key, _))| key.text() == Some(name))
            .map(|(index, (key, value))| (index, Some(key), value))
            .ok_or_else(missing),
        (Step::Index(index), Kind::Seq(items)) => items
            .get(*index)
            .map(|item| (*index, None, item))
            .ok_or_else(missing),
        (Step::Where { key, value }, Kind::Seq(items)) => {
            let mut fitting = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.get(key).and_then(Node::text) == Some(value));
            match (fitting.next(), fitting.next()) {
                (Some((index, item)), None) => Ok((index, None, item)),
                (Some(_), Some(_)) => Err(Error::Ambiguous {
                    path: Path(path).to_string(),
                }),
                (None, _) => Err(missing()),
            }
        }
        _ => Err(missing()),
    }
}
