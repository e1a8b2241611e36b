//! The repository that a promotion is committed to: fetched into a temporary mirror, changed there, pushed. The person's clone is not
//! touched.

use std::path::Path;
use std::time::Duration;

use fairway_git::{
    Change, Checkout, Commit, Credentials, Mirror, Oid, Push, Reference, Remote, Repository,
    Signature, ViewOptions,
};

use super::author::author;
use crate::args::CommitArgs;
use crate::exit::{Hinted, Misuse};

const TIMEOUT: Duration = Duration::from_mins(1);
/// How often a lost race is tried again.
const TRIES: usize = 10;

/// A branch of a remote repository, ready to be committed to.
pub(crate) struct Place {
    mirror: Mirror,
    branch: String,
    author: Signature,
    head: Oid,
    _directory: tempfile::TempDir,
}

/// What to push on top of the head that was fetched.
pub(crate) enum NewCommit {
    /// These changes.
    Edit(Vec<Change>, String),
    /// The reverse of a commit.
    Revert(Oid, String),
}

impl Place {
    /// Opens the repository that the flags name, else the origin of the clone that the person stands in, else `default`
    /// (URL and branch).
    pub(crate) async fn open(
        args: &CommitArgs,
        default: Option<(String, String)>,
    ) -> anyhow::Result<Self> {
        let here = std::env::current_dir()?;
        let (url, branch) = target(args, &here, default).await?;
        let author = author(
            args.author.as_deref(),
            &here,
            jiff::Timestamp::now().as_second(),
        )
        .await?;
        let directory = tempfile::Builder::new()
            .prefix("fairway-promotion-")
            .tempdir()?;
        let remote = Remote::new(&url, Credentials::ambient())?;
        let mirror = Mirror::open(&directory.path().join("mirror.git"), remote).await?;
        let head = mirror
            .fetch(&Reference::Branch(branch.clone()), TIMEOUT)
            .await?
            .commit();
        Ok(Self {
            mirror,
            branch,
            author,
            head,
            _directory: directory,
        })
    }

    /// The branch.
    pub(crate) fn branch(&self) -> &str {
        &self.branch
    }

    /// The head of the branch when it was last fetched.
    pub(crate) fn head(&self) -> Oid {
        self.head
    }

    /// A file at the head.
    pub(crate) fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.read_at(self.head, path)
    }

    /// A file at a commit.
    pub(crate) fn read_at(&self, commit: Oid, path: &str) -> anyhow::Result<Vec<u8>> {
        let view = self.repository().view(commit, &ViewOptions::default())?;
        match view.kind(path)? {
            Some(fairway_git::EntryKind::File) => Ok(view.read(path)?.to_vec()),
            _ => Err(Hinted::new(
                format!("{path} is not in branch {} of {}", self.branch, self.mirror.remote().url()),
                "are the names of the application and the stage right? they are folders: apps/APP/overlays/STAGE",
            )
            .into()),
        }
    }

    /// The objects of the mirror.
    pub(crate) fn repository(&self) -> &Repository {
        self.mirror.repository()
    }

    /// The commits of the branch that touch a path, newest first.
    pub(crate) async fn history(&self, path: &str) -> anyhow::Result<Vec<Commit>> {
        Ok(self.repository().log(self.head, None, &[path], 200).await?)
    }

    /// Commits what `plan` says for the head and pushes it; when somebody else was faster, fetches and plans again.
    pub(crate) async fn push(
        &mut self,
        mut plan: impl AsyncFnMut(&Self) -> anyhow::Result<NewCommit>,
    ) -> anyhow::Result<Oid> {
        for _ in 0..TRIES {
            let commit = match plan(self).await? {
                NewCommit::Edit(changes, message) => self.repository().edit(
                    Some(self.head),
                    &changes,
                    &message,
                    &self.author,
                    &self.author,
                )?,
                NewCommit::Revert(commit, message) => {
                    self.repository()
                        .revert(self.head, commit, &message, &self.author, &self.author)
                        .await?
                }
            };
            match self
                .mirror
                .push(commit, &self.branch, Some(self.head), TIMEOUT)
                .await?
            {
                Push::Pushed => {
                    self.head = commit;
                    return Ok(commit);
                }
                Push::LostRace => {
                    self.head = self
                        .mirror
                        .fetch(&Reference::Branch(self.branch.clone()), TIMEOUT)
                        .await?
                        .commit();
                }
                Push::Refused(words) => {
                    return Err(Hinted::new(
                        format!("{} refused the push: {words}", self.mirror.remote().url()),
                        "is the branch protected, and may you push to it? nothing was changed",
                    )
                    .into());
                }
            }
        }
        Err(Hinted::new(
            format!("others pushed to {} {TRIES} times in a row", self.branch),
            "nothing was changed; run the command again",
        )
        .into())
    }
}

/// URL and branch.
async fn target(
    args: &CommitArgs,
    here: &Path,
    default: Option<(String, String)>,
) -> anyhow::Result<(String, String)> {
    let (url, branch) = match &args.repo {
        Some(repo) if Path::new(repo).is_dir() => match Checkout::find(Path::new(repo)).await? {
            Some(checkout) => of_checkout(checkout, repo)?,
            None => (Path::new(repo).canonicalize()?.display().to_string(), None),
        },
        Some(repo) => (repo.clone(), None),
        None => match (Checkout::find(here).await?, default) {
            (Some(checkout), _) if here.join("apps").is_dir() => of_checkout(checkout, ".")?,
            (_, Some((url, branch))) => (url, Some(branch)),
            (_, None) => {
                return Err(Misuse("name the repository with --repo, or run this in the top folder of a clone of it".into()).into());
            }
        },
    };
    Ok((
        url,
        args.branch
            .clone()
            .or(branch)
            .unwrap_or_else(|| "main".to_owned()),
    ))
}

fn of_checkout(checkout: Checkout, shown: &str) -> anyhow::Result<(String, Option<String>)> {
    let origin = checkout.origin.ok_or_else(|| {
        Hinted::new(
            format!("the clone {shown} has no remote `origin` to push to"),
            "git remote add origin URL, or name the repository with --repo URL",
        )
    })?;
    Ok((origin, checkout.branch))
}
