//! Variable substitution as Flux's `postBuild` does it: the part of a shell's `${…}` that
//! [fluxcd/pkg/envsubst](https://pkg.go.dev/github.com/fluxcd/pkg/envsubst) knows.
//!
//! | expression | result |
//! |---|---|
//! | `${v}` | the value |
//! | `${#v}` | its length in bytes |
//! | `${v^}` `${v^^}` `${v,}` `${v,,}` | first or all letters in upper or lower case |
//! | `${v:n}` `${v:n:len}` | bytes from n; negative counts from the end |
//! | `${v#p}` `${v##p}` `${v%p}` `${v%%p}` | without the shortest or longest prefix or suffix that matches p |
//! | `${v/a/b}` `${v//a/b}` `${v/#a/b}` `${v/%a/b}` | the first, each, a leading, a trailing `a` replaced |
//! | `${v=d}` `${v:=d}` `${v:-d}` | d where v is empty or not set |
//! | `$${v}` | the text `${v}` |
//!
//! `${v:?d}` and `${v:+d}` are read, and mean what `${v:-d}` means, as there. Errors name variables, never values.

use std::borrow::Cow;

use super::glob::Pattern;

/// Why a text could not be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An expression that follows no rule.
    #[error("bad substitution at byte {0}")]
    BadSubstitution(usize),
    /// `${name` without an end or with an operator that is not known.
    #[error("missing closing brace after ${{{0}")]
    MissingClosingBrace(String),
    /// `${` without a name.
    #[error("unable to parse variable name at byte {0}; write $${{ for a literal ${{")]
    VariableName(usize),
    /// The argument of a function cannot be read.
    #[error("unable to parse substitution within function of ${{{0}")]
    Argument(String),
    /// A variable has neither a value nor a default, in strict mode.
    #[error("variable not set (strict mode): \"{0}\"")]
    NotSet(String),
    /// Expressions in expressions in expressions.
    #[error("substitutions are nested too deeply in ${{{0}")]
    TooDeep(String),
    /// Pattern functions on a value of this size would take too long.
    #[error("the value of \"{0}\" is too long for a pattern (the limit is 64 KiB)")]
    TooLong(String),
}

const MAX_DEPTH: usize = 32;
const MAX_PATTERN_VALUE: usize = 64 * 1024;

/// Replaces the expressions in `text`; `lookup` gives the value of a variable. In strict mode a variable without value
/// and without default is an error, else it is the empty string.
pub fn substitute<'v>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
) -> Result<String, Error> {
    let mut reader = Reader {
        text,
        at: 0,
        lookup,
        strict,
    };
    let mut out = String::with_capacity(text.len());
    while let Some(c) = reader.peek() {
        if reader.starts_expression() {
            reader.at += 2;
            out.push_str(&reader.expression(0)?);
        } else if c == '$' && reader.text[reader.at + 1..].starts_with('$') {
            reader.at += 2;
            out.push('$');
        } else {
            reader.at += c.len_utf8();
            out.push(c);
        }
    }
    Ok(out)
}

struct Reader<'t, 'v> {
    text: &'t str,
    at: usize,
    lookup: &'t dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
}

