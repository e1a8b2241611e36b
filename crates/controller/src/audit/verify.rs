//! Whether the log was tampered with, and whether it says what the branch says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fairway_git::{Oid, TrustedKeys};
use jiff::Timestamp;

use super::entry::Entry;
use super::log::{AuditError, AuditLog};
use crate::change::{Trailers, one_line};

/// The most commits of a log that are looked at.
const MOST: usize = i32::MAX as usize;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The log does not hold a commit that it held before: somebody rewrote it.
    Rewritten {
        /// The commit.
        known: Oid,
    },
    /// A commit of the log has two parents.
    Merged {
        /// The commit.
        commit: Oid,
    },
    /// A commit of the log does something else than add one entry.
    Altered {
        /// The commit.
        commit: Oid,
        /// What it touched.
        path: String,
    },
    /// A file is no entry, or is not where it belongs.
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A commit of the log is not signed by a key that is trusted.
    Unsigned {
        /// The commit.
        commit: Oid,
        /// Why not.
        reason: String,
    },
    /// A promotion's commit on the branch has no entry.
    NoEntry {
        /// The commit.
        commit: Oid,
        /// The Promotion, as its trailers say.
        promotion: String,
    },
    /// An entry names a commit that the branch does not hold.
    NoCommit {
        /// Id of the entry.
        entry: String,
        /// The commit.
        sha: String,
    },
    /// Entry and trailers say different things.
    Differs {
        /// Id of the entry.
        entry: String,
        /// The commit.
        commit: Oid,
        /// Of what.
        field: &'static str,
        /// What the trailers say.
        trailers: String,
        /// What the entry says.
        says: String,
    },
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The newest commit of the log: keep it, and give it to the next look.
    pub tip: Option<Oid>,
    /// Entries.
    pub entries: usize,
    /// Commits of promotions on the branch.
    pub commits: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What the log is compared with.
#[derive(Debug, Clone, Default)]
pub struct Against<'a> {
    /// The newest commit of the log at an earlier look.
    pub known: Option<Oid>,
    /// Commits of the branch before this are not asked for: there was no log yet.
    pub since: Option<Timestamp>,
    /// Uids of Promotions whose entries wait to be pushed.
    pub waiting: &'a [String],
    /// Keys that sign the log, where it is signed.
    pub keys: Option<&'a TrustedKeys>,
}

impl AuditLog {
    /// Checks the log, and compares it with the commits that `head` of the branch reaches.
    pub async fn verify(&self, head: Oid, against: &Against<'_>) -> Result<Report, AuditError> {
        let tip = self.tip().await?;
        let mut findings = Vec::new();
        let mut entries = Vec::new();
        if let Some(known) = against.known {
            let holds = match tip {
                Some(tip) if self.mirror().repository().contains(known) => {
                    self.mirror().repository().is_ancestor(known, tip).await?
                }
                _ => false,
            };
            if !holds {
                findings.push(Finding::Rewritten { known });
            }
        }
        if let Some(tip) = tip {
            self.chain(tip, against, &mut findings).await?;
            entries = self.all(tip, &mut findings)?;
        }
        let commits = self
            .both_ways(head, &entries, against, &mut findings)
            .await?;
        Ok(Report {
            tip,
            entries: entries.len(),
            commits,
            findings,
        })
    }

    /// Each commit has one parent, adds one file, and touches no other.
    async fn chain(
        &self,
        tip: Oid,
        against: &Against<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), AuditError> {
        let repository = self.mirror().repository();
        for commit in repository.log(tip, None, &[], MOST).await? {
            if commit.parents.len() > 1 {
                findings.push(Finding::Merged { commit: commit.id });
            }
            let parent = commit.parents.first().copied();
            let changed = repository.changed_entries(parent, commit.id)?;
            let mut added = changed.iter().filter(|(_, (old, _))| old.is_none());
            let first = added.next().map(|(path, _)| path.clone());
            let other = changed
                .iter()
                .find(|(path, (old, new))| {
                    old.is_some() || new.is_none() || Some(*path) != first.as_ref()
                })
                .map(|(path, _)| path.clone());
            match (first, other) {
                (Some(_), None) => {}
                (_, path) => findings.push(Finding::Altered {
                    commit: commit.id,
                    path: path.unwrap_or_default(),
                }),
            }
            if let Some(keys) = against.keys
                && let Err(error) =
                    repository.verify_commit(commit.id, keys, commit.committer.seconds)
            {
                findings.push(Finding::Unsigned {
                    commit: commit.id,
                    reason: error.to_string(),
                });
            }
        }
        Ok(())
    }

