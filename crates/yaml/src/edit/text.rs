//! How a scalar's new text is written: candidates, the best first, for the proof to choose from.

use std::fmt::Write as _;
use std::ops::Range;

use super::Wanted;
use super::find::Found;
use crate::emit::plain_string;
use crate::node::{Scalar, Style};

/// Replacements of ranges of the source, in order.
pub(super) struct Change(pub(super) Vec<(Range<usize>, String)>);

impl Change {
    fn one(range: Range<usize>, text: String) -> Change {
        Change(vec![(range, text)])
    }

    pub(super) fn apply(&self, source: &str) -> String {
        let mut out = String::with_capacity(source.len() + 64);
        let mut at = 0;
        for (range, text) in &self.0 {
            out.push_str(&source[at..range.start]);
            out.push_str(text);
            at = range.end;
        }
        out.push_str(&source[at..]);
        out
    }
}

/// The line ending of the source, which new lines get too.
pub(super) fn line_break(source: &str) -> &'static str {
    match source.find('\n') {
        Some(at) if source[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The ways to write the wanted value in the place of the old scalar.
pub(super) fn changes(
    source: &str,
    found: &Found<'_>,
    old: &Scalar,
    wanted: &Wanted<'_>,
) -> Vec<Change> {
    let range = found.node.span.range();
    let new = match wanted {
        Wanted::Plain(text) => return vec![Change::one(range, (*text).to_owned())],
        Wanted::Str(text) => *text,
    };
    let inline = |style| {
        written(new, style, found.in_flow)
            .into_iter()
            .map(|text| Change::one(range.clone(), text))
            .collect()
    };
    match old.style {
        Style::Plain if range.is_empty() => empty(source, found, new),
        Style::Plain | Style::SingleQuoted | Style::DoubleQuoted => inline(old.style),
        Style::Literal | Style::Folded => block(source, found, new),
    }
}

/// A string in a style and, where it may not fit, in double quotes.
pub(super) fn written(text: &str, style: Style, in_flow: bool) -> Vec<String> {
    let mut ways = Vec::new();
    match style {
        Style::Plain if is_plain(text, in_flow) => ways.push(text.to_owned()),
        Style::SingleQuoted if !text.contains(must_be_escaped) => {
            ways.push(format!("'{}'", text.replace('\'', "''")));
        }
        _ => {}
    }
    ways.push(double_quoted(text));
    ways
}

fn is_plain(text: &str, in_flow: bool) -> bool {
    plain_string(text)
        && text != "<<"
        && !(in_flow && text.contains([',', '[', ']', '{', '}', '?']))
}

fn must_be_escaped(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// In double quotes, with escapes that JSON knows too.
fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if must_be_escaped(c) => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes all text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Fills a value that is not there (`key:`, `- `, `{key}`).
fn empty(source: &str, found: &Found<'_>, new: &str) -> Vec<Change> {
    let mut at = found.node.span.start as usize;
    if source[at..].starts_with(':') {
        at += 1;
    }
    let before = if source[..at].ends_with([' ', '\t', '\n']) || at == 0 {
        ""
    } else {
        " "
    };
    let after = match source[at..].chars().next() {
        None | Some(' ' | '\t' | '\r' | '\n' | ',' | ']' | '}') => "",
        Some(_) => " ",
    };
    let mut ways = Vec::new();
    for text in written(new, Style::Plain, found.in_flow) {
        ways.push(Change::one(at..at, format!("{before}{text}{after}")));
        ways.push(Change::one(at..at, format!(": {text}{after}")));
    }
    ways
}

/// A block scalar's parts in the source.
struct Block {
    /// `|-` and the like.
    header: Range<usize>,
    /// From behind the header's line up to the end of the last line, without its line break.
    content: Range<usize>,
    /// Columns before each line; none if the block does not say.
    indent: Option<usize>,
    line_break: &'static str,
}

impl Block {
    fn find(source: &str, found: &Found<'_>) -> Option<Block> {
        let span = found.node.span;
        let floor = found.key.map_or(0, |key| key.span.end as usize);
        // Between the header's line and the first character of the content there are only blank lines,
        // or comments if there is no content.
        let mut line_end = source[..span.start as usize].rfind('\n')?;
        let line_start = loop {
            let start = source[..line_end].rfind('\n').map_or(0, |at| at + 1);
            let line = source[start..line_end].trim();
            if !line.is_empty() && !line.starts_with('#') || start <= floor {
                break start.max(floor);
            }
            line_end = start.checked_sub(1)?;
        };
        let line = source.get(line_start..line_end)?;
        let mut at = line_start;
        let header = line.split([' ', '\t', '\r']).find_map(|word| {
            let start = at;
            at += word.len() + 1;
            let word = if start == floor {
                word.trim_start_matches(':')
            } else {
                word
            };
            let start = at - 1 - word.len();
            word.starts_with(['|', '>'])
                .then(|| start..start + word.len())
        })?;
        let line_break = line_break(source);
        let content_start = source[..line_end].trim_end_matches('\r').len();
        let written = &source[..(span.end as usize).max(content_start)];
        let content_end = if source[header.clone()].contains('+') {
            written.strip_suffix(line_break).unwrap_or(written).len()
        } else {
            let trimmed = written.trim_end().len();
            let rest = &source[trimmed..];
            trimmed + rest.find(['\r', '\n']).unwrap_or(rest.len())
        };
        let indent = if source[header.clone()].contains(|c: char| c.is_ascii_digit()) {
            None
        } else if span.start == span.end {
            found.key.map(|key| key.span.column as usize + 1)
        } else {
            Some(span.column as usize - 1)
        };
        Some(Block {
            header,
            content: content_start..content_end.max(content_start),
            indent,
            line_break,
        })
    }

    /// The new content in the block's own style.
    fn write(&self, source: &str, new: &str) -> Option<Change> {
        let indent = " ".repeat(self.indent?);
        let body = new.strip_suffix('\n').unwrap_or(new);
        let fits = !body.is_empty()
            && !body.starts_with([' ', '\n', '\t'])
            && !body.contains(|c| c != '\n' && c != '\t' && must_be_escaped(c));
        if !fits {
            return None;
        }
        let folded = source[self.header.clone()].starts_with('>') && !body.contains('\n');
        let chomp = match (new.len() > body.len(), body.ends_with('\n')) {
            (false, false) => "-",
            (true, false) => "",
            (_, true) => "+",
        };
        let mut content = String::new();
        for line in body.split('\n') {
            content.push_str(self.line_break);
            if !line.is_empty() {
                content.push_str(&indent);
                content.push_str(line);
            }
        }
        Some(Change(vec![
            (
                self.header.clone(),
                format!("{}{chomp}", if folded { '>' } else { '|' }),
            ),
            (self.content.clone(), content),
        ]))
    }
}

fn block(source: &str, found: &Found<'_>, new: &str) -> Vec<Change> {
    let Some(block) = Block::find(source, found) else {
        return Vec::new();
    };
    let mut ways: Vec<Change> = block.write(source, new).into_iter().collect();
    ways.push(Change(vec![
        (block.header, double_quoted(new)),
        (block.content, String::new()),
    ]));
    ways
}
