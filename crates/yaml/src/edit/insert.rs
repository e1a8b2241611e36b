//! Where and how a new entry of a mapping is written.

use super::find::{Found, is_flow};
use super::proof::Added;
use super::text::{Change, line_break, written};
use crate::node::{Node, Style};

/// The ways to add an entry behind the last one that the mapping's own text has.
pub(super) fn changes(
    source: &str,
    found: &Found<'_>,
    entries: &[(Node, Node)],
    key: &str,
    added: Added<'_>,
) -> Vec<Change> {
    let span = found.node.span;
    let last = entries
        .iter()
        .filter(|(key, _)| key.span.start >= span.start && key.span.end <= span.end)
        .max_by_key(|(key, _)| key.span.start);
    let flow = is_flow(source, found.node);
    // JSON has no strings without quotes.
    let json = flow
        && last.is_none_or(|(key, _)| style_of(key) == Style::DoubleQuoted)
        && source.trim_start().starts_with('{');
    let style = if json {
        Style::DoubleQuoted
    } else {
        Style::Plain
    };
    let in_flow = flow || found.in_flow;
    let values = match added {
        // Quoted where its neighbour is.
        Added::Text(text) if !json => {
            let like = last.map_or(Style::Plain, |(_, value)| style_of(value));
            written(text, like, in_flow)
        }
        Added::Text(text) => written(text, style, in_flow),
        Added::List(item) if in_flow => vec![format!("[{}]", in_braces(item, style))],
        Added::Map(item) if in_flow => vec![in_braces(item, style)],
        Added::Map(item) => maps(source, found.node, entries, item),
        Added::List(item) => lists(source, found.node, entries, item),
    };
    let mut ways = Vec::new();
    for name in written(key, style, in_flow).into_iter().take(1) {
        for value in &values {
            let blank = if value.starts_with(['\r', '\n']) {
                ""
            } else {
                " "
            };
            let entry = format!("{name}:{blank}{value}");
            if flow {
                let last = last.map(|(key, value)| (key.span.start, key.span.end, value));
                ways.extend(in_brackets(source, found.node, last, &entry));
            } else if let Some((first, _)) = last {
                ways.extend(as_line(source, found, first, &entry));
            }
        }
    }
    ways
}

/// How a scalar is quoted; plain, where it is not, or is no scalar.
pub(super) fn style_of(node: &Node) -> Style {
    match node.scalar().map(|scalar| scalar.style) {
        Some(style @ (Style::SingleQuoted | Style::DoubleQuoted)) => style,
        _ => Style::Plain,
    }
}

/// `{name: a, newTag: b}`
pub(super) fn in_braces(item: &[(&str, &str)], style: Style) -> String {
    let pair = |(key, value): &(&str, &str)| {
        let of = |text| written(text, style, true).swap_remove(0);
        format!("{}: {}", of(key), of(value))
    };
    format!(
        "{{{}}}",
        item.iter().map(pair).collect::<Vec<_>>().join(", ")
    )
}

/// A list of one item below its key: the dash as far in as other lists of the mapping have it.
fn lists(source: &str, map: &Node, entries: &[(Node, Node)], item: &[(&str, &str)]) -> Vec<String> {
    let known = entries.iter().find_map(|(key, value)| {
        let is_block = value.items().is_some_and(|items| !items.is_empty())
            && !is_flow(source, value)
            && value.span.start > key.span.end;
        is_block.then(|| (value.span.column as usize).checked_sub(key.span.column as usize))?
    });
    let margin = map.span.column as usize - 1;
    let mut ways: Vec<String> = known
        .into_iter()
        .chain([0, 2])
        .map(|deeper| {
            let indent = margin + deeper;
            let first = format!("{}{}", line_break(source), " ".repeat(indent));
            format!(
                "{first}- {}",
                in_lines(source, item, indent + 2, Style::Plain)
            )
        })
        .collect();
    ways.dedup();
    ways
}

