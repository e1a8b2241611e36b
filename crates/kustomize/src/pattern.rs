//! Regular expressions where kustomize has them. Most are plain texts, which need not be compiled.

use regex::Regex;

use crate::error::{Error, Result};

/// A regular expression.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// The whole text is this.
    Is(String),
    /// This is somewhere in the text.
    Holds(String),
    Regex(Regex),
}

impl Pattern {
    /// An expression that the whole text must match.
    pub(crate) fn whole(pattern: &str) -> Result<Self> {
        if is_plain(pattern) {
            Ok(Self::Is(pattern.to_owned()))
        } else {
            compile(&format!("^(?:{pattern})$"), pattern)
        }
    }

    /// An expression that some part of the text must match.
    pub(crate) fn part(pattern: &str) -> Result<Self> {
        if is_plain(pattern) {
            Ok(Self::Holds(pattern.to_owned()))
        } else {
            compile(pattern, pattern)
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(wanted) => wanted == text,
            Self::Holds(wanted) => text.contains(wanted.as_str()),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Whether every character stands for itself.
fn is_plain(pattern: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    pattern.bytes().all(plain)
}

fn compile(expression: &str, shown: &str) -> Result<Pattern> {
    Regex::new(expression)
        .map(Pattern::Regex)
        .map_err(|_| Error::invalid(format!("{shown:?} is not a valid regular expression")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_matches_as_its_expression_does() {
        for pattern in ["", "web", "web-1", "a/b_c"] {
            for text in ["", "web", "web-1", "my-web-1", "a/b_c"] {
                let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
                let part = Regex::new(pattern).unwrap();
                assert_eq!(
                    Pattern::whole(pattern).unwrap().matches(text),
                    whole.is_match(text)
                );
                assert_eq!(
                    Pattern::part(pattern).unwrap().matches(text),
                    part.is_match(text)
                );
            }
        }
    }

    #[test]
    fn anything_else_is_an_expression() {
        assert!(Pattern::whole("we.|db").unwrap().matches("web"));
        assert!(!Pattern::whole("we.|db").unwrap().matches("webs"));
        assert!(Pattern::whole("(").is_err());
    }
}
