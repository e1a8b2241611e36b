//! Label selectors as text, read word by word as Kubernetes reads them, so that what is wrong gets the same words.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::status::ApiError;
use crate::validate::label_value_error;

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LabelTerm {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

impl LabelTerm {
    pub(super) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            object
                .get("metadata")
                .and_then(|meta| meta.get("labels"))
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        let number = |key: &str| label(key).and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(key, values) => label(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => label(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|n| n > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|n| n < *bound),
        }
    }
}

/// All requirements of a selector.
pub(super) fn parse(text: &str) -> Result<Vec<LabelTerm>, ApiError> {
    let mut reader = Reader {
        words: words(text),
        at: 0,
    };
    reader
        .requirements()
        .map_err(|why| ApiError::bad_request(why.0))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// `!`, `(`, `)`, `,`, `=`, `==`, `!=`, `<`, `>`, or a keyword.
    Sign(&'static str),
    Text(String),
    End,
}

impl Word {
    fn shown(&self) -> &str {
        match self {
            Self::Sign(sign) => sign,
            Self::Text(text) => text,
            Self::End => "",
        }
    }
}

const SIGNS: [&str; 9] = ["==", "!=", "!", "(", ")", ",", "=", "<", ">"];

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            words.push(Word::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "=!(),<>".contains(c))
                .unwrap_or(rest.len());
            words.push(match &rest[..end] {
                "in" => Word::Sign("in"),
                "notin" => Word::Sign("notin"),
                other => Word::Text(other.to_owned()),
            });
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    words
}

struct Reader {
    words: Vec<Word>,
    at: usize,
}

/// What is wrong.
struct Wrong(String);

fn requirement(why: impl std::fmt::Display) -> Wrong {
    Wrong(format!("unable to parse requirement: {why}"))
}

impl Reader {
    fn peek(&self) -> Word {
        self.words.get(self.at).cloned().unwrap_or(Word::End)
    }

    /// The next word as a value: keywords are plain text there.
    fn peek_value(&self) -> Word {
        match self.peek() {
            Word::Sign(word @ ("in" | "notin")) => Word::Text(word.to_owned()),
            other => other,
        }
    }

    fn next(&mut self) -> Word {
        let word = self.peek();
        self.at += 1;
        word
    }

    fn requirements(&mut self) -> Result<Vec<LabelTerm>, Wrong> {
        let mut terms = Vec::new();
        loop {
            match self.peek_value() {
                Word::Text(_) | Word::Sign("!") => {
                    terms.push(self.requirement()?);
                    match self.next() {
                        Word::End => return Ok(terms),
                        Word::Sign(",") => match self.peek_value() {
                            Word::Text(_) | Word::Sign("!") => {}
                            other => {
                                return Err(Wrong(format!(
                                    "found '{}', expected: identifier after ','",
                                    other.shown()
                                )));
                            }
                        },
                        other => {
                            return Err(Wrong(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.shown()
                            )));
                        }
                    }
                }
                Word::End => return Ok(terms),
                other @ Word::Sign(_) => {
                    return Err(Wrong(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.shown()
                    )));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<LabelTerm, Wrong> {
        let absent = self.peek() == Word::Sign("!");
        if absent {
            self.at += 1;
        }
        let key = match self.peek_value() {
            Word::Text(key) => {
                self.at += 1;
                key
            }
            other => {
                return Err(requirement(format!(
                    "found '{}', expected: identifier",
                    other.shown()
                )));
            }
        };
        if let Some(why) = crate::validate::label_key_error(&key) {
            return Err(requirement(format!("<nil>: Invalid value: {key:?}: {why}")));
        }
        if absent {
            return Ok(LabelTerm::Absent(key));
        }
        if matches!(self.peek(), Word::End | Word::Sign(",")) {
            return Ok(LabelTerm::Exists(key));
        }
        let operator = self.next();
        match &operator {
            Word::Sign("in" | "notin") => {
                let values = self.values(&key)?;
                Ok(if operator == Word::Sign("in") {
                    LabelTerm::In(key, values)
                } else {
                    LabelTerm::NotIn(key, values)
                })
            }
            Word::Sign("=" | "==" | "!=") => {
                let value = self.exact()?;
                check_value(&key, &value)?;
                Ok(if operator == Word::Sign("!=") {
                    LabelTerm::NotIn(key, BTreeSet::from([value]))
                } else {
                    LabelTerm::In(key, BTreeSet::from([value]))
                })
            }
            Word::Sign(sign @ ("<" | ">")) => {
                let value = self.exact()?;
                let bound = value.parse().map_err(|_| {
                    requirement(format!(
                        "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    ))
                })?;
                Ok(if *sign == ">" {
                    LabelTerm::Greater(key, bound)
                } else {
                    LabelTerm::Less(key, bound)
                })
            }
            other => Err(requirement(format!(
                "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                other.shown()
            ))),
        }
    }

    fn exact(&mut self) -> Result<String, Wrong> {
        match self.peek_value() {
            Word::End | Word::Sign(",") => Ok(String::new()),
            Word::Text(value) => {
                self.at += 1;
                Ok(value)
            }
            other @ Word::Sign(_) => Err(requirement(format!(
                "found '{}', expected: identifier",
                other.shown()
            ))),
        }
    }

    /// `(a, b)`; a value may be empty.
    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, Wrong> {
        let open = self.next();
        if open != Word::Sign("(") {
            return Err(requirement(format!(
                "found '{}' expected: '('",
                open.shown()
            )));
        }
        let mut values = BTreeSet::new();
        let mut last = String::new();
        loop {
            match self.peek_value() {
                Word::Text(text) => {
                    self.at += 1;
                    last = text;
                }
                Word::Sign(sign @ ("," | ")")) => {
                    self.at += 1;
                    check_value(key, &last)?;
                    values.insert(std::mem::take(&mut last));
                    if sign == ")" {
                        return Ok(values);
                    }
                }
                other => {
                    return Err(requirement(format!(
                        "found '{}', expected: ',', or ')'",
                        other.shown()
                    )));
                }
            }
        }
    }
}

fn check_value(key: &str, value: &str) -> Result<(), Wrong> {
    match label_value_error(value) {
        Some(why) => Err(requirement(format!(
            "values[0][{key}]: Invalid value: {value:?}: {why}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(text: &str, labels: &Value) -> bool {
        parse(text)
            .unwrap()
            .iter()
            .all(|term| term.matches(&json!({"metadata": {"labels": labels}})))
    }

    #[test]
    fn labels_are_selected_as_kubectl_writes_them() {
        let labels = json!({"env": "dev", "tier": "web", "n": "7"});
        for text in [
            "env=dev",
            "env==dev,tier",
            "env in (dev, staging),tier!=db",
            "region notin (eu),!gone",
            "n>6,n<8",
        ] {
            assert!(selects(text, &labels), "{text}");
        }
        for text in ["env=prod", "!tier", "env notin (dev)", "region", "n>7"] {
            assert!(!selects(text, &labels), "{text}");
        }
    }

    #[test]
    fn broken_selectors_are_refused() {
        for text in ["env in (a", "a b", "a=b,", "(", "!", "a in b", "n>x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
