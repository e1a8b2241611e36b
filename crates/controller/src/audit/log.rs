//! The ref, appended to and read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fairway_git::{Change, Draft, Mirror, Oid, Push, Reference, Signature, SigningKey};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::entry::{Entry, InvalidEntry};

/// The ref that holds the log.
pub const REF: &str = "refs/fairway/audit";
/// The branch that holds it where the host takes no such ref.
pub const BRANCH: &str = "fairway-audit";

/// How often a lost race is tried again.
const TRIES: u32 = 30;

/// Why the log was not read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The entry can't be written.
    #[error(transparent)]
    Entry(#[from] InvalidEntry),
    /// The host takes neither the ref nor the branch.
    #[error(
        "{url} takes no audit log: {words}; hint: let this credential write {REF}, or the branch {BRANCH}"
    )]
    Refused {
        /// The repository.
        url: String,
        /// The server's words.
        words: String,
    },
    /// Others were faster each time.
    #[error("others appended to the audit log {TRIES} times in a row; hint: it is tried again")]
    Race,
    /// A file of the log is no entry.
    #[error(
        "{path} in the audit log is no entry: {reason}; hint: `fairway audit --verify` says what else is wrong"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another Git failure.
    #[error(transparent)]
    Git(#[from] fairway_git::Error),
}

impl AuditError {
    /// Whether trying again later, with nothing else changed, may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Race => true,
            Self::Git(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// As whom entries are committed.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// Who commits, and when.
    pub committer: &'a Signature,
    /// Signs the commits.
    pub key: Option<&'a SigningKey>,
}

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The newest commit of the log; none where it is empty and nothing was to be written.
    pub tip: Option<Oid>,
    /// How many entries were written; the others were there.
    pub written: usize,
}

/// The log of one repository.
#[derive(Clone, Debug)]
pub struct AuditLog {
    mirror: Arc<Mirror>,
    timeout: Duration,
}

/// Which of the two holds the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Ref,
    Branch,
}