/// A mapping below its key, as far in as other mappings of the mapping have it.
fn maps(source: &str, map: &Node, entries: &[(Node, Node)], item: &[(&str, &str)]) -> Vec<String> {
    let known = entries.iter().find_map(|(key, value)| {
        let is_block = value.entries().is_some_and(|entries| !entries.is_empty())
            && !is_flow(source, value)
            && value.span.start > key.span.end;
        is_block.then(|| (value.span.column as usize).checked_sub(key.span.column as usize))?
    });
    let indent = map.span.column as usize - 1 + known.filter(|deeper| *deeper > 0).unwrap_or(2);
    let first = format!("{}{}", line_break(source), " ".repeat(indent));
    vec![format!(
        "{first}{}",
        in_lines(source, item, indent, Style::Plain)
    )]
}

/// A mapping of strings as lines, all but the first with `indent` blanks before them.
pub(super) fn in_lines(
    source: &str,
    item: &[(&str, &str)],
    indent: usize,
    values: Style,
) -> String {
    let line = |(key, value): &(&str, &str)| {
        let of = |text, style| written(text, style, false).swap_remove(0);
        format!("{}: {}", of(key, Style::Plain), of(value, values))
    };
    let between = format!("{}{}", line_break(source), " ".repeat(indent));
    item.iter().map(line).collect::<Vec<_>>().join(&between)
}

/// The ways to add an entry inside of brackets; `last` is where the last one there starts, where its key (or its first
/// character) ends, and its value.
pub(super) fn in_brackets(
    source: &str,
    node: &Node,
    last: Option<(u32, u32, &Node)>,
    entry: &str,
) -> Vec<Change> {
    let open = node.span.start as usize + 1;
    let Some((start, key_end, value)) = last else {
        return vec![Change(vec![(open..open, entry.to_owned())])];
    };
    // An alias's value stands elsewhere; the proof finds the end that fits.
    let mut ends = vec![];
    if value.span.start >= key_end || value.span.start == start {
        ends.push(value.span.end as usize);
    }
    let close = node.span.end as usize - 1;
    ends.push(source[..close].trim_end().len());
    let line_start = source[..start as usize].rfind('\n').map_or(0, |at| at + 1);
    let margin = &source[line_start..start as usize];
    let mut ways = Vec::new();
    for end in ends.into_iter().filter(|end| *end >= key_end as usize) {
        let rest_of_line = source[end..].split('\n').next().unwrap_or_default();
        let rest = rest_of_line.trim_start_matches(',').trim();
        let (comma, trailing) = if rest_of_line.starts_with(',') {
            ("", ",")
        } else {
            (",", "")
        };
        if margin.trim().is_empty() && (rest.is_empty() || rest.starts_with('#')) {
            // One entry a line; a comment behind the last one stays with it.
            let line_break = line_break(source);
            let line_end = end + rest_of_line.trim_end_matches('\r').len();
            ways.push(Change(vec![
                (end..end, comma.to_owned()),
                (
                    line_end..line_end,
                    format!("{line_break}{margin}{entry}{trailing}"),
                ),
            ]));
        }
        ways.push(Change(vec![(end..end, format!(", {entry}"))]));
    }
    ways
}

fn as_line(source: &str, found: &Found<'_>, key: &Node, entry: &str) -> Vec<Change> {
    // Keys behind a `?` do not stand where the entry starts, those behind an anchor neither.
    let indent = found.node.span.column as usize - 1;
    below(source, found.node, key.span.end as usize, indent, entry)
}

/// The ways to add a line below a block collection; `from` is in its last entry.
pub(super) fn below(
    source: &str,
    node: &Node,
    from: usize,
    indent: usize,
    entry: &str,
) -> Vec<Change> {
    let end = node.span.end as usize;
    let start = source[..end].trim_end().len();
    let indent = " ".repeat(indent);
    // Trailing blank lines belong to the value if it keeps them (`|+`).
    let from = start.max(from);
    let at = from
        + source[from..]
            .find(['\r', '\n'])
            .unwrap_or(source.len() - from);
    let line_break = line_break(source);
    let behind = Change(vec![(at..at, format!("{line_break}{indent}{entry}"))]);
    // Blank lines belong to the last value if it keeps them (`|+`).
    let below = Change(vec![(end..end, format!("{indent}{entry}{line_break}"))]);
    vec![behind, below]
}