impl<'t, 'v> Reader<'t, 'v> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn starts_expression(&self) -> bool {
        self.rest().starts_with("${")
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.eat('}') {
            Ok(())
        } else {
            Err(Error::BadSubstitution(self.at))
        }
    }

    fn name(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn value(&self, name: &str) -> Result<Cow<'v, str>, Error> {
        match (self.lookup)(name) {
            Some(value) => Ok(Cow::Borrowed(value)),
            None if self.strict => Err(Error::NotSet(name.to_owned())),
            None => Ok(Cow::Borrowed("")),
        }
    }

    /// Everything after `${`, the closing brace included.
    fn expression(&mut self, depth: usize) -> Result<String, Error> {
        if self.eat('#') {
            let at = self.at;
            let name = self.name();
            if name.is_empty() {
                return Err(Error::BadSubstitution(at));
            }
            self.close()?;
            return Ok(self.value(name)?.len().to_string());
        }
        let at = self.at;
        let name = self.name();
        if name.is_empty() {
            return Err(Error::VariableName(at));
        }
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep(name.to_owned()));
        }
        match self.peek() {
            Some('}') => {
                self.at += 1;
                Ok(self.value(name)?.into_owned())
            }
            Some(':') => {
                self.at += 1;
                match self.peek() {
                    Some('=' | '-' | '?' | '+') => {
                        self.at += 1;
                        self.default(name, depth)
                    }
                    _ => self.substring(name, depth),
                }
            }
            Some('=') => {
                self.at += 1;
                self.default(name, depth)
            }
            Some(',' | '^') => self.case(name),
            Some('/') => self.replace(name, depth),
            Some(op @ ('#' | '%')) => self.trim(name, op, depth),
            _ => Err(Error::MissingClosingBrace(name.to_owned())),
        }
    }

    /// One argument: either an expression, or text up to `end`. With `escapes`, `\/`, `\\` and `$$` stand for their
    /// last character.
    fn argument(
        &mut self,
        name: &str,
        end: impl Fn(char) -> bool,
        escapes: bool,
        depth: usize,
    ) -> Result<String, Error> {
        if self.starts_expression() {
            self.at += 2;
            return self.expression(depth + 1);
        }
        let start = self.at;
        let mut out = String::new();
        while let Some(c) = self.peek() {
            let next = self.rest()[c.len_utf8()..].chars().next();
            if self.starts_expression() {
                break;
            }
            if escapes && matches!((c, next), ('$', Some('$')) | ('\\', Some('/' | '\\'))) {
                self.at += 2;
                out.extend(next);
                continue;
            }
            if end(c) {
                break;
            }
            self.at += c.len_utf8();
            out.push(c);
        }
        if self.at == start {
            Err(Error::Argument(name.to_owned()))
        } else {
            Ok(out)
        }
    }

    fn default(&mut self, name: &str, depth: usize) -> Result<String, Error> {
        let mut fallback = String::new();
        while self.peek() != Some('}') {
            fallback.push_str(&self.argument(name, |c| c == '}', false, depth)?);
        }
        self.close()?;
        match (self.lookup)(name) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Ok(fallback),
        }
    }

    fn substring(&mut self, name: &str, depth: usize) -> Result<String, Error> {
        let offset = self.argument(name, |c| matches!(c, ':' | '}'), false, depth)?;
        let length = if self.eat('}') {
            None
        } else {
            if !self.eat(':') {
                return Err(Error::BadSubstitution(self.at));
            }
            while self.eat(':') {}
            let length = self.argument(name, |c| c == '}', false, depth)?;
            self.close()?;
            Some(length)
        };
        Ok(substring(&self.value(name)?, &offset, length.as_deref()))
    }

    fn case(&mut self, name: &str) -> Result<String, Error> {
        let start = self.at;
        while self.at - start < 2 && matches!(self.peek(), Some(',' | '^')) {
            self.at += 1;
        }
        let op = &self.text[start..self.at];
        self.close()?;
        let value = self.value(name)?;
        Ok(match op {
            "^^" => value.chars().map(upper).collect(),
            ",," => value.chars().map(lower).collect(),
            "^" => first(&value, upper),
            "," => first(&value, lower),
            _ => value.into_owned(),
        })
    }

    fn replace(&mut self, name: &str, depth: usize) -> Result<String, Error> {
        self.at += 1;
        let mode = self.peek().filter(|c| matches!(c, '/' | '#' | '%'));
        self.at += usize::from(mode.is_some());
        let pattern = self.argument(name, |c| c == '/', true, depth)?;
        if !self.eat('/') {
            return Err(Error::BadSubstitution(self.at));
        }
        while self.eat('/') {}
        let with = if self.peek() == Some('}') {
            None
        } else {
            Some(self.argument(name, |c| c == '}', true, depth)?)
        };
        self.close()?;
        let value = self.value(name)?;
        let to = with.as_deref().unwrap_or("");
        Ok(match mode {
            None => value.replacen(&pattern, to, 1),
            Some('/') => value.replace(&pattern, to),
            // Without a replacement these two do nothing; so it is in Flux.
            Some('#') => match value.strip_prefix(&pattern) {
                Some(rest) if with.is_some() => format!("{to}{rest}"),
                _ => value.into_owned(),
            },
            Some(_) => match value.strip_suffix(&pattern) {
                Some(rest) if with.is_some() => format!("{rest}{to}"),
                _ => value.into_owned(),
            },
        })
    }

    fn trim(&mut self, name: &str, op: char, depth: usize) -> Result<String, Error> {
        self.at += 1;
        let longest = self.eat(op);
        let pattern = self.argument(name, |c| c == '}', false, depth)?;
        self.close()?;
        let value = self.value(name)?;
        if value.len() > MAX_PATTERN_VALUE || pattern.len() > 1024 {
            return Err(Error::TooLong(name.to_owned()));
        }
        let mut chars: Vec<char> = value.chars().collect();
        if op == '#' {
            trim_prefix(&mut chars, &pattern, longest);
        } else {
            chars.reverse();
            trim_prefix(
                &mut chars,
                &pattern.chars().rev().collect::<String>(),
                longest,
            );
            chars.reverse();
        }
        Ok(chars.into_iter().collect())
    }
}

