//! What is cut out where an entry of a mapping, or an item of a list, goes.

use std::ops::Range;

use super::find::{Found, is_flow};
use super::text::Change;
use crate::node::{Kind, Node};

/// A comma that goes along, and what goes.
type Cut = (Option<Range<usize>>, Range<usize>);

/// The ways to cut out the entry or item with this index.
pub(super) fn changes(source: &str, holder: &Found<'_>, index: usize) -> Vec<Change> {
    let places: Vec<Range<usize>> = match &holder.node.kind {
        Kind::Map(entries) => entries.iter().map(|(k, v)| place(k, v)).collect(),
        Kind::Seq(items) => items.iter().map(|item| item.span.range()).collect(),
        Kind::Scalar(_) => return Vec::new(),
    };
    let cuts = if is_flow(source, holder.node) {
        between_brackets(source, holder.node, &places, index)
    } else {
        lines(source, holder.node, &places, index)
    };
    cuts.into_iter()
        .map(|(comma, cut)| {
            let cuts = comma.into_iter().chain([cut]);
            let cuts = cuts.filter(|cut| cut.start <= cut.end);
            Change(cuts.map(|cut| (cut, String::new())).collect())
        })
        .collect()
}

/// An alias's value stands elsewhere.
fn place(key: &Node, value: &Node) -> Range<usize> {
    let start = key.span.start as usize;
    let end = if value.span.start >= key.span.end {
        value.span.end
    } else {
        key.span.end
    };
    start..end as usize
}

fn between_brackets(
    source: &str,
    holder: &Node,
    places: &[Range<usize>],
    index: usize,
) -> Vec<Cut> {
    let own = places[index].clone();
    let before = index.checked_sub(1).and_then(|at| places.get(at));
    let comma = before.and_then(|before| {
        let between = source.get(before.end..own.start)?;
        between.find(',').map(|at| before.end + at)
    });
    let mut cuts = Vec::new();
    // A line of its own; the comma of the line above goes where this line, the last, had none.
    let line_start = source[..own.start].rfind('\n').map_or(0, |at| at + 1);
    let rest = source[own.end..].split('\n').next().unwrap_or_default();
    let behind = rest.trim_start_matches(',').trim();
    if source[line_start..own.start].trim().is_empty()
        && (behind.is_empty() || behind.starts_with('#'))
    {
        let line = line_start..(own.end + rest.len() + 1).min(source.len());
        if !rest.starts_with(',') {
            cuts.extend(comma.map(|comma| (Some(comma..comma + 1), line.clone())));
        }
        cuts.push((None, line));
    }
    cuts.extend(comma.map(|comma| (None, comma..own.end)));
    cuts.extend(before.map(|before| (None, before.end..own.end)));
    cuts.extend(
        places
            .get(index + 1)
            .map(|after| (None, own.start..after.start)),
    );
    cuts.push((
        None,
        own.start..(holder.span.end as usize).saturating_sub(1),
    ));
    cuts
}

fn lines(source: &str, holder: &Node, places: &[Range<usize>], index: usize) -> Vec<Cut> {
    let own = places[index].clone();
    let line_start = source[..own.start].rfind('\n').map_or(0, |at| at + 1);
    let trimmed = source[..own.end].trim_end().len().max(own.start);
    let line_end = trimmed
        + source[trimmed..]
            .find('\n')
            .map_or(source.len() - trimmed, |at| at + 1);
    let next = places.get(index + 1).map(|next| next.start);
    let mut cuts = Vec::new();
    let has_own_line = matches!(source[line_start..own.start].trim(), "" | "-" | "?");
    let starts_holder = holder.span.start as usize >= line_start
        && source[line_start..own.start].trim() == "-"
        && matches!(holder.kind, Kind::Map(_));
    if has_own_line && !starts_holder {
        // At the end of a text without a last line break, the one before goes with the line.
        if !source[..line_end].ends_with('\n') {
            let before = source[..line_start].trim_end_matches('\n').len();
            let before = source[..before].trim_end_matches('\r').len();
            cuts.push((None, before..line_end));
        }
        cuts.push((None, line_start..line_end));
        // Where a block keeps its blank lines (`|+`) they go with it.
        let whole = source[..own.end].rfind('\n').map_or(own.end, |at| at + 1);
        cuts.push((None, line_start..whole.max(line_end)));
    }
    // The first key behind a dash: the second takes its place.
    if let Some(next) = next {
        match holder.kind {
            Kind::Map(_) => cuts.push((None, own.start..next)),
            _ => {
                let dash = source[..next].rfind('-').map(|at| at + 1);
                let behind = source[..own.start].rfind('-').map(|at| at + 1);
                cuts.extend(behind.zip(dash).map(|(from, to)| (None, from..to)));
            }
        }
    }
    cuts
}
