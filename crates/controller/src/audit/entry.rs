//! One entry: who, what, from, to, what was asked, and what came of it.

use fairway_types::approval::Decision;
use fairway_types::check::Verdict;
use fairway_types::promotion::{AuditRecord, Intent, Promotion};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::change::{Mark, Message, Trailers};

/// The most that one text of an entry may hold, in characters.
const LONGEST: usize = 2_000;

/// An entry of the audit log, as its JSON file holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Format of the file: `fleet.fairway.dev/audit/v1`.
    pub schema: String,
    /// The Promotion's uid and the number of the event in it.
    pub id: String,
    /// When it happened.
    pub time: Timestamp,
    /// What happened: `Requested`, `GateFailed`, `Committed`, `Rejected`, `RolledBack`, …
    pub event: String,
    /// Who did it, where that was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `<namespace>/<name>` of the Pipeline.
    pub pipeline: String,
    /// The stage.
    pub stage: String,
    /// `<namespace>/<name>` of the Promotion.
    pub promotion: String,
    /// Its uid.
    pub uid: String,
    /// Whether it goes on or back.
    pub intent: Intent,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What people said until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Gates and verification until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// The commits until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<Commit>,
    /// The clusters that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// The Promotion's phase.
    pub outcome: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What one person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub approver: String,
    /// What.
    pub decision: Decision,
    /// When.
    pub at: Timestamp,
    /// Why it does not count, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// What a check said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// What it said.
    pub verdict: Verdict,
    /// When it was last asked.
    pub at: Timestamp,
    /// What was measured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What was seen, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A commit of the Promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Its id.
    pub sha: String,
    /// Whether it goes on or back.
    pub kind: Intent,
    /// Address of the pull request that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
}

