//! The branch that promotions are committed to: planned on its head, committed, pushed; and looked up, where an answer was
//! lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairway_git::{
    Commit, Credentials, Draft, Mirror, Oid, Push, Reference, Remote, Repository, Signature,
    SigningKey,
};
use fairway_types::promotion::ChangedValue;

use super::error::{Error, Stands};
use super::message::{Mark, Message};
use super::plan::{ChangeSet, Plan, overlap, plan};
use super::snapshot::Snapshot;

/// How often a push is tried while others are faster.
pub const TRIES: u32 = 20;

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

/// A commit that is not pushed yet.
struct Made {
    commit: Oid,
    changes: Vec<ChangedValue>,
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
            head = match (self.fetch().await, lost) {
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

    /// A commit that is there. What it set is what planning it on its parent says.
    async fn found(&self, commit: Commit, request: &Request<'_>) -> Result<Committed, Error> {
        let parent = commit.parents.first().copied();
        let changes = match parent {
            Some(parent) => match self.make(parent, request).await {
                Ok(made) => made.map(|made| made.changes).unwrap_or_default(),
                // A host that squashed it onto something newer: then say it by files.
                Err(_) => self.by_files(parent, commit.id)?,
            },
            None => Vec::new(),
        };
        Ok(Committed {
            sha: commit.id,
            parent,
            changes,
            outcome: Outcome::Found,
        })
    }

    /// Makes the commit on top of a head; `None` where there is nothing to do. No ref moves.
    async fn make(&self, head: Oid, request: &Request<'_>) -> Result<Option<Made>, Error> {
        match request.set {
            ChangeSet::Edits(edits) => {
                let planned = plan(&self.at(head), edits);
                let Plan { values, files } = self.blame(head, planned, request).await?;
                if files.is_empty() {
                    return Ok(None);
                }
                let message = text(request.message, &values);
                let draft = draft(request, &message);
                let made = self.repository().edit_as(Some(head), &files, &draft);
                let commit = match made {
                    Ok(commit) => commit,
                    Err(fairway_git::Error::NothingToCommit) => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                let allowed: Vec<&str> = files.iter().map(|file| file.path()).collect();
                self.check(head, commit, &allowed)?;
                Ok(Some(Made {
                    commit,
                    changes: values,
                }))
            }
            ChangeSet::Revert { commit, within } => {
                let of: Vec<&str> = within.iter().map(String::as_str).collect();
                self.revert(head, *commit, &of, request).await
            }
        }
    }

    async fn revert(
        &self,
        head: Oid,
        reverted: Oid,
        within: &[&str],
        request: &Request<'_>,
    ) -> Result<Option<Made>, Error> {
        let repository = self.repository();
        let of = repository.commit(reverted)?;
        let touched = repository.changed_paths(of.parents.first().copied(), reverted)?;
        let is_within =
            |path: &String| within.is_empty() || within.iter().any(|w| overlap(path, w));
        if !touched.iter().any(is_within) {
            return Err(Error::NotThere {
                commit: reverted,
                within: within.iter().map(|w| (*w).to_owned()).collect(),
            });
        }
        // Made twice: the message says what changes, which only the commit shows.
        let first = draft(request, &request.message.subject);
        let commit = match repository.revert_as(head, reverted, within, &first).await {
            Ok(commit) => commit,
            Err(fairway_git::Error::NothingToCommit) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let changes = self.by_files(head, commit)?;
        let said = text(request.message, &changes);
        let said = format!("This reverts commit {reverted}.\n\n{}", said_body(&said));
        let said = format!("{}\n\n{said}", subject(request.message));
        let draft = draft(request, &said);
        let commit = repository.revert_as(head, reverted, within, &draft).await?;
        self.check(head, commit, if within.is_empty() { &[""] } else { within })?;
        Ok(Some(Made { commit, changes }))
    }

    fn by_files(&self, before: Oid, after: Oid) -> Result<Vec<ChangedValue>, Error> {
        let changed = self.repository().changed_entries(Some(before), after)?;
        let value = |(path, (from, to)): (String, (Option<_>, Option<_>))| ChangedValue {
            path,
            field: String::new(),
            from: from.map(|entry: fairway_git::TreeEntry| entry.to_string()),
            to: to.map(|entry: fairway_git::TreeEntry| entry.to_string()),
        };
        Ok(changed.into_iter().map(value).collect())
    }

    /// The last look before a push: the commit differs from its parent in these paths alone.
    fn check(&self, head: Oid, commit: Oid, allowed: &[&str]) -> Result<(), Error> {
        let fits = |path: &String| allowed.iter().any(|a| a.is_empty() || overlap(path, a));
        let changed = self.repository().changed_paths(Some(head), commit)?;
        match changed.into_iter().find(|path| !fits(path)) {
            Some(path) => Err(Error::TouchesMore { path }),
            None => Ok(()),
        }
    }

    /// Adds who it was, where values were changed since.
    async fn blame(
        &self,
        head: Oid,
        planned: Result<Plan, Error>,
        request: &Request<'_>,
    ) -> Result<Plan, Error> {
        let Err(Error::ChangedSince(stands)) = planned else {
            return planned;
        };
        let mut named = Vec::with_capacity(stands.len());
        for stand in stands {
            let since = request.since.filter(|id| self.repository().contains(*id));
            let log = self.repository().log(head, since, &[&stand.path], 1).await;
            let by = log.ok().and_then(|log| log.into_iter().next()).map(|c| {
                format!(
                    "commit {} by {}: {}",
                    c.id.short(),
                    c.author.name,
                    c.subject()
                )
            });
            named.push(Stands { by, ..stand });
        }
        Err(Error::ChangedSince(named))
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

fn draft<'a>(request: &Request<'a>, message: &'a str) -> Draft<'a> {
    Draft {
        message,
        author: request.author,
        committer: request.committer,
        key: request.key,
    }
}

/// The message, with from and to filled in.
fn text(message: &Message, values: &[ChangedValue]) -> String {
    let mut message = message.clone();
    let moved = values.iter().find(|value| !value.field.is_empty());
    let trailers = &mut message.trailers;
    if trailers.from.is_none() {
        trailers.from = moved.and_then(|value| value.from.clone());
    }
    if trailers.to.is_none() {
        trailers.to = moved.and_then(|value| value.to.clone());
    }
    message.text(values)
}

fn subject(message: &Message) -> String {
    let text = message.text(&[]);
    text.lines().next().unwrap_or_default().to_owned()
}

fn said_body(text: &str) -> &str {
    text.split_once("\n\n").map_or(text, |(_, body)| body)
}
