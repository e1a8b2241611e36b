//! The keys of a mapping: each stands once, and `<<` stands for the entries of other mappings.

use std::collections::{HashMap, HashSet};

use crate::node::{Error, Kind, Node, Style};

/// Whether a key is `<<`, which stands for entries of other mappings.
pub(crate) fn is_merge_key(node: &Node) -> bool {
    node.scalar().is_some_and(|scalar| {
        scalar.text == "<<"
            && match scalar.tag.as_deref() {
                None | Some("!") => scalar.style == Style::Plain,
                Some(tag) => tag == "!!merge",
            }
    })
}

/// From so many entries on, duplicates are found by hashing and not by comparing each with each. Keys are
/// the same if their text is, whatever its type: as yaml.v3 has it.
const HASH_FROM: usize = 12;

/// Two keys that are the same, in their order.
pub(crate) fn find_duplicate(entries: &[(Node, Node)]) -> Option<(&Node, &Node)> {
    if entries.len() < HASH_FROM {
        for (at, (again, _)) in entries.iter().enumerate().skip(1) {
            let Some(text) = again.text() else { continue };
            for (first, _) in &entries[..at] {
                if first.text() == Some(text) {
                    return Some((first, again));
                }
            }
        }
        return None;
    }
    let mut seen: HashMap<&str, &Node> = HashMap::with_capacity(entries.len());
    entries.iter().find_map(|(key, _)| {
        let first = seen.insert(key.text()?, key)?;
        Some((first, key))
    })
}

/// The error for two keys that are the same.
pub(crate) fn twice(first: &Node, again: &Node) -> Error {
    let key = again.text().unwrap_or_default();
    Error::new(
        format!(
            "mapping key {key:?} already defined at line {}",
            first.span.line
        ),
        again.span,
    )
}

/// Of entries with the same key, keeps the first.
pub(crate) fn first_wins(mut entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let mut seen: HashSet<String> = HashSet::new();
    entries.retain(|(key, _)| key.text().is_none_or(|text| seen.insert(text.to_owned())));
    entries
}

/// Of entries with the same key, keeps the last.
pub(crate) fn last_wins(mut entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    entries.reverse();
    let mut kept = first_wins(entries);
    kept.reverse();
    kept
}

/// Resolves the merge key of a mapping as yaml.v3 does: its own entries win, then earlier sources.
pub(crate) fn merged(entries: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>, Error> {
    let mut own = Vec::with_capacity(entries.len());
    let mut source = None;
    for (key, value) in entries {
        if is_merge_key(&key) {
            source = Some(value);
        } else {
            own.push((key, value));
        }
    }
    let Some(source) = source else {
        return Ok(own);
    };
    let not_a_map = |span| {
        Error::new(
            "map merge requires map or sequence of maps as the value",
            span,
        )
    };
    let span = source.span;
    let maps = match source.kind {
        Kind::Map(entries) => vec![entries],
        Kind::Seq(items) => items
            .into_iter()
            .map(|item| match item.kind {
                Kind::Map(entries) => Ok(entries),
                Kind::Scalar(_) | Kind::Seq(_) => Err(not_a_map(item.span)),
            })
            .collect::<Result<_, _>>()?,
        Kind::Scalar(_) => return Err(not_a_map(span)),
    };
    let mut seen: HashSet<String> = own
        .iter()
        .filter_map(|(key, _)| key.text().map(str::to_owned))
        .collect();
    for (key, value) in maps.into_iter().flatten() {
        if key.text().is_none_or(|text| seen.insert(text.to_owned())) {
            own.push((key, value));
        }
    }
    Ok(own)
}
