//! The branch that promotions are committed to: planned on its head, committed, pushed; and looked up, where an answer was
//! lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairway_git::{
    Commit, Credentials, Mirror, Oid, Push, Reference, Remote, Repository, Signature, SigningKey,
};
use fairway_types::promotion::ChangedValue;

use super::error::Error;
use super::message::{Mark, Message};
use super::plan::ChangeSet;
use super::snapshot::Snapshot;

/// How often a push is tried while others are faster.
pub const TRIES: u32 = 20;

/// How often a push is tried that gets no answer.
const UNANSWERED: u32 = 3;

/// A branch of a remote repository. Cheap to make; any number may work on one branch, in any number of processes.
#[derive(Clone, Debug)]
pub struct Workspace {
    mirror: Arc<Mirror>,
    branch: String,
    timeout: Duration,
}

/// What is to be committed, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub set: &'a ChangeSet,
    /// What the commit says; its mark is how it is found again. `Fairway-From` and `Fairway-To`, where they are not given,
    /// are filled in from the first value that is set.
    pub message: &'a Message,
    /// Who wrote it.
    pub author: &'a Signature,
    /// Who commits it.
    pub committer: &'a Signature,
    /// Signs it.
    pub key: Option<&'a SigningKey>,
    /// Commits that this one reaches can't be it: the head of the branch when the promotion was made. Without it the whole
    /// history is looked through.
    pub since: Option<Oid>,
}

/// What is on the branch now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The commit; where nothing had to be done, the head of the branch.
    pub sha: Oid,
    /// The commit that it was made on.
    pub parent: Option<Oid>,
    /// What it set.
    pub changes: Vec<ChangedValue>,
    /// How it came there.
    pub outcome: Outcome,
}

/// How a commit came onto the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was pushed just now.
    Pushed,
    /// It was there: an earlier try had pushed it, and the answer was lost.
    Found,
    /// Nothing had to be done: everything is as wanted without it.
    Unchanged,
}

impl Committed {
    /// Whether it was there already.
    pub fn already(&self) -> bool {
        self.outcome != Outcome::Pushed
    }
}

impl Workspace {
    /// A branch of the repository that a mirror follows. The mirror's credential is the one that pushes.
    pub fn new(mirror: Arc<Mirror>, branch: &str) -> Self {
        Self {
            mirror,
            branch: branch.to_owned(),
            timeout: Duration::from_mins(1),
        }
    }

    /// The same with a mirror of its own in a folder.
    pub async fn open(
        directory: &Path,
        url: &str,
        credentials: Credentials,
        branch: &str,
    ) -> Result<Self, Error> {
        let remote = Remote::new(url, credentials)?;
        let mirror = Mirror::open(directory, remote).await?;
        Ok(Self::new(Arc::new(mirror), branch))
    }

    /// With another limit for each run of git than a minute.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The branch.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// The objects of the mirror.
    pub fn repository(&self) -> &Repository {
        self.mirror.repository()
    }

    /// The mirror: [`AuditLog`](crate::audit::AuditLog) takes the same.
    pub fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// The head of the branch, as the remote has it now.
    pub async fn fetch(&self) -> Result<Oid, Error> {
        Ok(self.fetch_branch(&self.branch).await?)
    }

    async fn fetch_branch(&self, branch: &str) -> Result<Oid, fairway_git::Error> {
        let reference = Reference::Branch(branch.to_owned());
        Ok(self.mirror.fetch(&reference, self.timeout).await?.commit())
    }

