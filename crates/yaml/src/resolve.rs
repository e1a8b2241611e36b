//! What type a scalar has: the rules of yaml.v3 and of go-yaml v2, number by number.

use crate::json::Dialect;
use crate::node::{Scalar, Style};
use crate::timestamp;

/// A scalar's value after its type is decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved<'a> {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false`; with [`Dialect::Kubectl`] also `y`, `yes`, `on` and their opposites.
    Bool(bool),
    /// An integer, in decimal, octal (`0644`, `0o644`), hexadecimal or binary notation.
    Int(i64),
    /// An integer above the largest signed one.
    Uint(u64),
    /// A number with a fraction or an exponent, infinity or not-a-number.
    Float(f64),
    /// A date or a point in time, as RFC 3339 with nanoseconds where they are not zero.
    Timestamp(String),
    /// Text that the tag `!!binary` carried as base64.
    Binary(String),
    /// A string.
    Str(&'a str),
}

impl Resolved<'_> {
    /// What the type is called in messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Resolved::Null => "null",
            Resolved::Bool(_) => "a boolean",
            Resolved::Int(_) | Resolved::Uint(_) => "an integer",
            Resolved::Float(_) => "a number",
            Resolved::Timestamp(_) => "a date",
            Resolved::Binary(_) => "binary data",
            Resolved::Str(_) => "a string",
        }
    }

    fn tag(&self) -> &'static str {
        match self {
            Resolved::Null => "!!null",
            Resolved::Bool(_) => "!!bool",
            Resolved::Int(_) | Resolved::Uint(_) => "!!int",
            Resolved::Float(_) => "!!float",
            Resolved::Timestamp(_) => "!!timestamp",
            Resolved::Binary(_) => "!!binary",
            Resolved::Str(_) => "!!str",
        }
    }
}

impl Scalar {
    /// Decides the type.
    ///
    /// # Errors
    ///
    /// A message, if the scalar has a tag that its text does not fit (`!!int abc`).
    pub fn resolve(&self, dialect: Dialect) -> Result<Resolved<'_>, String> {
        let text = self.text.as_str();
        let tag = match self.tag.as_deref() {
            // yaml.v3 drops the tag `!` before it looks; go-yaml v2 takes it for an unknown tag.
            None => None,
            Some("!") if dialect == Dialect::Kustomize => None,
            Some(tag) => Some(tag),
        };
        let Some(tag) = tag else {
            return Ok(match self.style {
                Style::Plain => resolve_plain(text, dialect, true),
                _ => Resolved::Str(text),
            });
        };
        match tag {
            "!!binary" => binary(text).map(Resolved::Binary),
            "!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp" => {
                let resolved = resolve_plain(text, dialect, tag == "!!timestamp");
                match (tag, resolved) {
                    ("!!float", Resolved::Int(int)) => Ok(Resolved::Float(int as f64)),
                    (_, resolved) if resolved.tag() == tag => Ok(resolved),
                    (_, resolved) => Err(format!(
                        "cannot decode {} `{text}` as a {tag}",
                        resolved.tag()
                    )),
                }
            }
            _ => Ok(Resolved::Str(text)),
        }
    }
}

/// Whether a plain scalar with this text is a string in yaml.v3 and in go-yaml v2.
pub(crate) fn is_plain_string(text: &str) -> bool {
    [Dialect::Kustomize, Dialect::Kubectl]
        .into_iter()
        .all(|dialect| matches!(resolve_plain(text, dialect, true), Resolved::Str(_)))
}

/// The type of a plain scalar, by its first byte and then by its text.
pub(crate) fn resolve_plain(text: &str, dialect: Dialect, timestamps: bool) -> Resolved<'_> {
    let Some(first) = text.as_bytes().first() else {
        return Resolved::Null;
    };
    match first {
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O' => {
            word(text, dialect).unwrap_or(Resolved::Str(text))
        }
        b'.' => dotted(text),
        b'+' | b'-' | b'0'..=b'9' => {
            if timestamps && let Some(time) = timestamp::parse(text) {
                return match dialect {
                    // go-yaml v2 gives the text of a timestamp where no type is asked for.
                    Dialect::Kubectl => Resolved::Timestamp(text.to_owned()),
                    Dialect::Kustomize => Resolved::Timestamp(time),
                };
            }
            number(text, dialect).unwrap_or(Resolved::Str(text))
        }
        _ => Resolved::Str(text),
    }
}

