//! Strings: which style go-yaml v2 chooses, and how it writes each.

use super::writer::{WIDTH, Writer};
use crate::json::Dialect;
use crate::resolve::{Resolved, resolve_plain};

/// Bytes that may decide something behind the first place; all others are ordinary.
const SPECIAL: [bool; 256] = special();

/// Whether a text that starts with the byte, and holds no special one, is a plain string.
const START: [Start; 256] = starts();

#[derive(Clone, Copy)]
enum Start {
    Always,
    /// If it is longer than all words that mean something else (`false`).
    BehindWords,
    Maybe,
}

const fn starts() -> [Start; 256] {
    let mut table = [Start::Maybe; 256];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        table[at] = match byte {
            b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => {
                Start::BehindWords
            }
            b'/' | b'_' | b'$' | b'(' | b'=' => Start::Always,
            _ if byte.is_ascii_alphabetic() => Start::Always,
            _ => Start::Maybe,
        };
        at += 1;
    }
    table
}

/// The common case, a word without spaces: plain, and on no account folded.
fn is_plain_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts = match bytes.first().map(|first| START[usize::from(*first)]) {
        Some(Start::Always) => true,
        Some(Start::BehindWords) => bytes.len() > 5,
        Some(Start::Maybe) | None => false,
    };
    starts && !bytes.iter().any(|byte| SPECIAL[usize::from(*byte)])
}

const fn special() -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte <= b' ' || byte >= 0x7f || matches!(byte, b':' | b'#');
        at += 1;
    }
    table
}

/// What `yaml_emitter_analyze_scalar` finds out.
struct Analysis {
    multiline: bool,
    plain: bool,
    single_quoted: bool,
    block: bool,
    /// Whether all characters are one byte long.
    ascii: bool,
}

/// Whether a key can stand on the line of its value.
pub(super) fn is_simple_key(key: &str) -> bool {
    key.len() <= 128
        && (key.bytes().all(|byte| (b' '..0x7f).contains(&byte)) || !key.chars().any(is_break))
}

/// Writes a string in the style that go-yaml v2 has for it.
pub(super) fn write(writer: &mut Writer<'_>, text: &str, simple_key: bool) {
    if is_plain_word(text) {
        writer.word(text);
        return;
    }
    let found = analyze(text);
    let breaks = !simple_key;
    // A simple key has no line breaks.
    if found.multiline && text.contains('\n') {
        if found.block {
            literal(writer, text);
        } else {
            double_quoted(writer, text, breaks);
        }
    } else if !is_string_when_plain(text) {
        double_quoted(writer, text, breaks);
    } else if found.plain {
        plain(writer, text, found.ascii, breaks);
    } else if found.single_quoted {
        single_quoted(writer, text, breaks);
    } else {
        double_quoted(writer, text, breaks);
    }
}

/// Whether the text can stand in a block without quotes, and means a string there.
pub(crate) fn plain_string(text: &str) -> bool {
    is_string_when_plain(text) && analyze(text).plain
}

/// Whether a reader would take the text for a string if it stood there without quotes.
fn is_string_when_plain(text: &str) -> bool {
    matches!(
        resolve_plain(text, Dialect::Kubectl, true),
        Resolved::Str(_)
    ) && !is_base60(text)
}