fn trim_prefix(chars: &mut Vec<char>, pattern: &str, longest: bool) {
    let Ok(pattern) = Pattern::parse(pattern) else {
        return;
    };
    let mut lengths = 1..=chars.len();
    let found = if longest {
        lengths.rev().find(|n| pattern.matches(&chars[..*n]))
    } else {
        lengths.find(|n| pattern.matches(&chars[..*n]))
    };
    if let Some(length) = found {
        chars.drain(..length);
    }
}

/// One letter for one letter: what grows in Unicode (ß) stays as it is.
fn upper(c: char) -> char {
    let mut up = c.to_uppercase();
    match (up.next(), up.next()) {
        (Some(u), None) => u,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut low = c.to_lowercase();
    match (low.next(), low.next()) {
        (Some(l), None) => l,
        _ => c,
    }
}

fn first(value: &str, change: fn(char) -> char) -> String {
    let mut chars = value.chars();
    chars.next().map(change).into_iter().chain(chars).collect()
}

/// Positions are bytes; a character that is cut through becomes U+FFFD.
fn substring(value: &str, offset: &str, length: Option<&str>) -> String {
    let Ok(mut from) = offset.parse::<i64>() else {
        return value.to_owned();
    };
    let total = value.len() as i64;
    if from < 0 {
        from = from.saturating_add(total).max(0);
    }
    let to = match length.map(str::parse::<i64>) {
        None => total,
        Some(Err(_)) => return value.to_owned(),
        Some(Ok(length)) if length < 0 => total.saturating_add(length),
        Some(Ok(length)) => from.saturating_add(length).min(total),
    };
    if to <= from || from >= total {
        return String::new();
    }
    String::from_utf8_lossy(&value.as_bytes()[from as usize..to as usize]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(text: &str) -> Result<String, Error> {
        let lookup = |name: &str| match name {
            "v" => Some("hello world"),
            "path" => Some("a/b/c.tar.gz"),
            "empty" => Some(""),
            "n" => Some("3"),
            _ => None,
        };
        substitute(text, &lookup, false)
    }

    #[track_caller]
    fn gives(text: &str, want: &str) {
        assert_eq!(run(text).as_deref(), Ok(want), "{text}");
    }

    #[test]
    fn values_and_defaults() {
        gives("<${v}>", "<hello world>");
        gives("${unset}", "");
        gives("${unset:-d}", "d");
        gives("${unset:=d}", "d");
        gives("${unset=d}", "d");
        gives("${empty:-d}", "d");
        gives("${v:-d}", "hello world");
        gives("${unset:-${n}x${v}}", "3xhello world");
        gives("${unset:-}", "");
        gives("${unset:-a:b/c}", "a:b/c");
        gives("${unset:-${other:-deep}}", "deep");
    }

    #[test]
    fn escapes_and_plain_dollars() {
        gives("$${v}", "${v}");
        gives("$$v", "$v");
        gives("$v $ a$", "$v $ a$");
        gives("cost: 5$ {x}", "cost: 5$ {x}");
    }

    #[test]
    fn lengths_and_cases() {
        gives("${#v}", "11");
        gives("${v^}", "Hello world");
        gives("${v^^}", "HELLO WORLD");
        gives("${v,}", "hello world");
        gives("${v,,}", "hello world");
    }

    #[test]
    fn substrings() {
        gives("${v:6}", "world");
        gives("${v:0:5}", "hello");
        gives("${v:-5}", "hello world"); // a default, not a negative offset
        gives("${v:1:-1}", "ello worl");
        gives("${v:99}", "");
        gives("${v:0:99}", "hello world");
        gives("${v:x}", "hello world");
        gives("${v:${n}:2}", "lo");
        gives("${v:9223372036854775807:9223372036854775807}", "");
    }

    #[test]
    fn prefixes_and_suffixes() {
        gives("${path#*/}", "b/c.tar.gz");
        gives("${path##*/}", "c.tar.gz");
        gives("${path%.*}", "a/b/c.tar");
        gives("${path%%.*}", "a/b/c");
        gives("${path#zzz}", "a/b/c.tar.gz");
    }

    #[test]
    fn replacements() {
        gives("${v/o/0}", "hell0 world");
        gives("${v//o/0}", "hell0 w0rld");
        gives("${v/#hello/bye}", "bye world");
        gives("${v/%world/moon}", "hello moon");
        gives("${path//\\//-}", "a-b-c.tar.gz");
        gives("${v/o/}", "hell world");
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(run("${v"), Err(Error::MissingClosingBrace("v".into())));
        assert_eq!(run("${v-x}"), Err(Error::MissingClosingBrace("v".into())));
        assert_eq!(run("${.x}"), Err(Error::VariableName(2)));
        assert_eq!(run("${}"), Err(Error::VariableName(2)));
        assert_eq!(run("${v:}"), Err(Error::Argument("v".into())));
        assert_eq!(run("${v#}"), Err(Error::Argument("v".into())));
        assert_eq!(run("${v:-"), Err(Error::Argument("v".into())));
        assert_eq!(run("${#}"), Err(Error::BadSubstitution(3)));
        let deep = format!("{}x{}", "${a:-".repeat(99), "}".repeat(99));
        assert_eq!(run(&deep), Err(Error::TooDeep("a".into())));
    }

    #[test]
    fn strict_wants_a_value_or_a_default() {
        let none = |_: &str| None;
        assert_eq!(
            substitute("${a}", &none, true),
            Err(Error::NotSet("a".into()))
        );
        assert_eq!(
            substitute("${a^^}", &none, true),
            Err(Error::NotSet("a".into()))
        );
        assert_eq!(substitute("${a:-b}", &none, true).as_deref(), Ok("b"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$${}#%/^,:=+?v \\\\*\\[\\]\u{e9}a-c0-9-]{0,40}", value in "[a-c\u{e9}/*]{0,8}") {
            let lookup = |name: &str| name.starts_with(['v', 'a']).then_some(value.as_str());
            let _ = substitute(&text, &lookup, false);
            let _ = substitute(&text, &lookup, true);
        }

        #[test]
        fn text_without_dollars_is_left_alone(text in "[^$]{0,40}") {
            prop_assert_eq!(substitute(&text, &|_| None, true).unwrap(), text);
        }
    }
}
