//! Freezes: nothing is promoted until a time, or until somebody says so. They are annotations of a Pipeline.
//!
//! The value is JSON (`{"until": "2026-12-01T08:00:00Z", "reason": "holidays", "by": "ann"}`), a time, or a reason in plain
//! words. What cannot be read freezes all the same: a typing error must not let a release through.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Annotation that freezes a whole Pipeline; with `.<stage>` behind it, one stage.
pub const FREEZE: &str = "fleet.fairway.dev/freeze";

/// A freeze.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Freeze {
    /// Reads the value of an annotation; nothing where it says `false`.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if value.eq_ignore_ascii_case("false") {
            return None;
        }
        let mut freeze = Self::default();
        if value.starts_with('{') {
            return Some(serde_json::from_str(value).unwrap_or_else(|_| Self {
                reason: Some(format!("the annotation cannot be read: {value}")),
                ..Self::default()
            }));
        }
        if let Ok(until) = value.parse() {
            freeze.until = Some(until);
        } else if !value.is_empty() && !value.eq_ignore_ascii_case("true") {
            freeze.reason = Some(value.to_owned());
        }
        Some(freeze)
    }

    /// As the value of an annotation.
    pub fn to_annotation(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "true".to_owned())
    }

    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The freeze of a stage by the annotations of its Pipeline: its own, or that of the whole; the one that ends later.
    pub fn of(annotations: &BTreeMap<String, String>, stage: &str, now: Timestamp) -> Option<Self> {
        [FREEZE.to_owned(), format!("{FREEZE}.{stage}")]
            .iter()
            .filter_map(|key| Self::parse(annotations.get(key)?))
            .filter(|freeze| !freeze.is_over(now))
            .max_by_key(|freeze| freeze.until.unwrap_or(Timestamp::MAX))
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frozen")?;
        if let Some(until) = self.until {
            write!(f, " until {}", until.strftime("%Y-%m-%dT%H:%M:%SZ"))?;
        }
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_read() {
        let shown = |value: &str| Freeze::parse(value).map(|freeze| freeze.to_string());
        for (value, expected) in [
            (
                r#"{"until": "2026-12-01T08:00:00Z", "reason": "holidays", "by": "ann"}"#,
                "frozen until 2026-12-01T08:00:00Z by ann: holidays",
            ),
            (
                "2026-12-01T09:00:00+01:00",
                "frozen until 2026-12-01T08:00:00Z",
            ),
            ("audit week", "frozen: audit week"),
            ("true", "frozen"),
            ("", "frozen"),
            (
                r#"{"until": "soon"}"#,
                r#"frozen: the annotation cannot be read: {"until": "soon"}"#,
            ),
        ] {
            assert_eq!(shown(value).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(shown("false"), None);
        let freeze = Freeze::parse(r#"{"reason": "a \"b\"", "by": "ann"}"#).unwrap();
        assert_eq!(Freeze::parse(&freeze.to_annotation()), Some(freeze));
    }

    #[test]
    fn a_stage_is_frozen_by_its_own_or_the_whole() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let annotations = BTreeMap::from([
            (FREEZE.to_owned(), "2026-11-22T13:00:00Z".to_owned()),
            (format!("{FREEZE}.prod"), "2026-11-23T00:00:00Z".to_owned()),
            (
                format!("{FREEZE}.staging"),
                "2026-11-22T11:00:00Z".to_owned(),
            ),
        ]);
        let until = |stage: &str, now| {
            Freeze::of(&annotations, stage, now).map(|freeze| freeze.until.unwrap().to_string())
        };
        assert_eq!(until("prod", now).as_deref(), Some("2026-11-23T00:00:00Z"));
        assert_eq!(
            until("staging", now).as_deref(),
            Some("2026-11-22T13:00:00Z")
        );
        assert_eq!(
            until("staging", "2026-11-22T13:00:00Z".parse().unwrap()),
            None
        );
    }
}
