//! Where and how a new item of a list is written.

use super::find::{Found, is_flow};
use super::insert::{below, in_braces, in_brackets, in_lines, style_of};
use super::text::{Change, line_break};
use crate::node::{Document, Node, Style};

/// The ways to add a mapping of strings behind the last item.
pub(super) fn changes(
    source: &str,
    documents: &[Document],
    found: &Found<'_>,
    item: &[(&str, &str)],
) -> Vec<Change> {
    let list = found.node;
    let Some(items) = list.items() else {
        return nothing_yet(source, documents, found, item);
    };
    let last = items.iter().rev().find(|item| is_inside(list, item));
    if is_flow(source, list) {
        let json = source.trim_start().starts_with('{')
            && last.is_none_or(|last| first_key(last).is_none_or(|k| style_of(k) != Style::Plain));
        let style = if json {
            Style::DoubleQuoted
        } else {
            Style::Plain
        };
        let last = last.map(|node| (node.span.start, node.span.start, node));
        return in_brackets(source, list, last, &in_braces(item, style));
    }
    let Some(last) = last else {
        return Vec::new();
    };
    let dash = list.span.column as usize - 1;
    let like = |node: &Node| {
        let (_, value) = node.entries()?.last()?;
        Some(style_of(value))
    };
    let style = like(last).unwrap_or(Style::Plain);
    let mut entries = Vec::new();
    if is_flow(source, last) && last.entries().is_some() {
        entries.push(format!("- {}", in_braces(item, Style::Plain)));
    }
    // As far behind the dash as the item above.
    let gap = (last.span.column as usize)
        .checked_sub(dash + 2)
        .filter(|gap| (1..=8).contains(gap) && last.entries().is_some() && !is_flow(source, last))
        .unwrap_or(1);
    let lines = in_lines(source, item, dash + 1 + gap, style);
    entries.push(format!("-{}{lines}", " ".repeat(gap)));
    entries
        .iter()
        .flat_map(|entry| below(source, list, last.span.start as usize, dash, entry))
        .collect()
}

fn is_inside(list: &Node, item: &Node) -> bool {
    item.span.start >= list.span.start && item.span.end <= list.span.end
}

fn first_key(node: &Node) -> Option<&Node> {
    node.entries()?.first().map(|(key, _)| key)
}

/// `key:` with nothing behind it.
fn nothing_yet(
    source: &str,
    documents: &[Document],
    found: &Found<'_>,
    item: &[(&str, &str)],
) -> Vec<Change> {
    let Some(key) = found.key else {
        return Vec::new();
    };
    let key_end = key.span.end as usize;
    let Some(colon) = source[key_end..].find(':').map(|at| key_end + at + 1) else {
        return Vec::new();
    };
    if found.in_flow {
        let text = format!(" [{}]", in_braces(item, Style::Plain));
        return vec![Change(vec![(colon..colon, text)])];
    }
    let line_end = colon
        + source[colon..]
            .find(['\r', '\n'])
            .unwrap_or(source.len() - colon);
    let margin = key.span.column as usize - 1;
    let others = documents.get(found.indices[0]).and_then(|document| {
        let (key, value) = document.root.entries()?.iter().find(|(_, value)| {
            value.items().is_some_and(|items| !items.is_empty()) && !is_flow(source, value)
        })?;
        (value.span.column as usize).checked_sub(key.span.column as usize)
    });
    let mut deeper: Vec<usize> = others.into_iter().chain([0, 2]).collect();
    deeper.dedup();
    deeper
        .into_iter()
        .map(|deeper| {
            let indent = margin + deeper;
            let lines = in_lines(source, item, indent + 2, Style::Plain);
            let text = format!("{}{}- {lines}", line_break(source), " ".repeat(indent));
            Change(vec![(line_end..line_end, text)])
        })
        .collect()
}
