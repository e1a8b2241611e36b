//! What happened, and how to take it back.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;

use gix_object::Kind;

use crate::commit::{Commit, Draft};
use crate::edit::{Edit, commit, differences, entry_at};
use crate::objects::{Mode, Objects};
use crate::program::Run;
use crate::{Error, Oid, Repository, Signature};

impl Repository {
    /// The commits that `from` reaches and `not` does not, newest first, at most `limit`; only those
    /// that touch one of `paths`, if there are any.
    pub async fn log(
        &self,
        from: Oid,
        not: Option<Oid>,
        paths: &[&str],
        limit: usize,
    ) -> Result<Vec<Commit>, Error> {
        let mut arguments = vec![
            "rev-list".to_owned(),
            format!("--max-count={limit}"),
            from.to_string(),
        ];
        arguments.extend(not.map(|id| format!("^{id}")));
        arguments.push("--".to_owned());
        arguments.extend(paths.iter().map(|path| format!(":(top,literal){path}")));
        let output = Run::new(arguments)
            .within(self.directory())
            .checked()
            .await?;
        let objects = self.objects();
        output
            .text()
            .lines()
            .filter_map(|l| l.parse().ok())
            .map(|id| Commit::read(&objects, id))
            .collect()
    }

    /// The newest commit that `from` reaches and `not` does not whose message holds `text`, and which `fits`.
    pub async fn find(
        &self,
        from: Oid,
        not: Option<Oid>,
        text: &str,
        fits: impl Fn(&Commit) -> bool,
    ) -> Result<Option<Commit>, Error> {
        let objects = self.objects();
        for id in self.with_text(from, not, text).await? {
            let commit = Commit::read(&objects, id)?;
            if fits(&commit) {
                return Ok(Some(commit));
            }
        }
        Ok(None)
    }

    /// The commits that `from` reaches whose messages hold `text`, newest first.
    pub async fn search(&self, from: Oid, text: &str) -> Result<Vec<Commit>, Error> {
        let objects = self.objects();
        let ids = self.with_text(from, None, text).await?;
        ids.into_iter()
            .map(|id| Commit::read(&objects, id))
            .collect()
    }

    /// All commits that `from` reaches.
    pub async fn reachable(&self, from: Oid) -> Result<HashSet<Oid>, Error> {
        let output = Run::new(["rev-list".to_owned(), from.to_string(), "--".to_owned()])
            .within(self.directory())
            .checked()
            .await?;
        let text = output.text();
        Ok(text.lines().filter_map(|l| l.parse().ok()).collect())
    }

    async fn with_text(&self, from: Oid, not: Option<Oid>, text: &str) -> Result<Vec<Oid>, Error> {
        let mut arguments = vec![
            "rev-list".to_owned(),
            "--fixed-strings".to_owned(),
            format!("--grep={text}"),
            from.to_string(),
        ];
        arguments.extend(not.map(|id| format!("^{id}")));
        arguments.push("--".to_owned());
        let output = Run::new(arguments)
            .within(self.directory())
            .checked()
            .await?;
        let text = output.text();
        Ok(text.lines().filter_map(|l| l.parse().ok()).collect())
    }

