//! `status.history` of a Kustomization: the last attempts, counted by what was applied and how it went.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{condition::seconds, duration::Duration};

/// A record of reconciliations of the same objects with the same outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Checksum of the objects, `<algorithm>:<hex>`.
    pub digest: String,
    /// When these objects were first reconciled.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first_reconciled: Timestamp,
    /// When these objects were last reconciled.
    #[serde(with = "seconds")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_reconciled: Timestamp,
    /// How long the last reconciliation took.
    #[schemars(with = "String")]
    pub last_reconciled_duration: Duration,
    /// The Ready reason that it ended with.
    pub last_reconciled_status: String,
    /// How often these objects were reconciled with this outcome.
    pub total_reconciliations: i64,
    /// More about the snapshot: `revision`, `originRevision`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The number of snapshots that are kept.
pub const HISTORY_LENGTH: usize = 5;

/// Adds one reconciliation to a history: counted with the snapshot of the same digest and status, else put first.
pub fn record(history: &mut Vec<Snapshot>, attempt: Snapshot) {
    let same = history.iter().position(|known| {
        known.digest == attempt.digest
            && known.last_reconciled_status == attempt.last_reconciled_status
    });
    let entry = match same {
        Some(index) => {
            let known = history.remove(index);
            Snapshot {
                first_reconciled: known.first_reconciled,
                total_reconciliations: known.total_reconciliations.saturating_add(1),
                ..attempt
            }
        }
        None => Snapshot {
            total_reconciliations: 1,
            ..attempt
        },
    };
    history.insert(0, entry);
    history.truncate(HISTORY_LENGTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_counts_repetitions_and_keeps_five() {
        let mut history = Vec::new();
        let attempt = |digest: &str, second: i64| Snapshot {
            digest: digest.into(),
            first_reconciled: Timestamp::from_second(second).unwrap(),
            last_reconciled: Timestamp::from_second(second).unwrap(),
            last_reconciled_status: "ReconciliationSucceeded".into(),
            ..Default::default()
        };
        record(&mut history, attempt("a", 1));
        record(&mut history, attempt("b", 2));
        record(&mut history, attempt("a", 3));
        assert_eq!(history.len(), 2);
        assert_eq!(
            (history[0].digest.as_str(), history[0].total_reconciliations),
            ("a", 2)
        );
        assert_eq!(
            history[0].first_reconciled,
            Timestamp::from_second(1).unwrap()
        );
        assert_eq!(
            history[0].last_reconciled,
            Timestamp::from_second(3).unwrap()
        );
        for (second, digest) in (10..).zip(["c", "d", "e", "f", "g"]) {
            record(&mut history, attempt(digest, second));
        }
        assert_eq!(history.len(), HISTORY_LENGTH);
        assert_eq!(history[0].digest, "g");
    }
}
