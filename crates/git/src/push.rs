//! Push: a new commit onto a branch that is still where it was expected. Never by force.

use std::time::Duration;

use crate::program::Run;
use crate::{Error, Mirror, Oid, Reference};

/// How a push ended, if the remote was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// The branch is at the commit now.
    Pushed,
    /// Somebody else was faster: fetch, edit again, push again.
    LostRace,
    /// The remote does not want it: a protected branch, a hook, …. Its words.
    Refused(String),
}

impl Mirror {
    /// Pushes `commit` to `branch`, if the branch is at `expected` on the remote (`None`: if it is
    /// not there yet). The commit must be made on top of `expected`; anything else would be a forced
    /// push, and is an error.
    ///
    /// On [`Error::Unreachable`] or [`Error::Timeout`] the outcome is unknown: fetch to see it.
    pub async fn push(
        &self,
        commit: Oid,
        branch: &str,
        expected: Option<Oid>,
        timeout: Duration,
    ) -> Result<Push, Error> {
        Reference::Branch(branch.to_owned()).check()?;
        let name = format!("refs/heads/{branch}");
        self.push_to(commit, &name, expected, timeout).await
    }

    /// Deletes a branch of the remote, if it is at `expected`.
    pub async fn delete(
        &self,
        branch: &str,
        expected: Oid,
        timeout: Duration,
    ) -> Result<Push, Error> {
        Reference::Branch(branch.to_owned()).check()?;
        let name = format!("refs/heads/{branch}");
        self.send(None, &name, Some(expected), timeout).await
    }

    /// [`Mirror::push`] to Fairway's own ref (see [`Mirror::fetch_own`]).
    pub async fn push_own(
        &self,
        commit: Oid,
        name: &str,
        expected: Option<Oid>,
        timeout: Duration,
    ) -> Result<Push, Error> {
        check_own(name)?;
        self.push_to(commit, name, expected, timeout).await
    }

    /// Brings one of Fairway's own refs (`refs/fairway/…`) up to date; `None` where the remote has none. These can't be
    /// followed by a `GitRepository`.
    pub async fn fetch_own(&self, name: &str, timeout: Duration) -> Result<Option<Oid>, Error> {
        check_own(name)?;
        self.fetch_ref(name, timeout).await
    }

    async fn push_to(
        &self,
        commit: Oid,
        name: &str,
        expected: Option<Oid>,
        timeout: Duration,
    ) -> Result<Push, Error> {
        if let Some(expected) = expected
            && !self.repository().is_ancestor(expected, commit).await?
        {
            let reason = format!(
                "{commit} was not made on top of {expected}; Fairway never pushes by force"
            );
            return Err(Error::InvalidReference {
                field: "branch",
                value: name.to_owned(),
                reason,
            });
        }
        self.send(Some(commit), name, expected, timeout).await
    }

    /// Sets a ref of the remote to a commit, or deletes it.
    async fn send(
        &self,
        commit: Option<Oid>,
        name: &str,
        expected: Option<Oid>,
        timeout: Duration,
    ) -> Result<Push, Error> {
        let turn = self.turn().await;
        let lock = self.locked(timeout).await?;
        let source = commit.map_or_else(String::new, |id| id.to_string());
        let lease = expected.map_or_else(String::new, |id| id.to_string());
        let arguments = [
            "push".to_owned(),
            "--porcelain".to_owned(),
            "--no-verify".to_owned(),
            // With the check above this is no force: it makes the remote compare before it sets.
            format!("--force-with-lease={name}:{lease}"),
            "--".to_owned(),
            self.remote().url().to_owned(),
            format!("{source}:{name}"),
        ];
        let run = Run::new(arguments).within(self.repository().directory());
        let output = run
            .with_remote(self.remote(), timeout)
            .holding(&lock)
            .output()
            .await?;
        self.tidy();
        let report = output.text();
        let line = report.lines().find(|line| {
            line.split('\t')
                .nth(1)
                .is_some_and(|refs| refs.split_once(':').is_some_and(|(_, to)| to == name))
        });
        let outcome = line.and_then(|line| outcome(line, &output.stderr));
        if outcome == Some(Push::Pushed) {
            // The next fetch then has nothing to do; should this fail, it does it again.
            let _ = match commit {
                Some(commit) => self.repository().update_ref(name, commit, None).await,
                None => self.repository().delete_ref(name).await,
            };
        }
        drop(turn);
        match outcome {
            Some(outcome) => Ok(outcome),
            None => Err(crate::complaint::classify(
                "push",
                Some(self.remote().url()),
                &output.stderr,
            )),
        }
    }
}

/// `refs/fairway/holds/` is local.
fn check_own(name: &str) -> Result<(), Error> {
    let checked = match name.strip_prefix("refs/fairway/") {
        Some(rest) if !rest.starts_with("holds") => crate::reference::check_name(name),
        _ => Err("it is none of Fairway's own refs"),
    };
    checked.map_err(|reason| Error::InvalidReference {
        field: "name",
        value: name.to_owned(),
        reason: reason.to_owned(),
    })
}

/// Reads a line of `git push --porcelain`.
fn outcome(line: &str, stderr: &str) -> Option<Push> {
    let mut columns = line.split('\t');
    let flag = columns.next()?;
    let summary = columns.nth(1).unwrap_or_default();
    match flag {
        " " | "*" | "=" | "+" | "-" => Some(Push::Pushed),
        "!" if summary.starts_with("[rejected]") => Some(Push::LostRace),
        "!" if summary.starts_with("[remote rejected]") => {
            let raced = [
                "cannot lock ref",
                "failed to update ref",
                "incorrect old value",
                "fetch first",
                "reference already exists",
                "failed to lock",
            ];
            let reason = summary
                .trim_start_matches("[remote rejected]")
                .trim()
                .trim_matches(['(', ')']);
            if raced.iter().any(|sign| reason.contains(sign)) {
                return Some(Push::LostRace);
            }
            let said: Vec<&str> = stderr
                .split("; ")
                .filter_map(|l| l.strip_prefix("remote:"))
                .map(str::trim)
                .filter(|l| !l.is_empty())
                .collect();
            let said = if said.is_empty() {
                String::new()
            } else {
                format!(": {}", said.join("; "))
            };
            Some(Push::Refused(format!("{reason}{said}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_git_reports() {
        let of = |line| {
            outcome(
                line,
                "remote: main is protected        ; error: failed to push some refs",
            )
        };
        assert_eq!(of(" \tc:refs/heads/main\ta..b"), Some(Push::Pushed));
        assert_eq!(of("*\tc:refs/heads/main\t[new branch]"), Some(Push::Pushed));
        assert_eq!(
            of("!\tc:refs/heads/main\t[rejected] (stale info)"),
            Some(Push::LostRace)
        );
        assert_eq!(
            of(
                "!\tc:refs/heads/main\t[remote rejected] (cannot lock ref 'refs/heads/main': is at a but expected b)"
            ),
            Some(Push::LostRace)
        );
        assert_eq!(
            of("!\tc:refs/heads/main\t[remote rejected] (pre-receive hook declined)"),
            Some(Push::Refused(
                "pre-receive hook declined: main is protected".to_owned()
            ))
        );
        assert_eq!(of("!\tc:refs/heads/main\t[remote failure]"), None);
    }
}