    /// The commit that `text` names: a whole id, its first digits (at least four), or a revision such as
    /// `main@sha1:…`. It must be reachable from `from`.
    pub async fn name(&self, from: Oid, text: &str) -> Result<Oid, Error> {
        let digits = text.rsplit("sha1:").next().unwrap_or_default();
        let invalid = |reason: &str| Error::InvalidReference {
            field: "commit",
            value: text.to_owned(),
            reason: reason.to_owned(),
        };
        if digits.len() < 4 || digits.len() > 40 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(invalid("it is no commit id, nor the first digits of one"));
        }
        let arguments = [
            "rev-parse".to_owned(),
            "--verify".to_owned(),
            "--quiet".to_owned(),
            "--end-of-options".to_owned(),
            format!("{digits}^{{commit}}"),
        ];
        let output = Run::new(arguments)
            .within(self.directory())
            .output()
            .await?;
        let id: Oid = match output.text().trim().parse() {
            Ok(id) if output.code == Some(0) => id,
            _ => return Err(invalid("no commit, or more than one, has this id")),
        };
        if self.is_ancestor(id, from).await? {
            Ok(id)
        } else {
            Err(invalid("the branch does not hold this commit"))
        }
    }

    /// Whether `descendant` is `ancestor` or was made on top of it.
    pub async fn is_ancestor(&self, ancestor: Oid, descendant: Oid) -> Result<bool, Error> {
        let arguments = [
            "merge-base".to_owned(),
            "--is-ancestor".to_owned(),
            ancestor.to_string(),
            descendant.to_string(),
        ];
        let output = Run::new(arguments)
            .within(self.directory())
            .output()
            .await?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Error::Git {
                command: "merge-base".to_owned(),
                detail: output.stderr,
            }),
        }
    }

    /// The paths that differ between two commits (`None`: an empty tree), sorted.
    pub fn changed_paths(&self, old: Option<Oid>, new: Oid) -> Result<Vec<String>, Error> {
        let objects = self.objects();
        let old = old
            .map(|id| Commit::read(&objects, id))
            .transpose()?
            .map(|c| c.tree);
        let new = Commit::read(&objects, new)?.tree;
        Ok(differences(&objects, old, Some(new))?.into_keys().collect())
    }

    /// Makes a commit on top of `head` that takes `reverted` back (a merge: to its first parent), and
    /// returns its id. Later changes of the same files stay where they don't overlap; where they do,
    /// it is [`Error::Conflict`] and nothing is made.
    pub async fn revert(
        &self,
        head: Oid,
        reverted: Oid,
        message: &str,
        author: &Signature,
        committer: &Signature,
    ) -> Result<Oid, Error> {
        let draft = Draft {
            message,
            author,
            committer,
            key: None,
        };
        self.revert_as(head, reverted, &[], &draft).await
    }

    /// The same, by a draft, which may have the commit signed, and only for files at or below `within` (everything, where
    /// that is empty).
    pub async fn revert_as(
        &self,
        head: Oid,
        reverted: Oid,
        within: &[&str],
        draft: &Draft<'_>,
    ) -> Result<Oid, Error> {
        let objects = self.objects();
        let head = Commit::read(&objects, head)?;
        let reverted = Commit::read(&objects, reverted)?;
        let parent = reverted
            .parents
            .first()
            .map(|id| Commit::read(&objects, *id))
            .transpose()?;
        let mut changes = differences(&objects, parent.map(|p| p.tree), Some(reverted.tree))?;
        changes.retain(|path, _| within.is_empty() || within.iter().any(|w| is_in(path, w)));
        let mut edits = BTreeMap::new();
        let mut conflicts = Vec::new();
        for (path, (before, after)) in changes {
            let now = entry_at(&objects, head.tree, &path)?;
            if now == before {
                continue;
            }
            if now == after {
                let edit = before.map_or(Edit::Delete, |(mode, id)| Edit::Exactly(mode, id));
                edits.insert(path, edit);
                continue;
            }
            match (now, after, before) {
                (Some((mode, now)), Some((_, after)), Some((_, before))) if is_file(mode) => {
                    match merge(&objects, now, after, before).await? {
                        Some(merged) => {
                            edits.insert(path, Edit::Blob(objects.write(Kind::Blob, &merged)?));
                        }
                        None => conflicts.push(path),
                    }
                }
                _ => conflicts.push(path),
            }
        }
        if !conflicts.is_empty() {
            return Err(Error::Conflict {
                commit: reverted.id,
                paths: conflicts,
            });
        }
        if edits.is_empty() {
            return Err(Error::NothingToCommit);
        }
        commit(&objects, Some(head.id), edits, draft)
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_file(mode: Mode) -> bool {
    matches!(mode, Mode::File | Mode::Executable)
}

/// `git merge-file`: the change from `base` to `theirs`, done to `ours`. `None` where they overlap.
async fn merge(
    objects: &Objects,
    ours: Oid,
    base: Oid,
    theirs: Oid,
) -> Result<Option<Vec<u8>>, Error> {
    let io = |e: std::io::Error| Error::io("can't write files to merge", &e);
    let folder = tempfile::tempdir().map_err(io)?;
    let mut arguments: Vec<OsString> = ["merge-file", "--stdout", "--quiet", "--"]
        .map(OsString::from)
        .to_vec();
    for (name, id) in [("ours", ours), ("base", base), ("theirs", theirs)] {
        let path = folder.path().join(name);
        std::fs::write(&path, objects.blob(id)?).map_err(io)?;
        arguments.push(path.into());
    }
    let output = Run::new(arguments).output().await?;
    match output.code {
        Some(0) => Ok(Some(output.stdout)),
        // The number of conflicts; 255 is a file that can't be merged, a binary one.
        _ => Ok(None),
    }
}
