//! The local copy of one repository, as one credential sees it.

mod disk;
mod registry;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::complaint::{is_name_clash, shows_damage};
use crate::program::Run;
use crate::range::version_of_tag;
use crate::{Error, Oid, Range, Reference, Remote, Repository, Revision, TreeView, ViewOptions};

use disk::{discard, held_on_disk, lock, packs, sweep};
pub use registry::Mirrors;

/// Every fetch adds a pack; above this number they become one.
const MAX_PACKS: usize = 50;
const GC_LIMIT: Duration = Duration::from_mins(10);

/// Refs under here keep commits alive that no followed ref may reach any more.
const HOLDS: &str = "refs/fairway/holds/";

/// A bare mirror of one (URL, credential) pair. It is never shared across credentials, so that what
/// it holds is what this credential was allowed to fetch.
///
/// Fetches take turns, across processes too; callers that ask for the same thing while another
/// fetch is under way share the next one. A process that dies half-way leaves a usable mirror; one
/// that turns out to be damaged is cloned again.
pub struct Mirror {
    directory: PathBuf,
    remote: Remote,
    repository: Repository,
    turn: tokio::sync::Mutex<()>,
    pending: Mutex<HashMap<Reference, Arc<Fetched>>>,
    /// A run ended early, so stale lock files may lie about.
    untidy: AtomicBool,
}

/// The outcome of a fetch, for all who wait for it.
type Fetched = OnceCell<Result<Revision, Error>>;

/// A line of `git ls-remote`.
struct Listed {
    name: String,
    id: Oid,
}

