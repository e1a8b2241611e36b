//! A bare repository on this machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::commit::Commit;
use crate::objects::Objects;
use crate::program::Run;
use crate::{Error, Oid, Remote, TreeView, ViewOptions};

/// A bare repository: reads go to its object database in process, refs change through git.
pub struct Repository {
    directory: PathBuf,
    /// Replaced when a damaged mirror is cloned again.
    objects: RwLock<Arc<Objects>>,
}

impl Repository {
    /// Opens the bare repository in `directory`.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let objects = RwLock::new(Arc::new(Objects::open(directory)?));
        Ok(Self {
            directory: directory.to_owned(),
            objects,
        })
    }

    /// Makes an empty bare repository whose `HEAD` is `branch`.
    pub async fn init(directory: &Path, branch: &str) -> Result<Self, Error> {
        crate::Reference::Branch(branch.to_owned()).check()?;
        let mut arguments = ["init", "--bare", "--quiet", "--template="]
            .map(std::ffi::OsString::from)
            .to_vec();
        arguments.push(format!("--initial-branch={branch}").into());
        arguments.extend(["--".into(), directory.into()]);
        Run::new(arguments).checked().await?;
        Self::open(directory)
    }

    /// Makes a bare copy of `source`, its branches and tags, that has no tie to it left: nothing is
    /// linked, and no remote is configured.
    pub async fn clone_from(
        source: &Remote,
        directory: &Path,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let mut arguments = [
            "clone",
            "--bare",
            "--quiet",
            "--no-hardlinks",
            "--template=",
            "--",
        ]
        .map(std::ffi::OsString::from)
        .to_vec();
        arguments.extend([source.url().into(), directory.into()]);
        Run::new(arguments)
            .with_remote(source, timeout)
            .checked()
            .await?;
        Run::new(["remote", "remove", "origin"])
            .within(directory)
            .checked()
            .await?;
        let format = Run::new(["rev-parse", "--show-object-format"])
            .within(directory)
            .checked()
            .await?;
        if format.text().trim() != "sha1" {
            return Err(Error::Sha256 {
                url: source.url().to_owned(),
            });
        }
        Self::open(directory)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn objects(&self) -> Arc<Objects> {
        self.objects
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn reopen(&self) -> Result<(), Error> {
        let objects = Arc::new(Objects::open(&self.directory)?);
        *self.objects.write().unwrap_or_else(PoisonError::into_inner) = objects;
        Ok(())
    }

    /// Where a ref points, by its full name; symbolic refs (`HEAD`) are followed. Reads git's own
    /// files: no process is started.
    pub fn resolve(&self, name: &str) -> Result<Option<Oid>, Error> {
        let mut name = name.to_owned();
        for _ in 0..5 {
            if name != "HEAD"
                && let Err(reason) = crate::reference::check_name(&name)
            {
                return Err(Error::InvalidReference {
                    field: "name",
                    value: name,
                    reason: reason.to_owned(),
                });
            }
            let path = self.directory.join(&name);
            match std::fs::read_to_string(&path) {
                Ok(text) => match text.trim().strip_prefix("ref: ") {
                    Some(target) => name = String::from(target.trim()),
                    None => return Ok(text.trim().parse().ok()),
                },
                // A folder, or below a file: then it is no loose ref.
                Err(_) => return self.packed(&name),
            }
        }
        Ok(None)
    }

    fn packed(&self, name: &str) -> Result<Option<Oid>, Error> {
        let path = self.directory.join("packed-refs");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let refs = text.lines().filter_map(|line| line.split_once(' '));
                Ok(refs
                    .filter(|(_, n)| *n == name)
                    .find_map(|(id, _)| id.parse().ok()))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::at(&path, &e)),
        }
    }

    /// The branch that `HEAD` names, whether it exists or not.
    pub fn default_branch(&self) -> Result<Option<String>, Error> {
        let path = self.directory.join("HEAD");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::at(&path, &e))?;
        Ok(text
            .trim()
            .strip_prefix("ref: refs/heads/")
            .map(str::to_owned))
    }

    /// The refs below a prefix such as `refs/heads/`, sorted by name.
    pub async fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, Error> {
        let format = "--format=%(objectname) %(refname)";
        let output = Run::new(["for-each-ref", format, "--", prefix])
            .within(&self.directory)
            .checked()
            .await?;
        let parse = |line: &str| {
            line.split_once(' ')
                .and_then(|(id, name)| Some((name.to_owned(), id.parse().ok()?)))
        };
        Ok(output.text().lines().filter_map(parse).collect())
    }

    /// Sets a ref, if it is where it is expected to be (`Some(None)`: absent; `None`: anywhere).
    pub async fn update_ref(
        &self,
        name: &str,
        new: Oid,
        expected: Option<Option<Oid>>,
    ) -> Result<(), Error> {
        crate::reference::check_name(name).map_err(|reason| Error::InvalidReference {
            field: "name",
            value: name.to_owned(),
            reason: reason.to_owned(),
        })?;
        let zero = Oid([0; 20]);
        let old = expected.map(|old| old.unwrap_or(zero).to_string());
        let mut arguments = vec![
            "update-ref".to_owned(),
            "--no-deref".to_owned(),
            name.to_owned(),
            new.to_string(),
        ];
        arguments.extend(old);
        let output = Run::new(arguments).within(&self.directory).output().await?;
        match (output.code, expected) {
            (Some(0), _) => Ok(()),
            (_, Some(old)) if output.stderr.contains("cannot lock ref") => Err(Error::RefMoved {
                reference: name.to_owned(),
                expected: old.map_or_else(|| "(absent)".to_owned(), |id| id.to_string()),
            }),
            _ => Err(Error::Git {
                command: "update-ref".to_owned(),
                detail: output.stderr,
            }),
        }
    }

    /// Deletes a ref; it need not exist.
    pub async fn delete_ref(&self, name: &str) -> Result<(), Error> {
        if self.resolve(name)?.is_some() {
            Run::new(["update-ref", "--no-deref", "-d", name])
                .within(&self.directory)
                .checked()
                .await?;
        }
        Ok(())
    }

    /// A commit's metadata. An annotated tag counts as the commit that it names.
    pub fn commit(&self, id: Oid) -> Result<Commit, Error> {
        Commit::read(&self.objects(), id)
    }

    /// The files of a commit.
    pub fn view(&self, commit: Oid, options: &ViewOptions) -> Result<TreeView, Error> {
        let objects = self.objects();
        let commit = Commit::read(&objects, commit)?;
        TreeView::new(objects, commit.id, commit.tree, options)
    }

    /// Whether the object is in the database.
    pub fn contains(&self, id: Oid) -> bool {
        self.objects().contains(id)
    }

    /// Packs objects and refs. Nothing that a ref reaches is dropped; what no ref reaches is kept
    /// for two weeks.
    pub async fn gc(&self, timeout: Duration) -> Result<(), Error> {
        let run = Run::new(["gc", "--quiet", "--prune=2.weeks.ago"])
            .within(&self.directory)
            .lasting(timeout);
        run.checked().await.map(|_| ())
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Repository").field(&self.directory).finish()
    }
}