fn word(text: &str, dialect: Dialect) -> Option<Resolved<'static>> {
    match text {
        "~" | "null" | "Null" | "NULL" => Some(Resolved::Null),
        "true" | "True" | "TRUE" => Some(Resolved::Bool(true)),
        "false" | "False" | "FALSE" => Some(Resolved::Bool(false)),
        _ if dialect == Dialect::Kustomize => None,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(Resolved::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(Resolved::Bool(false)),
        _ => None,
    }
}

fn dotted(text: &str) -> Resolved<'_> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" => return Resolved::Float(f64::INFINITY),
        _ => {}
    }
    // Unlike the other numbers, these go to Go's ParseFloat as they are, which wants each underscore
    // between two digits.
    let bytes = text.as_bytes();
    let between = |at: usize| {
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        at > 0 && digit(bytes.get(at - 1)) && digit(bytes.get(at + 1))
    };
    let fits = bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'_' || between(at));
    match float(&without_underscores(text)) {
        Some(float) if fits => Resolved::Float(float),
        _ => Resolved::Str(text),
    }
}

fn number(text: &str, dialect: Dialect) -> Option<Resolved<'static>> {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Some(Resolved::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Resolved::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let plain = without_underscores(text);
    let plain = plain.as_ref();
    if let Some(resolved) = integer(plain) {
        return Some(resolved);
    }
    if let Some(float) = float(plain) {
        return Some(Resolved::Float(float));
    }
    // A sign behind the prefix is a slip of go-yaml's, and so are numbers with one.
    let (digits, radix) = match plain.get(..2)? {
        "0b" => (&plain[2..], 2),
        "0o" if dialect == Dialect::Kustomize => (&plain[2..], 8),
        _ => return None,
    };
    i64::from_str_radix(digits, radix).ok().map(Resolved::Int)
}

fn without_underscores(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('_') {
        text.replace('_', "").into()
    } else {
        text.into()
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then `ParseUint`.
fn integer(text: &str) -> Option<Resolved<'static>> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (Some(false), &text[1..]),
        b'-' => (Some(true), &text[1..]),
        _ => (None, text),
    };
    let bytes = digits.as_bytes();
    let (radix, digits) = match (bytes.first()?, bytes.get(1).map(u8::to_ascii_lowercase)) {
        (b'0', Some(b'x')) => (16, &digits[2..]),
        (b'0', Some(b'o')) => (8, &digits[2..]),
        (b'0', Some(b'b')) => (2, &digits[2..]),
        (b'0', Some(_)) => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust takes a sign of its own here.
    if !digits.as_bytes().first()?.is_ascii_alphanumeric() {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    match (sign, i64::try_from(value)) {
        (Some(true), Ok(value)) => Some(Resolved::Int(-value)),
        (Some(true), Err(_)) if value == i64::MIN.unsigned_abs() => Some(Resolved::Int(i64::MIN)),
        (Some(true), Err(_)) => None,
        (_, Ok(value)) => Some(Resolved::Int(value)),
        (None, Err(_)) => Some(Resolved::Uint(value)),
        // ParseUint takes no sign.
        (Some(false), Err(_)) => None,
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`, as a finite number.
fn float(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(at);
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if whole + fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at.min(bytes.len()));
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    if at != bytes.len() {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// Standard base64 with padding, line breaks ignored, as Go decodes it; what is not UTF-8 in it is
/// replaced, as Go's JSON encoder does.
fn binary(text: &str) -> Result<String, String> {
    let bad = || "!!binary value contains invalid base64 data".to_owned();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut filled, mut padding) = (0_u32, 0, 0);
    for byte in text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if filled >= 2 => {
                padding += 1;
                0
            }
            _ => return Err(bad()),
        };
        if padding > 0 && byte != b'=' || bytes.len() % 3 != 0 {
            return Err(bad());
        }
        group = group << 6 | u32::from(digit);
        filled += 1;
        if filled == 4 {
            let whole = group.to_be_bytes();
            bytes.extend_from_slice(&whole[1..4 - padding]);
            (group, filled) = (0, 0);
        }
    }
    if filled != 0 {
        return Err(bad());
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    Ok(out)
}
