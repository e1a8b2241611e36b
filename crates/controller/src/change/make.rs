//! Making a commit: planned, signed, and looked at once more before it may be pushed.

use fairway_git::{Commit, Draft, Oid};
use fairway_types::promotion::ChangedValue;

use super::error::{Error, Stands};
use super::message::Message;
use super::plan::{ChangeSet, Edit, Plan, overlap, plan};
use super::workspace::{Committed, Outcome, Request, Workspace};

/// A commit that is not pushed yet.
pub(super) struct Made {
    pub(super) commit: Oid,
    pub(super) changes: Vec<ChangedValue>,
}

impl Workspace {
    /// A commit that is there. What it set is what planning it on its parent says.
    pub(super) async fn found(
        &self,
        commit: Commit,
        request: &Request<'_>,
    ) -> Result<Committed, Error> {
        let parent = commit.parents.first().copied();
        let changes = match parent {
            Some(parent) => {
                let made = self.make(parent, request).await.ok().flatten();
                let planned = made.map(|made| made.changes).unwrap_or_default();
                let back = [Edit::PutBack(planned.clone())];
                match plan(&self.at(commit.id), &back) {
                    Ok(back) if !back.is_empty() => planned,
                    // A host that squashed it, or an earlier try that wanted something else: then say it by files.
                    _ => self.by_files(parent, commit.id)?,
                }
            }
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
    pub(super) async fn make(
        &self,
        head: Oid,
        request: &Request<'_>,
    ) -> Result<Option<Made>, Error> {
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