impl AuditLog {
    /// The log in the repository that a mirror follows. The mirror's credential is the one that pushes.
    pub fn new(mirror: Arc<Mirror>) -> Self {
        Self {
            mirror,
            timeout: Duration::from_mins(1),
        }
    }

    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Where the log is, and its newest commit.
    async fn locate(&self) -> Result<(Kept, Option<Oid>), AuditError> {
        if let Some(tip) = self.mirror.fetch_own(REF, self.timeout).await? {
            return Ok((Kept::Ref, Some(tip)));
        }
        let branch = Reference::Branch(BRANCH.to_owned());
        match self.mirror.fetch(&branch, self.timeout).await {
            Ok(revision) => Ok((Kept::Branch, Some(revision.commit()))),
            Err(fairway_git::Error::RefMissing { .. }) => Ok((Kept::Ref, None)),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest commit of the log, as the remote has it now.
    pub async fn tip(&self) -> Result<Option<Oid>, AuditError> {
        Ok(self.locate().await?.1)
    }

    /// Appends entries in the order of their times; those that are there already are left out. All of them are there when
    /// this returns without an error. `pause` says how long to wait before each new try, with jitter.
    pub async fn append(
        &self,
        entries: &[Entry],
        writer: Writer<'_>,
        mut pause: impl FnMut(u32) -> Duration,
    ) -> Result<Appended, AuditError> {
        let mut sorted = Vec::with_capacity(entries.len());
        for entry in entries {
            sorted.push((entry.path()?, entry));
        }
        sorted.sort_by(|a, b| (a.1.time, &a.0).cmp(&(b.1.time, &b.0)));
        sorted.dedup_by(|a, b| a.0 == b.0);
        let mut use_branch = false;
        let mut before = None;
        for attempt in 1..=TRIES {
            let (kept, tip) = self.locate().await?;
            let kept = if tip.is_none() && use_branch {
                Kept::Branch
            } else {
                kept
            };
            let Some((commit, written)) = self.make(tip, &sorted, writer)? else {
                // An earlier try arrived, though its answer did not.
                let written = before.unwrap_or(0);
                return Ok(Appended { tip, written });
            };
            let pushed = match kept {
                Kept::Ref => self.mirror.push_own(commit, REF, tip, self.timeout).await,
                Kept::Branch => self.mirror.push(commit, BRANCH, tip, self.timeout).await,
            };
            match pushed {
                Ok(Push::Pushed) => {
                    return Ok(Appended {
                        tip: Some(commit),
                        written,
                    });
                }
                Ok(Push::LostRace) => {}
                // Only a log that does not exist yet may begin elsewhere: else it would be in two places.
                Ok(Push::Refused(_)) if tip.is_none() && kept == Kept::Ref => {
                    use_branch = true;
                    continue;
                }
                Ok(Push::Refused(words)) => {
                    return Err(AuditError::Refused {
                        url: self.mirror.remote().url().to_owned(),
                        words,
                    });
                }
                // It may have arrived: the next round looks.
                Err(
                    fairway_git::Error::Unreachable { .. }
                    | fairway_git::Error::Timeout { .. }
                    | fairway_git::Error::Git { .. },
                ) if attempt < TRIES => before = Some(written),
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(AuditError::Race)
    }

    /// One commit for each entry that is not there, on top of the tip; the newest, and how many.
    fn make(
        &self,
        tip: Option<Oid>,
        entries: &[(String, &Entry)],
        writer: Writer<'_>,
    ) -> Result<Option<(Oid, usize)>, AuditError> {
        let repository = self.mirror.repository();
        let mut parent = tip;
        let mut written = 0;
        for (path, entry) in entries {
            if let Some(tip) = tip
                && repository.entry(tip, path)?.is_some()
            {
                continue;
            }
            let author = Signature {
                seconds: entry.time.as_second(),
                ..writer.committer.clone()
            };
            let message = entry.commit_message();
            let draft = Draft {
                message: &message,
                author: &author,
                committer: writer.committer,
                key: writer.key,
            };
            let change = Change::write(path.as_str(), entry.json());
            parent = Some(repository.edit_as(parent, &[change], &draft)?);
            written += 1;
        }
        Ok(parent.filter(|_| written > 0).map(|tip| (tip, written)))
    }

    /// The entries since a time, the oldest first.
    pub async fn read(&self, since: Option<Timestamp>) -> Result<Vec<Entry>, AuditError> {
        match self.tip().await? {
            Some(tip) => self.read_at(tip, since),
            None => Ok(Vec::new()),
        }
    }

    /// The entries of a commit of the log that was fetched.
    pub(super) fn read_at(
        &self,
        tip: Oid,
        since: Option<Timestamp>,
    ) -> Result<Vec<Entry>, AuditError> {
        let mut entries = Vec::new();
        for (path, id) in self.files(tip, since)? {
            let entry = self.entry(&path, id)?;
            if since.is_none_or(|since| entry.time >= since) {
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(entries)
    }

    pub(super) fn entry(&self, path: &str, id: Oid) -> Result<Entry, AuditError> {
        let bytes = self.mirror.repository().blob(id)?;
        serde_json::from_slice(&bytes).map_err(|error| AuditError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The files of the days since a time.
    pub(super) fn files(
        &self,
        tip: Oid,
        since: Option<Timestamp>,
    ) -> Result<BTreeSet<(String, Oid)>, AuditError> {
        let day = since.map(|since| {
            let day = since.to_zoned(TimeZone::UTC);
            let (year, month) = (day.year(), day.month());
            format!("{year:04}/{month:02}/{:02}", day.day())
        });
        let mut files = BTreeSet::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for (name, entry) in self.mirror.repository().folder(tip, &folder)? {
                let path = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                if entry.is_folder() {
                    let is_late = day
                        .as_ref()
                        .is_none_or(|day| path.as_str() >= &day[..path.len().min(day.len())]);
                    if is_late && path.split('/').count() <= 3 {
                        folders.push(path);
                    }
                } else {
                    files.insert((path, entry.id()));
                }
            }
        }
        Ok(files)
    }
}