/// Numbers in base 60 (`190:20:30`), which YAML 1.1 had: `^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`.
fn is_base60(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else {
        return false;
    };
    let unsigned = match first {
        b'+' | b'-' => &text[1..],
        b'0'..=b'9' => text,
        _ => return false,
    };
    if !unsigned.contains(':') {
        return false;
    }
    let (sixties, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let mut parts = sixties.split(':');
    let head = parts.next().unwrap_or_default();
    head.starts_with(|c: char| c.is_ascii_digit())
        && number(head)
        && number(fraction)
        && parts.all(|part| match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => matches!(ten, b'0'..=b'5') && one.is_ascii_digit(),
            _ => false,
        })
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// go-yaml's `is_printable`: nothing beyond the basic plane, no control characters, no byte order mark.
fn is_printable(c: char) -> bool {
    matches!(c,
        '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn analyze(text: &str) -> Analysis {
    let bytes = text.as_bytes();
    let mut indicators = match bytes {
        [b'-', b'-', b'-', ..] | [b'.', b'.', b'.', ..] => true,
        [b'-' | b'?'] | [b'-' | b'?', b' ' | b'\t', ..] => true,
        [first, ..] => b"#,[]{}&*!|>'\"%@`".contains(first),
        [] => false,
    };
    let (mut line_breaks, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut ascii = true;
    let mut at = 0;
    while at < bytes.len() {
        // Runs of ordinary bytes decide nothing.
        let run = bytes[at..]
            .iter()
            .take_while(|byte| !SPECIAL[usize::from(**byte)])
            .count();
        if run > 0 {
            at += run;
            (previous_space, previous_break) = (false, false);
            if at == bytes.len() {
                break;
            }
        }
        let byte = bytes[at];
        let (c, width) = if byte < 0x80 {
            (char::from(byte), 1)
        } else {
            ascii = false;
            let c = text[at..].chars().next().unwrap_or(' ');
            (c, c.len_utf8())
        };
        let blank_follows = bytes
            .get(at + width)
            .is_none_or(|next| matches!(next, b' ' | b'\t'));
        match c {
            ':' => indicators |= blank_follows,
            '#' => indicators |= blankz_ends(&text[..at]),
            _ => {}
        }
        special |= !is_printable(c);
        if c == ' ' {
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(c) {
            line_breaks = true;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
        at += width;
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
    let trailing_space = bytes.last() == Some(&b' ');
    let ragged = edge(text.chars().next()) || edge(text.chars().next_back());
    Analysis {
        multiline: line_breaks,
        plain: !(ragged || break_space || space_break || special || line_breaks || indicators),
        single_quoted: !(break_space || space_break || special),
        block: !(text.is_empty() || trailing_space || space_break || special),
        ascii,
    }
}

/// Whether the text ends in white space, a line break or NUL.
fn blankz_ends(text: &str) -> bool {
    text.chars()
        .next_back()
        .is_some_and(|c| is_blank(c) || is_break(c) || c == '\0')
}

fn plain(writer: &mut Writer<'_>, text: &str, ascii: bool, breaks: bool) {
    writer.space();
    if ascii && (!breaks || writer.column + text.len() <= WIDTH) {
        writer.ascii(text);
    } else {
        folded_spaces(writer, text, breaks, false);
    }
    writer.whitespace = false;
    writer.indention = false;
}

fn single_quoted(writer: &mut Writer<'_>, text: &str, breaks: bool) {
    writer.indicator("'", true, false);
    if text.chars().any(is_break) {
        single_quoted_lines(writer, text, breaks);
    } else {
        folded_spaces(writer, text, breaks, true);
    }
    writer.indicator("'", false, false);
    writer.whitespace = false;
    writer.indention = false;
}

/// Writes words, going to a new line at a single space behind the width.
fn folded_spaces(writer: &mut Writer<'_>, text: &str, breaks: bool, quoted: bool) {
    let word = |writer: &mut Writer<'_>, word: &str| {
        for (at, part) in word.split('\'').enumerate() {
            if at > 0 {
                writer.ascii(if quoted { "''" } else { "'" });
            }
            writer.text(part);
        }
    };
    let bytes = text.as_bytes();
    let mut start = 0;
    let mut spaces = false;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b' ' {
            spaces = false;
            continue;
        }
        word(writer, &text[start..at]);
        start = at + 1;
        let inner = at > 0 && at + 1 < bytes.len() && bytes[at + 1] != b' ';
        if breaks && !spaces && writer.column > WIDTH && inner {
            writer.indention = false;
            writer.indent_line();
        } else {
            writer.char(' ');
        }
        spaces = true;
    }
    word(writer, &text[start..]);
}

/// Single quotes around line breaks that are not `\n` (those get a literal block).
fn single_quoted_lines(writer: &mut Writer<'_>, text: &str, breaks: bool) {
    let (mut spaces, mut broke) = (false, false);
    let mut rest = text.chars().peekable();
    let mut first = true;
    while let Some(c) = rest.next() {
        if c == ' ' {
            let inner = !first && rest.peek().is_some_and(|next| *next != ' ');
            if breaks && !spaces && writer.column > WIDTH && inner {
                writer.indent_line();
            } else {
                writer.char(' ');
            }
            spaces = true;
        } else if is_break(c) {
            writer.char(c);
            writer.column = 0;
            writer.indention = true;
            broke = true;
        } else {
            if broke {
                writer.indent_line();
            }
            if c == '\'' {
                writer.char('\'');
            }
            writer.char(c);
            writer.indention = false;
            (spaces, broke) = (false, false);
        }
        first = false;
    }
}

fn double_quoted(writer: &mut Writer<'_>, text: &str, breaks: bool) {
    writer.indicator("\"", true, false);
    // go-yaml looks for the byte order mark at the start of the text, whatever the place: such a text is
    // escaped from end to end.
    let marked = text.starts_with('\u{feff}');
    let plain = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut spaces = false;
    while at < bytes.len() {
        if !marked {
            let run = bytes[at..].iter().take_while(|byte| plain(**byte)).count();
            if run > 0 {
                writer.ascii(&text[at..at + run]);
                spaces = false;
                at += run;
                continue;
            }
        }
        let c = text[at..].chars().next().unwrap_or(' ');
        if marked || !is_printable(c) || is_break(c) || matches!(c, '"' | '\\') {
            escape(writer, c);
            spaces = false;
        } else if c == ' ' {
            let inner = at > 0 && at + 1 < bytes.len();
            if breaks && !spaces && writer.column > WIDTH && inner {
                writer.indent_line();
                if bytes[at + 1] == b' ' {
                    writer.char('\\');
                }
            } else {
                writer.char(' ');
            }
            spaces = true;
        } else {
            writer.char(c);
            spaces = false;
        }
        at += c.len_utf8();
    }
    writer.indicator("\"", false, false);
    writer.whitespace = false;
    writer.indention = false;
}

fn escape(writer: &mut Writer<'_>, c: char) {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => {
            let code = u32::from(c);
            let long = match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
            writer.ascii(&long);
            return;
        }
    };
    writer.ascii(short);
}

fn literal(writer: &mut Writer<'_>, text: &str) {
    writer.indicator("|", true, false);
    if text.starts_with(|c| c == ' ' || is_break(c)) {
        writer.indicator("2", false, false);
    }
    let mut ends = text.chars().rev();
    match (ends.next().is_some_and(is_break), ends.next()) {
        (false, _) => writer.indicator("-", false, false),
        (true, None) => writer.indicator("+", false, false),
        (true, Some(c)) if is_break(c) => writer.indicator("+", false, false),
        (true, Some(_)) => {}
    }
    writer.line_break();
    writer.indention = true;
    writer.whitespace = true;
    if text.contains(['\u{2028}', '\u{2029}']) {
        literal_chars(writer, text);
        return;
    }
    for line in text.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        if !content.is_empty() {
            writer.indent_line();
            // Nothing asks for the exact column behind a line of a block.
            writer.ascii(content);
            writer.indention = false;
        }
        if content.len() < line.len() {
            writer.line_break();
            writer.indention = true;
        }
    }
}

/// A literal block with line breaks that are not `\n`.
fn literal_chars(writer: &mut Writer<'_>, text: &str) {
    let mut broke = true;
    for c in text.chars() {
        if is_break(c) {
            writer.char(c);
            writer.column = 0;
            writer.indention = true;
            broke = true;
        } else {
            if broke {
                writer.indent_line();
            }
            writer.char(c);
            writer.indention = false;
            broke = false;
        }
    }
}
