//! What a check was found to be, and what it was found from.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a check stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Not decided yet.
    #[default]
    Pending,
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// It held, and somebody or something took that back.
    Revoked,
}

impl Verdict {
    /// `Pending`, `Passed`, `Failed` or `Revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::Revoked => "Revoked",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verdict on one check with what it rests on. It is kept in the status of what asked for it, and is all that the
/// next evaluation needs: a controller that starts anew goes on counting where the last one stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Name of the check.
    pub name: String,
    /// Kind of the check, such as `prometheus`.
    #[serde(default)]
    pub kind: String,
    /// How it stands.
    #[serde(default)]
    pub verdict: Verdict,
    /// For people: what was seen last, or what is waited for. Never a secret value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What was measured last, such as `0.002`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When the evaluation began.
    #[serde(default, with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// When it was last looked at.
    #[serde(default, with = "millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Samples that held.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passes: u32,
    /// Samples that did not hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Samples that said neither: no data, no answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inconclusive: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Times in milliseconds: samples may be a second apart.
mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.unwrap_or_default())
    }
}

impl Evidence {
    /// Nothing is known yet of this check.
    pub fn begin(name: &str, kind: &str, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            since: now,
            at: now,
            ..Self::default()
        }
    }

    /// Whether the verdict is `Passed`.
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }

    /// Whether the verdict is `Failed` or `Revoked`.
    pub fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed | Verdict::Revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_reads_back() {
        let mut evidence = Evidence::begin("error-rate", "prometheus", Timestamp::UNIX_EPOCH);
        assert_eq!(
            serde_json::to_value(&evidence).unwrap(),
            serde_json::json!({"name": "error-rate", "kind": "prometheus", "verdict": "Pending",
                "since": "1970-01-01T00:00:00.000Z", "at": "1970-01-01T00:00:00.000Z"})
        );
        evidence.verdict = Verdict::Passed;
        evidence.passes = 3;
        evidence.value = Some("0.002".to_owned());
        let again: Evidence =
            serde_json::from_value(serde_json::to_value(&evidence).unwrap()).unwrap();
        assert_eq!(again, evidence);
    }

    #[test]
    fn a_sparse_status_can_be_read() {
        let evidence: Evidence = serde_json::from_value(serde_json::json!({"name": "a"})).unwrap();
        assert_eq!(evidence.verdict, Verdict::Pending);
    }
}