    /// The files of a commit that was fetched.
    pub fn at(&self, commit: Oid) -> Snapshot<'_> {
        Snapshot::new(self.repository(), commit)
    }

    /// The commit that a person names: an id, its first digits, or a revision such as `main@sha1:…`; the branch must hold it.
    pub async fn name(&self, head: Oid, text: &str) -> Result<Oid, Error> {
        Ok(self.repository().name(head, text).await?)
    }

    /// The commit with this mark that `head` reaches and `since` does not.
    pub async fn find(
        &self,
        head: Oid,
        since: Option<Oid>,
        mark: &Mark,
    ) -> Result<Option<Commit>, Error> {
        let since = since.filter(|id| self.repository().contains(*id));
        let fits = |commit: &Commit| mark.is_on(&commit.message);
        let line = mark.line();
        Ok(self.repository().find(head, since, &line, fits).await?)
    }

    /// The newest commit that changed one of these paths, and what the trailers of it say. What paths hold has no version of
    /// its own: this is it (`Fairway-To`, where a promotion brought it; else the commit).
    pub async fn version_of_paths(
        &self,
        head: Oid,
        folder: &str,
        paths: &[String],
    ) -> Result<Option<String>, Error> {
        let paths: Vec<String> = paths
            .iter()
            .map(|path| super::snapshot::within(folder.trim_end_matches('/'), path))
            .collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let newest = self.repository().log(head, None, &paths, 1).await?;
        Ok(newest.into_iter().next().map(|commit| {
            super::message::Trailers::read(&commit.message)
                .and_then(|trailers| trailers.to)
                .unwrap_or_else(|| commit.id.to_string())
        }))
    }

    /// What a request would change on a commit. Nothing is written to the remote, and no ref moves.
    pub async fn preview(&self, head: Oid, request: &Request<'_>) -> Result<Preview, Error> {
        let made = self.make(head, request).await?;
        Ok(Preview {
            commit: made.as_ref().map(|made| made.commit),
            changes: made.map(|made| made.changes).unwrap_or_default(),
        })
    }

    /// Commits on the head of the branch and pushes, unless the commit is there already. Never by force: where others are
    /// faster, everything is looked at and planned again on their head, at most [`TRIES`] times. `pause` says how long to
    /// wait before each new try (which one it is comes as its argument), with jitter.
    ///
    /// Safe to call again after any failure, a crash included: what was pushed is found by its mark.
    pub async fn apply(
        &self,
        request: &Request<'_>,
        mut pause: impl FnMut(u32) -> Duration,
    ) -> Result<Committed, Error> {
        let mut since = request.since;
        let mut head = self.fetch().await?;
        let mut unanswered = 0;
        for attempt in 1..=TRIES {
            if let Some(commit) = self
                .find(head, since, &request.message.trailers.mark)
                .await?
            {
                return self.found(commit, request).await;
            }
            let Some(made) = self.make(head, request).await? else {
                return Ok(Committed {
                    sha: head,
                    parent: None,
                    changes: Vec::new(),
                    outcome: Outcome::Unchanged,
                });
            };
            let pushed = self
                .mirror
                .push(made.commit, &self.branch, Some(head), self.timeout)
                .await;
            let lost = match pushed {
                Ok(Push::Pushed) => {
                    return Ok(Committed {
                        sha: made.commit,
                        parent: Some(head),
                        changes: made.changes,
                        outcome: Outcome::Pushed,
                    });
                }
                Ok(Push::LostRace) => None,
                Ok(Push::Refused(words)) => return Err(self.refused(&self.branch, words)),
                Err(error) if is_open(&error) => Some(error),
                Err(error) => return Err(error.into()),
            };
            tracing::debug!(
                branch = self.branch,
                attempt,
                ?lost,
                "looking at the branch again"
            );
            since = Some(head);
            unanswered += u32::from(lost.is_some());
            head = match (self.fetch().await, lost) {
                // It can be read from, and takes no push: then this is how it is.
                (Ok(head), Some(cause)) if unanswered >= UNANSWERED => {
                    return match self
                        .find(head, since, &request.message.trailers.mark)
                        .await?
                    {
                        Some(commit) => self.found(commit, request).await,
                        None => Err(Error::Git(cause)),
                    };
                }
                (Ok(head), _) => head,
                (Err(_), Some(cause)) => {
                    let branch = self.branch.clone();
                    return Err(Error::Unsettled { branch, cause });
                }
                (Err(error), None) => return Err(error),
            };
            if attempt < TRIES {
                tokio::time::sleep(pause(attempt)).await;
            }
        }
        let mark = &request.message.trailers.mark;
        match self.find(head, since, mark).await? {
            Some(commit) => self.found(commit, request).await,
            None => Err(Error::Race {
                branch: self.branch.clone(),
                tries: TRIES,
            }),
        }
    }

    /// Commits on the head of the branch and pushes to another branch, which a pull request then asks to be merged. The
    /// branch of an earlier try is used again; one of that name that is not this promotion's is left alone, and the name
    /// gets a number. Returns the branch too; where the promotion is on the base branch already, that is it.
    pub async fn propose(
        &self,
        request: &Request<'_>,
        branch: &str,
    ) -> Result<(Committed, String), Error> {
        let mark = &request.message.trailers.mark;
        let head = self.fetch().await?;
        if let Some(commit) = self.find(head, request.since, mark).await? {
            return Ok((self.found(commit, request).await?, self.branch.clone()));
        }
        let mut name = branch.to_owned();
        for attempt in 2..=TRIES {
            match self.fetch_branch(&name).await {
                Ok(tip) => match self.find(tip, Some(head), mark).await? {
                    Some(commit) => return Ok((self.found(commit, request).await?, name)),
                    None => {
                        name = format!("{branch}-{attempt}");
                        continue;
                    }
                },
                Err(fairway_git::Error::RefMissing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(made) = self.make(head, request).await? else {
                let unchanged = Committed {
                    sha: head,
                    parent: None,
                    changes: Vec::new(),
                    outcome: Outcome::Unchanged,
                };
                return Ok((unchanged, self.branch.clone()));
            };
            let pushed = self.mirror.push(made.commit, &name, None, self.timeout);
            match pushed.await {
                Ok(Push::Pushed) => {
                    let committed = Committed {
                        sha: made.commit,
                        parent: Some(head),
                        changes: made.changes,
                        outcome: Outcome::Pushed,
                    };
                    return Ok((committed, name));
                }
                Ok(Push::LostRace) => {}
                Ok(Push::Refused(words)) => return Err(self.refused(&name, words)),
                // The next round looks.
                Err(error) if is_open(&error) && attempt < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Race {
            branch: name,
            tries: TRIES,
        })
    }

    /// Removes a branch that [`Workspace::propose`] made, if it still is at this commit.
    pub async fn withdraw(&self, branch: &str, tip: Oid) -> Result<(), Error> {
        match self.mirror.delete(branch, tip, self.timeout).await? {
            Push::Refused(words) => Err(self.refused(branch, words)),
            // Somebody else deleted it, or goes on working on it.
            Push::Pushed | Push::LostRace => Ok(()),
        }
    }

    fn refused(&self, branch: &str, words: String) -> Error {
        let lower = words.to_ascii_lowercase();
        let signs = [
            "protected",
            "gh006",
            "gh013",
            "rule violations",
            "not allowed to push",
            "denied to push",
            "pull request",
            "merge request",
        ];
        Error::Refused {
            url: self.mirror.remote().url().to_owned(),
            branch: branch.to_owned(),
            protected: signs.iter().any(|sign| lower.contains(sign)),
            words,
        }
    }
}

/// What a request would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The commit as it would be, in the mirror only; `None` where nothing would change.
    pub commit: Option<Oid>,
    /// What it would set.
    pub changes: Vec<ChangedValue>,
}

/// Whether a push with this error may have arrived.
fn is_open(error: &fairway_git::Error) -> bool {
    matches!(
        error,
        fairway_git::Error::Unreachable { .. }
            | fairway_git::Error::Timeout { .. }
            | fairway_git::Error::Git { .. }
    )
}