    fn all(&self, tip: Oid, findings: &mut Vec<Finding>) -> Result<Vec<Entry>, AuditError> {
        let mut entries = Vec::new();
        let mut ids = BTreeSet::new();
        for (path, id) in self.files(tip, None)? {
            let reason = match self.entry(&path, id) {
                Ok(entry) => {
                    let place = entry.path();
                    let is_new = ids.insert(entry.id.clone());
                    entries.push(entry);
                    match place {
                        Ok(place) if place == path && is_new => continue,
                        Ok(_) if !is_new => "another entry has its id".to_owned(),
                        Ok(place) => format!("it belongs to {place}"),
                        Err(error) => error.to_string(),
                    }
                }
                Err(AuditError::Unreadable { reason, .. }) => reason,
                Err(error) => return Err(error),
            };
            findings.push(Finding::Unreadable { path, reason });
        }
        Ok(entries)
    }

    async fn both_ways(
        &self,
        head: Oid,
        entries: &[Entry],
        against: &Against<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<usize, AuditError> {
        let repository = self.mirror().repository();
        // Every commit that an entry names is on the branch.
        let mut named: BTreeMap<String, &Entry> = BTreeMap::new();
        for entry in entries {
            for commit in &entry.commits {
                named.entry(commit.sha.clone()).or_insert(entry);
            }
        }
        let on_branch = repository.reachable(head).await?;
        let mut held = BTreeMap::new();
        for (sha, entry) in &named {
            match sha.parse::<Oid>() {
                Ok(id) if on_branch.contains(&id) => {
                    held.insert(id, *entry);
                }
                _ => findings.push(Finding::NoCommit {
                    entry: entry.id.clone(),
                    sha: sha.clone(),
                }),
            }
        }
        // Every promotion's commit has an entry, which says the same.
        let mut seen = 0;
        for commit in repository.search(head, "Fairway-Promotion-UID: ").await? {
            let Some(trailers) = Trailers::read(&commit.message) else {
                continue;
            };
            let is_old = against
                .since
                .is_some_and(|since| commit.committer.seconds < since.as_second());
            if is_old {
                continue;
            }
            seen += 1;
            let found = match held.get(&commit.id) {
                Some(entry) => Some(*entry),
                None => self.merged_by(commit.id, &trailers, &held).await?,
            };
            match found {
                Some(entry) => findings.extend(differences(entry, commit.id, &trailers)),
                None if against.waiting.contains(&trailers.mark.uid) => {}
                None => findings.push(Finding::NoEntry {
                    commit: commit.id,
                    promotion: trailers.mark.promotion,
                }),
            }
        }
        Ok(seen)
    }

    /// The entry that names the merge which brought the commit.
    async fn merged_by<'e>(
        &self,
        commit: Oid,
        trailers: &Trailers,
        held: &BTreeMap<Oid, &'e Entry>,
    ) -> Result<Option<&'e Entry>, AuditError> {
        let repository = self.mirror().repository();
        for (merge, entry) in held {
            if entry.uid != trailers.mark.uid {
                continue;
            }
            let Some(parent) = repository.commit(*merge)?.parents.first().copied() else {
                continue;
            };
            if repository.is_ancestor(commit, *merge).await?
                && !repository.is_ancestor(commit, parent).await?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

fn differences(entry: &Entry, commit: Oid, trailers: &Trailers) -> Vec<Finding> {
    let of = |value: &Option<String>| one_line(value.as_deref().unwrap_or_default());
    let pairs = [
        ("uid", trailers.mark.uid.clone(), entry.uid.clone()),
        (
            "promotion",
            trailers.mark.promotion.clone(),
            entry.promotion.clone(),
        ),
        (
            "pipeline",
            trailers.pipeline.clone(),
            entry.pipeline.clone(),
        ),
        ("stage", trailers.stage.clone(), entry.stage.clone()),
        (
            "requestedBy",
            of(&trailers.requested_by),
            of(&entry.requested_by),
        ),
    ];
    pairs
        .into_iter()
        .filter(|(_, trailers, says)| trailers != says)
        .map(|(field, trailers, says)| Finding::Differs {
            entry: entry.id.clone(),
            commit,
            field,
            trailers,
            says,
        })
        .collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewritten { known } => write!(
                f,
                "the log was rewritten: it does not hold {} any more, which was its newest commit",
                known.short()
            ),
            Self::Merged { commit } => {
                write!(f, "{}: a commit of the log has two parents", commit.short())
            }
            Self::Altered { commit, path } => write!(
                f,
                "{}: a commit of the log does more than add one entry: {path}",
                commit.short()
            ),
            Self::Unreadable { path, reason } => write!(f, "{path}: {reason}"),
            Self::Unsigned { commit, reason } => write!(f, "{}: {reason}", commit.short()),
            Self::NoEntry { commit, promotion } => write!(
                f,
                "{}: promotion {promotion} committed it, and no entry says so",
                commit.short()
            ),
            Self::NoCommit { entry, sha } => {
                write!(
                    f,
                    "entry {entry} names commit {sha}, which the branch does not hold"
                )
            }
            Self::Differs {
                entry,
                commit,
                field,
                trailers,
                says,
            } => write!(
                f,
                "entry {entry}: {field} is {says:?}, and {} says {trailers:?}",
                commit.short()
            ),
        }
    }
}