impl Mirror {
    /// Opens (or makes, empty) the mirror in `directory`. Touches no network.
    pub async fn open(directory: &Path, remote: Remote) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(|e| Error::at(directory, &e))?;
        let bare = directory.join("repository.git");
        let lock = lock(directory, Duration::from_mins(1)).await?;
        let repository = match Repository::open(&bare) {
            Ok(repository) if bare.join("HEAD").is_file() => repository,
            _ => {
                discard(&bare)?;
                Repository::init(&bare, "main").await?
            }
        };
        drop(lock);
        Ok(Self {
            directory: directory.to_owned(),
            remote,
            repository,
            turn: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
            untidy: AtomicBool::new(true),
        })
    }

    /// The repository on disk.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The folder that is its own.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where it comes from.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The files of a commit that was fetched.
    pub fn view(&self, commit: Oid, options: &ViewOptions) -> Result<TreeView, Error> {
        self.repository.view(commit, options)
    }

    /// Brings the mirror up to date with `reference` and says which revision that is now. Where
    /// nothing changed this costs one `ls-remote` (and nothing at all for a commit that is there).
    ///
    /// `timeout` is the limit for each run of git, and for the wait for another process.
    pub async fn fetch(&self, reference: &Reference, timeout: Duration) -> Result<Revision, Error> {
        reference.check()?;
        let cell = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.entry(reference.clone()).or_default().clone()
        };
        let result = cell
            .get_or_init(|| async {
                let turn = self.turn.lock().await;
                // From here on the remote is looked at: who comes later must not share this one.
                self.forget(reference, &cell);
                let result = self.fetch_now(reference, timeout).await;
                drop(turn);
                result
            })
            .await
            .clone();
        self.forget(reference, &cell);
        result
    }

    fn forget(&self, reference: &Reference, cell: &Arc<Fetched>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending
            .get(reference)
            .is_some_and(|known| Arc::ptr_eq(known, cell))
        {
            pending.remove(reference);
        }
    }

    async fn fetch_now(&self, reference: &Reference, timeout: Duration) -> Result<Revision, Error> {
        let lock = self.locked(timeout).await?;
        if self.repository.objects().is_damaged() {
            self.clone_again(&lock, timeout).await?;
        }
        let mut result = self.follow(reference, &lock, timeout).await;
        if let Err(error) = &result
            && shows_damage(error)
        {
            tracing::warn!(url = self.remote.url(), %error, "the mirror is damaged; cloning it again");
            self.clone_again(&lock, timeout).await?;
            result = self.follow(reference, &lock, timeout).await;
        }
        if result.is_ok() && packs(self.repository.directory()) > MAX_PACKS {
            self.repository.gc(timeout.max(GC_LIMIT)).await?;
        }
        self.tidy();
        result
    }

    /// The lock of this mirror, with what a killed run left swept away.
    pub(crate) async fn locked(&self, timeout: Duration) -> Result<File, Error> {
        let lock = lock(&self.directory, timeout).await?;
        // Holding the lock means that no git runs here, so every lock file is a leftover.
        if self.untidy.swap(true, Ordering::Relaxed) {
            sweep(self.repository.directory());
        }
        Ok(lock)
    }

    pub(crate) fn tidy(&self) {
        self.untidy.store(false, Ordering::Relaxed);
    }

    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Brings one ref up to date; `None` where the remote has none.
    pub(crate) async fn fetch_ref(
        &self,
        name: &str,
        timeout: Duration,
    ) -> Result<Option<Oid>, Error> {
        let turn = self.turn.lock().await;
        let lock = self.locked(timeout).await?;
        let result = match self.update(name, &lock, timeout).await {
            Ok(id) => Ok(Some(id)),
            Err(Error::RefMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        self.tidy();
        drop(turn);
        result
    }

    async fn follow(
        &self,
        reference: &Reference,
        lock: &File,
        timeout: Duration,
    ) -> Result<Revision, Error> {
        match reference {
            Reference::Branch(branch) => {
                let id = self
                    .update(&format!("refs/heads/{branch}"), lock, timeout)
                    .await?;
                Ok(Revision::new(Some(branch), self.repository.commit(id)?.id))
            }
            Reference::Tag(tag) => {
                let id = self
                    .update(&format!("refs/tags/{tag}"), lock, timeout)
                    .await?;
                Ok(Revision::new(Some(tag), self.repository.commit(id)?.id))
            }
            Reference::Name(name) => {
                let id = self.update(name, lock, timeout).await?;
                Ok(Revision::new(Some(name), self.repository.commit(id)?.id))
            }
            Reference::Semver(range) => self.newest(range, lock, timeout).await,
            Reference::Commit { commit, branch } => {
                self.bring(*commit, branch.as_deref(), lock, timeout)
                    .await?;
                Ok(Revision::new(branch.as_deref(), *commit))
            }
        }
    }

    /// Brings one ref up to date.
    async fn update(&self, name: &str, lock: &File, timeout: Duration) -> Result<Oid, Error> {
        let listed = self.list(&[name], lock, timeout).await?;
        let missing = || Error::RefMissing {
            url: self.remote.url().to_owned(),
            reference: name.to_owned(),
        };
        let remote = listed
            .iter()
            .find(|l| l.name == name)
            .ok_or_else(missing)?
            .id;
        if self.repository.resolve(name)? == Some(remote) && self.is_whole(remote) {
            return Ok(remote);
        }
        self.fetch_specs(&[format!("+{name}:{name}")], lock, timeout)
            .await?;
        self.repository.resolve(name)?.ok_or_else(missing)
    }

    /// Whether a ref's commit and root tree are really there.
    fn is_whole(&self, id: Oid) -> bool {
        let commit = self.repository.commit(id);
        commit.is_ok_and(|commit| self.repository.objects().tree(commit.tree).is_ok())
    }

    async fn newest(&self, range: &str, lock: &File, timeout: Duration) -> Result<Revision, Error> {
        let parsed = Range::parse(range)?;
        let listed = self.list(&["refs/tags/*"], lock, timeout).await?;
        let mut best: Vec<(semver::Version, String)> = Vec::new();
        for tag in listed
            .iter()
            .filter_map(|l| l.name.strip_prefix("refs/tags/"))
        {
            let Some(version) = version_of_tag(tag).filter(|v| parsed.matches(v)) else {
                continue;
            };
            if Reference::Tag(tag.to_owned()).check().is_err() {
                continue;
            }
            match best.first().map(|(b, _)| version.cmp_precedence(b)) {
                Some(std::cmp::Ordering::Less) => {}
                Some(std::cmp::Ordering::Equal) => best.push((version, tag.to_owned())),
                Some(std::cmp::Ordering::Greater) | None => best = vec![(version, tag.to_owned())],
            }
        }
        // Versions that differ by build metadata only are equal: then the newest commit wins.
        let mut newest: Option<(i64, Revision)> = None;
        for (_, tag) in best {
            let id = self
                .update(&format!("refs/tags/{tag}"), lock, timeout)
                .await?;
            let commit = self.repository.commit(id)?;
            if newest
                .as_ref()
                .is_none_or(|(seconds, _)| *seconds <= commit.committer.seconds)
            {
                newest = Some((
                    commit.committer.seconds,
                    Revision::new(Some(&tag), commit.id),
                ));
            }
        }
        newest
            .map(|(_, revision)| revision)
            .ok_or_else(|| Error::NoMatchingTag {
                url: self.remote.url().to_owned(),
                range: range.to_owned(),
            })
    }

    /// Makes sure that a commit is there and that this credential may see it.
    async fn bring(
        &self,
        commit: Oid,
        branch: Option<&str>,
        lock: &File,
        timeout: Duration,
    ) -> Result<(), Error> {
        let head = branch.map(|b| format!("refs/heads/{b}"));
        if self.reaches(commit, head.as_deref()).await? {
            return Ok(());
        }
        let specs = match &head {
            Some(head) => vec![format!("+{head}:{head}")],
            None => vec![
                "+refs/heads/*:refs/heads/*".to_owned(),
                "+refs/tags/*:refs/tags/*".to_owned(),
            ],
        };
        // Says early and clearly what fetch says in many ways: no such repository, SHA-256, ….
        let listed = self
            .list(&[head.as_deref().unwrap_or("refs/heads/*")], lock, timeout)
            .await?;
        if let Some(head) = &head
            && listed.iter().all(|l| l.name != *head)
        {
            return Err(Error::RefMissing {
                url: self.remote.url().to_owned(),
                reference: head.clone(),
            });
        }
        self.fetch_specs(&specs, lock, timeout).await?;
        if self.reaches(commit, head.as_deref()).await? {
            return Ok(());
        }
        Err(Error::CommitMissing {
            url: self.remote.url().to_owned(),
            commit: commit.to_string(),
            from: branch.map_or_else(|| "any branch or tag".to_owned(), |b| format!("branch {b}")),
        })
    }

    /// Whether `head`, or any ref that was fetched, or a hold, reaches the commit.
    async fn reaches(&self, commit: Oid, head: Option<&str>) -> Result<bool, Error> {
        let objects = self.repository.objects();
        if !objects.contains(commit) || crate::commit::Commit::read(&objects, commit)?.id != commit
        {
            return Ok(false);
        }
        if self
            .repository
            .resolve(&format!("{HOLDS}{commit}"))?
            .is_some()
        {
            return Ok(true);
        }
        let contains = format!("--contains={commit}");
        let mut arguments = vec![
            "for-each-ref",
            "--count=1",
            "--format=%(refname)",
            &contains,
            "--",
        ];
        match head {
            Some(head) => arguments.push(head),
            None => arguments.push("refs/"),
        }
        let output = Run::new(arguments)
            .within(self.repository.directory())
            .checked()
            .await?;
        Ok(!output.stdout.is_empty())
    }

    async fn list(
        &self,
        patterns: &[&str],
        lock: &File,
        timeout: Duration,
    ) -> Result<Vec<Listed>, Error> {
        let mut arguments = vec!["ls-remote", "--quiet", "--refs", "--", self.remote.url()];
        arguments.extend(patterns);
        let run = Run::new(arguments)
            .with_remote(&self.remote, timeout)
            .holding(lock);
        let output = run.checked().await?;
        let mut listed = Vec::new();
        for line in output.text().lines() {
            let Some((id, name)) = line.split_once('\t') else {
                continue;
            };
            if id.len() == 64 {
                return Err(Error::Sha256 {
                    url: self.remote.url().to_owned(),
                });
            }
            if let Ok(id) = id.parse() {
                listed.push(Listed {
                    name: name.to_owned(),
                    id,
                });
            }
        }
        Ok(listed)
    }

    async fn fetch_specs(
        &self,
        specs: &[String],
        lock: &File,
        timeout: Duration,
    ) -> Result<(), Error> {
        let fetch = async |specs: &[String], prune: bool| {
            let mut arguments = vec![
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-auto-gc",
            ];
            if prune {
                arguments.push("--prune");
            }
            arguments.extend(["--", self.remote.url()]);
            arguments.extend(specs.iter().map(String::as_str));
            let run = Run::new(arguments).within(self.repository.directory());
            run.with_remote(&self.remote, timeout)
                .holding(lock)
                .checked()
                .await
        };
        let Err(error) = fetch(specs, false).await else {
            return Ok(());
        };
        if !is_name_clash(&error) {
            return Err(error);
        }
        // `a` was deleted and `a/b` made, or the other way round: only dropping the old one helps.
        let all = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/{kind}/*"));
        fetch(&all, true).await?;
        fetch(specs, false).await.map(|_| ())
    }

    /// Keeps a commit that was fetched, whatever becomes of the refs that reach it.
    pub async fn hold(&self, commit: Oid) -> Result<(), Error> {
        let turn = self.turn.lock().await;
        let _lock = self.locked(Duration::from_mins(1)).await?;
        if !self.reaches(commit, None).await? {
            return Err(Error::CommitMissing {
                url: self.remote.url().to_owned(),
                commit: commit.to_string(),
                from: "any fetched ref".to_owned(),
            });
        }
        self.repository
            .update_ref(&format!("{HOLDS}{commit}"), commit, None)
            .await?;
        self.tidy();
        drop(turn);
        Ok(())
    }

    /// Lets a held commit go; one that is not held is no error.
    pub async fn unhold(&self, commit: Oid) -> Result<(), Error> {
        let turn = self.turn.lock().await;
        let _lock = self.locked(Duration::from_mins(1)).await?;
        self.repository
            .delete_ref(&format!("{HOLDS}{commit}"))
            .await?;
        self.tidy();
        drop(turn);
        Ok(())
    }

    /// The held commits.
    pub async fn holds(&self) -> Result<Vec<Oid>, Error> {
        Ok(self
            .repository
            .refs(HOLDS)
            .await?
            .into_iter()
            .map(|(_, id)| id)
            .collect())
    }

    /// Packs the mirror; held commits stay.
    pub async fn gc(&self, timeout: Duration) -> Result<(), Error> {
        let turn = self.turn.lock().await;
        let _lock = self.locked(timeout).await?;
        self.repository.gc(timeout).await?;
        self.tidy();
        drop(turn);
        Ok(())
    }

    /// Starts over with an empty repository, and saves the held commits into it.
    async fn clone_again(&self, lock: &File, timeout: Duration) -> Result<(), Error> {
        let bare = self.repository.directory().to_owned();
        let held = held_on_disk(&bare);
        let old = self.directory.join("damaged.git");
        discard(&old)?;
        if bare.exists() {
            std::fs::rename(&bare, &old).map_err(|e| Error::at(&bare, &e))?;
        }
        Repository::init(&bare, "main").await?;
        self.repository.reopen()?;
        let mut lost = Vec::new();
        let salvage = Remote::new(&old.display().to_string(), crate::Credentials::none())?;
        for commit in held {
            let name = format!("{HOLDS}{commit}");
            let arguments = [
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-auto-gc",
                "--",
                salvage.url(),
            ];
            let arguments = arguments
                .iter()
                .map(|a| (*a).to_owned())
                .chain([format!("+{name}:{name}")]);
            let run = Run::new(arguments)
                .within(&bare)
                .with_remote(&salvage, timeout)
                .holding(lock);
            if run.checked().await.is_err() {
                lost.push(commit);
            }
        }
        if !lost.is_empty() {
            let all = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:refs/{kind}/*"));
            self.fetch_specs(&all, lock, timeout).await?;
            for commit in lost {
                if self.reaches(commit, None).await? {
                    self.repository
                        .update_ref(&format!("{HOLDS}{commit}"), commit, None)
                        .await?;
                } else {
                    tracing::warn!(%commit, url = self.remote.url(), "a held commit is lost");
                }
            }
        }
        discard(&old)
    }
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror")
            .field("directory", &self.directory)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
