//! Where and how a new entry of a mapping is written.

use super::find::{Found, is_flow};
use super::text::{Change, line_break, written};
use crate::node::{Node, Style};

/// The ways to add an entry behind the last one that the mapping's own text has.
pub(super) fn changes(
    source: &str,
    found: &Found<'_>,
    entries: &[(Node, Node)],
    key: &str,
    new: &str,
) -> Vec<Change> {
    let span = found.node.span;
    let last = entries
        .iter()
        .filter(|(key, _)| key.span.start >= span.start && key.span.end <= span.end)
        .max_by_key(|(key, _)| key.span.start);
    let flow = is_flow(source, found.node);
    let quoted = |node: &Node| {
        node.scalar()
            .is_some_and(|scalar| scalar.style == Style::DoubleQuoted)
    };
    // JSON has no strings without quotes.
    let json =
        flow && last.is_none_or(|(key, _)| quoted(key)) && source.trim_start().starts_with('{');
    let style = if json {
        Style::DoubleQuoted
    } else {
        Style::Plain
    };
    let in_flow = flow || found.in_flow;
    let mut ways = Vec::new();
    for name in written(key, style, in_flow).into_iter().take(1) {
        for value in written(new, style, in_flow) {
            let entry = format!("{name}: {value}");
            if flow {
                ways.extend(in_brackets(source, found, last, &entry));
            } else if let Some((first, _)) = last {
                ways.extend(as_line(source, found, first, &entry));
            }
        }
    }
    ways
}

fn in_brackets(
    source: &str,
    found: &Found<'_>,
    last: Option<&(Node, Node)>,
    entry: &str,
) -> Vec<Change> {
    let open = found.node.span.start as usize + 1;
    let Some((key, value)) = last else {
        return vec![Change(vec![(open..open, entry.to_owned())])];
    };
    let key_end = key.span.end as usize;
    // An alias's value stands elsewhere; the proof finds the end that fits.
    let mut ends = vec![];
    if value.span.start >= key.span.end {
        ends.push(value.span.end as usize);
    }
    let close = found.node.span.end as usize - 1;
    ends.push(source[..close].trim_end().len());
    let line_start = source[..key.span.start as usize]
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let margin = &source[line_start..key.span.start as usize];
    let mut ways = Vec::new();
    for end in ends.into_iter().filter(|end| *end >= key_end) {
        let rest_of_line = source[end..].split('\n').next().unwrap_or_default();
        let rest = rest_of_line.trim_start_matches(',').trim();
        let comma = if rest_of_line.starts_with(',') {
            ""
        } else {
            ","
        };
        if margin.trim().is_empty() && (rest.is_empty() || rest.starts_with('#')) {
            // One entry a line; a comment behind the last one stays with it.
            let line_break = line_break(source);
            let line_end = end + rest_of_line.trim_end_matches('\r').len();
            ways.push(Change(vec![
                (end..end, comma.to_owned()),
                (line_end..line_end, format!("{line_break}{margin}{entry}")),
            ]));
        }
        ways.push(Change(vec![(end..end, format!(", {entry}"))]));
    }
    ways
}

fn as_line(source: &str, found: &Found<'_>, key: &Node, entry: &str) -> Vec<Change> {
    let span = found.node.span;
    let start = source[..span.end as usize].trim_end().len();
    // Keys behind a `?` do not stand where the entry starts, those behind an anchor neither.
    let indent = " ".repeat(span.column as usize - 1);
    // Trailing blank lines belong to the value if it keeps them (`|+`).
    let from = start.max(key.span.end as usize);
    let at = from
        + source[from..]
            .find(['\r', '\n'])
            .unwrap_or(source.len() - from);
    let line_break = line_break(source);
    let behind = Change(vec![(at..at, format!("{line_break}{indent}{entry}"))]);
    // Blank lines belong to the last value if it keeps them (`|+`).
    let end = span.end as usize;
    let below = Change(vec![(end..end, format!("{indent}{entry}{line_break}"))]);
    vec![behind, below]
}