/// An entry that can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit entry {id:?}: {reason}")]
pub struct InvalidEntry {
    /// Its id.
    pub id: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl Entry {
    /// The format that is written.
    pub const SCHEMA: &'static str = "fleet.fairway.dev/audit/v1";

    /// The entry of an event that waits in a Promotion's status; `clusters` are those that it is for.
    pub fn of(promotion: &Promotion, record: &AuditRecord, clusters: &[String]) -> Self {
        let spec = &promotion.spec;
        let status = promotion.status.clone().unwrap_or_default();
        let namespace = promotion.metadata.namespace.as_deref().unwrap_or_default();
        let name = promotion.metadata.name.as_deref().unwrap_or_default();
        let uid = promotion.metadata.uid.clone().unwrap_or_default();
        let mut commits: Vec<Commit> = status
            .commits
            .iter()
            .map(|commit| Commit {
                sha: commit.sha.clone(),
                kind: commit.kind,
                pull_request: commit.pull_request.clone(),
            })
            .collect();
        if let Some(sha) = &record.commit
            && commits.iter().all(|commit| commit.sha != *sha)
        {
            commits.push(Commit {
                sha: sha.clone(),
                kind: spec.intent,
                pull_request: None,
            });
        }
        let short = |text: &Option<String>| -> Option<String> {
            text.as_ref()
                .map(|text| text.chars().take(LONGEST).collect())
        };
        Self {
            schema: Self::SCHEMA.to_owned(),
            id: format!("{uid}-{}", record.number),
            time: record.time,
            event: record.event.clone(),
            actor: record.actor.clone(),
            message: short(&record.message),
            pipeline: format!("{namespace}/{}", spec.pipeline_ref.name),
            stage: spec.stage.clone(),
            promotion: format!("{namespace}/{name}"),
            uid,
            intent: spec.intent,
            requested_by: spec.requested_by.clone(),
            reason: short(&spec.reason),
            from: status.from.or_else(|| spec.from.clone()),
            to: status.to.or_else(|| spec.version.clone()),
            approvals: status
                .approvals
                .into_iter()
                .map(|approval| Approval {
                    approver: approval.approver,
                    decision: approval.decision,
                    at: approval.at,
                    ignored: approval.ignored,
                })
                .collect(),
            gates: status
                .gates
                .into_iter()
                .chain(status.verification)
                .map(|check| Gate {
                    name: check.name,
                    kind: check.kind,
                    verdict: check.verdict,
                    at: check.at,
                    value: short(&check.value),
                    message: check.message.chars().take(LONGEST).collect(),
                })
                .collect(),
            commits,
            clusters: clusters.to_vec(),
            outcome: status.phase.as_str().to_owned(),
            failure: short(&status.failure),
        }
    }

    /// Where the entry is in the log: `2026/11/22/153000Z-<id>.json`, so that those since a day are found without a look at
    /// the others.
    pub fn path(&self) -> Result<String, InvalidEntry> {
        let invalid = |reason| InvalidEntry {
            id: self.id.chars().take(100).collect(),
            reason,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.id.is_empty() || self.id.len() > 200 || !self.id.chars().all(is_name) {
            return Err(invalid(
                "its id has other characters than letters, digits, '-', '_' and '.'",
            ));
        }
        let time = self.time.to_zoned(TimeZone::UTC);
        if !(1970..=9999).contains(&time.year()) {
            return Err(invalid("its time can't be written"));
        }
        Ok(format!(
            "{:04}/{:02}/{:02}/{:02}{:02}{:02}Z-{}.json",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            self.id
        ))
    }

    /// The text of the file.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("an entry holds only what JSON can");
        text + "\n"
    }

    /// What the commit of the entry says.
    pub(super) fn commit_message(&self) -> String {
        let (what, from, to) = (
            &self.pipeline,
            self.from.as_deref().unwrap_or("?"),
            self.to.as_deref().unwrap_or("?"),
        );
        let by = self.actor.as_deref().or(self.requested_by.as_deref());
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        // The same cleaning as the commits of promotions have.
        let message = Message {
            subject: format!("{} {what} {}: {from} -> {to}{by}", self.event, self.stage),
            reason: self.message.clone(),
            trailers: Trailers {
                pipeline: self.pipeline.clone(),
                stage: self.stage.clone(),
                from: self.from.clone(),
                to: self.to.clone(),
                clusters: Vec::new(),
                requested_by: self.requested_by.clone(),
                approved_by: Vec::new(),
                mark: Mark {
                    promotion: self.promotion.clone(),
                    uid: self.uid.clone(),
                    intent: self.intent,
                },
            },
        };
        message.text(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_says_who_what_and_what_came_of_it() {
        let promotion: Promotion = serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Promotion",
            "metadata": {"name": "myapp-prod-7", "namespace": "flux-system", "uid": "5ac9"},
            "spec": {"pipelineRef": {"name": "myapp"}, "stage": "prod", "intent": "promote", "version": "1.1.0",
                     "requestedBy": "ann", "reason": "Because."},
            "status": {
                "phase": "RollingOut", "from": "1.0.0", "to": "1.1.0",
                "commits": [{"sha": "ab12", "kind": "promote", "time": "2026-11-22T15:30:00Z"}],
                "gates": [{"name": "error-rate", "kind": "prometheus", "verdict": "Passed", "value": "0.002",
                           "since": "2026-11-22T15:00:00Z", "at": "2026-11-22T15:20:00Z"}],
                "approvals": [{"name": "a", "approver": "bob", "decision": "approve", "at": "2026-11-22T15:10:00Z"}],
            },
        }))
        .unwrap();
        let record: AuditRecord = serde_json::from_value(json!({
            "number": 4, "time": "2026-11-22T15:30:01Z", "event": "Committed", "message": "It is on main", "commit": "ab12",
        }))
        .unwrap();
        let entry = Entry::of(&promotion, &record, &["eu".into(), "us".into()]);
        assert_eq!(entry.path().unwrap(), "2026/11/22/153001Z-5ac9-4.json");
        assert_eq!(
            serde_json::to_value(&entry).unwrap(),
            json!({
                "schema": "fleet.fairway.dev/audit/v1", "id": "5ac9-4", "time": "2026-11-22T15:30:01Z",
                "event": "Committed", "message": "It is on main", "pipeline": "flux-system/myapp", "stage": "prod",
                "promotion": "flux-system/myapp-prod-7", "uid": "5ac9", "intent": "promote", "requestedBy": "ann",
                "reason": "Because.", "from": "1.0.0", "to": "1.1.0",
                "approvals": [{"approver": "bob", "decision": "approve", "at": "2026-11-22T15:10:00Z"}],
                "gates": [{"name": "error-rate", "kind": "prometheus", "verdict": "Passed", "value": "0.002",
                           "at": "2026-11-22T15:20:00Z"}],
                "commits": [{"sha": "ab12", "kind": "promote"}],
                "clusters": ["eu", "us"], "outcome": "RollingOut",
            })
        );
        let back: Entry = serde_json::from_str(&entry.json()).unwrap();
        assert_eq!(back, entry);
        let subject = entry.commit_message();
        assert!(
            subject.starts_with("Committed flux-system/myapp prod: 1.0.0 -> 1.1.0 by ann\n"),
            "{subject}"
        );
    }
}
