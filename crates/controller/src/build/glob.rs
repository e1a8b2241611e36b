//! The shell patterns of `${v#pattern}` and its kin: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before any of them. Unlike in
//! a path, `*` matches slashes too.

/// The pattern is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPattern;

#[derive(Debug, PartialEq)]
enum Piece {
    Star,
    Any,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A parsed pattern.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Piece>);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' => {
                    if pieces.last() == Some(&Piece::Star) {
                        continue;
                    }
                    Piece::Star
                }
                '?' => Piece::Any,
                '\\' => Piece::Literal(chars.next().ok_or(BadPattern)?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                            break;
                        }
                        let low = class_char(&mut chars)?;
                        let high = if chars.next_if_eq(&'-').is_some() {
                            class_char(&mut chars)?
                        } else {
                            low
                        };
                        ranges.push((low, high));
                    }
                    Piece::Class { negated, ranges }
                }
                c => Piece::Literal(c),
            });
        }
        Ok(Self(pieces))
    }

    /// Whether the pattern matches all of `text`; never takes more than pattern × text steps.
    pub(crate) fn matches(&self, text: &[char]) -> bool {
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.0.get(p) {
                Some(Piece::Star) => {
                    star = Some((p, t));
                    p += 1;
                    continue;
                }
                Some(piece) if piece.accepts(text[t]) => {
                    p += 1;
                    t += 1;
                    continue;
                }
                _ => {}
            }
            let Some((at, from)) = star else { return false };
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        }
        self.0[p..].iter().all(|piece| *piece == Piece::Star)
    }
}

impl Piece {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::Literal(l) => *l == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match chars.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern)
            .unwrap()
            .matches(&text.chars().collect::<Vec<_>>())
    }

    #[test]
    fn matches_like_a_shell() {
        assert!(matches("*/", "a/b/"));
        assert!(matches("a?c", "abc"));
        assert!(matches("[a-c]x[^a-c]", "bxd"));
        assert!(!matches("[a-c]x[^a-c]", "bxb"));
        assert!(matches(r"\*", "*"));
        assert!(!matches(r"\*", "x"));
        assert!(matches("*a*b*", "xxaxxbxx"));
        assert!(!matches("*a*b", "xxaxxbxx"));
        assert!(matches("", ""));
        assert!(Pattern::parse("[a").is_err());
        assert!(Pattern::parse("[]").is_err());
        assert!(Pattern::parse("\\").is_err());
    }
}
