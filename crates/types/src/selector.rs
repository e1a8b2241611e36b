//! Label selectors: the object form (`matchLabels`, `matchExpressions`) and kubectl's text form.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A label selector in its object form. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the label relates to the values.
    pub operator: Operator,
    /// The values; for In and NotIn at least one, for the others none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label relates to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// A selector that cannot be read or makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSelector(String);

impl std::fmt::Display for InvalidSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid label selector: {}", self.0)
    }
}

impl std::error::Error for InvalidSelector {}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl LabelSelector {
    /// Whether these labels match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Checks that each operator has the values that it needs.
    pub fn validate(&self) -> Result<(), InvalidSelector> {
        for requirement in &self.match_expressions {
            let Requirement {
                key,
                operator,
                values,
            } = requirement;
            match operator {
                Operator::In | Operator::NotIn if values.is_empty() => {
                    return Err(InvalidSelector(format!(
                        "{key}: {operator:?} needs at least one value"
                    )));
                }
                Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                    return Err(InvalidSelector(format!(
                        "{key}: {operator:?} takes no values"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads kubectl's form: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let mut selector = Self::default();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    continue;
                }
                return Err(InvalidSelector(format!("empty requirement in {text:?}")));
            }
            selector.match_expressions.push(requirement(part)?);
        }
        Ok(selector)
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, InvalidSelector> {
    let invalid = || InvalidSelector(format!("cannot read {part:?}"));
    let make = |key: &str, operator, values: Vec<String>| {
        let key = key.trim();
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "!=(),<>".contains(c)) {
            return Err(invalid());
        }
        Ok(Requirement {
            key: key.to_owned(),
            operator,
            values,
        })
    };
    if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')').ok_or_else(invalid)?;
        let values = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let head = part[..open].trim_end();
        return if let Some(key) = head.strip_suffix(" notin") {
            make(key, Operator::NotIn, values)
        } else if let Some(key) = head.strip_suffix(" in") {
            make(key, Operator::In, values)
        } else {
            Err(invalid())
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Operator::NotIn, vec![value.trim().to_owned()]);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Operator::In, vec![value.trim().to_owned()]);
    }
    match part.strip_prefix('!') {
        Some(key) => make(key, Operator::DoesNotExist, Vec::new()),
        None => make(part, Operator::Exists, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn text_selectors_match_as_kubectls_do() {
        let cluster = labels(&[("environment", "dev"), ("region", "us-west-2")]);
        for (selector, expected) in [
            ("", true),
            ("environment=dev", true),
            ("environment==dev,region=us-west-2", true),
            ("environment!=dev", false),
            ("team!=blue", true),
            ("environment in (dev, staging)", true),
            ("environment notin (dev,staging),region", false),
            ("region", true),
            ("!region", false),
            ("!team", true),
        ] {
            assert_eq!(
                LabelSelector::parse(selector).unwrap().matches(&cluster),
                expected,
                "{selector}"
            );
        }
        for selector in ["a in b", "a,,b", "a in (b", "=b", "a b"] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn object_selectors_are_checked() {
        let selector = |operator, values: &[&str]| LabelSelector {
            match_expressions: vec![Requirement {
                key: "a".into(),
                operator,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }],
            ..Default::default()
        };
        assert!(selector(Operator::In, &[]).validate().is_err());
        assert!(selector(Operator::Exists, &["x"]).validate().is_err());
        assert!(selector(Operator::NotIn, &["x"]).validate().is_ok());
        assert!(selector(Operator::NotIn, &["x"]).matches(&labels(&[])));
        assert!(!selector(Operator::In, &["x"]).matches(&labels(&[])));
    }
}
