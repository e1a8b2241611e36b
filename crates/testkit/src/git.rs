//! A Git server, and people who push to it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use fairway_git::serve::{Faults, Server};
use fairway_git::{Oid, Repository};
use tempfile::TempDir;
use tokio::process::Command;

/// A bare repository in a temporary folder, served over loopback HTTP.
#[derive(Debug)]
pub struct GitServer {
    name: String,
    server: Server,
    repository: Repository,
    folder: TempDir,
}

impl GitServer {
    /// Serves an empty repository under `name`; its branch is `main`.
    pub async fn start(name: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let repository = Repository::init(&folder.path().join("served.git"), "main").await?;
        let server = Server::start_anywhere().await?;
        server.add(name, repository.directory());
        Ok(Self {
            name: name.to_owned(),
            server,
            repository,
            folder,
        })
    }

    /// Serves a repository whose first commit holds the files below `source`.
    pub async fn start_with(name: &str, source: &Path) -> Result<Self> {
        let server = Self::start(name).await?;
        let clone = server.clone_to_work().await?;
        clone.copy_from(source)?;
        clone.commit_and_push("Import").await?;
        Ok(server)
    }

    /// The URL to clone and push.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The served repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The server: passwords, callbacks.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Goes wrong like this from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.server.set_faults(faults);
    }

    /// The head of `main`.
    pub fn head(&self) -> Result<Oid> {
        self.repository
            .resolve("refs/heads/main")?
            .context("there is no commit on main")
    }

    /// A new clone, as a person has it. It needs the server to let everybody in while it is made.
    pub async fn clone_to_work(&self) -> Result<WorkClone> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let clone = WorkClone::new(folder, &self.url()).await?;
        if self.repository.resolve("refs/heads/main")?.is_some() {
            clone.pull().await?;
        }
        Ok(clone)
    }

    /// What a person does in one go: a fresh clone, some files written (or, with `None`, deleted),
    /// a commit, a push. Returns the commit.
    pub async fn commit(&self, message: &str, files: &[(&str, Option<&str>)]) -> Result<Oid> {
        let clone = self.clone_to_work().await?;
        for (path, content) in files {
            match content {
                Some(content) => clone.write(path, content)?,
                None => clone.remove(path)?,
            }
        }
        clone.commit_and_push(message).await
    }

    /// As [`GitServer::commit`], with one text replaced in one file; it must be there.
    pub async fn replace(&self, path: &str, old: &str, new: &str) -> Result<Oid> {
        let clone = self.clone_to_work().await?;
        clone.replace(path, old, new)?;
        clone.commit_and_push(&format!("Change {path}")).await
    }
}

/// A person's clone with a work tree.
#[derive(Debug)]
pub struct WorkClone {
    folder: TempDir,
}

impl WorkClone {
    /// A new clone of a repository that somebody else serves; its branch `main` must have a commit.
    pub async fn of(url: &str) -> Result<Self> {
        let clone = Self::new(tempfile::tempdir()?, url).await?;
        clone.pull().await?;
        Ok(clone)
    }

    async fn new(folder: TempDir, url: &str) -> Result<Self> {
        let clone = Self { folder };
        clone
            .git(&["init", "--quiet", "--initial-branch=main", "."])
            .await?;
        clone.git(&["remote", "add", "origin", url]).await?;
        Ok(clone)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.at(path)).with_context(|| path.to_owned())
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let full = self.at(path);
        std::fs::create_dir_all(full.parent().context("a path without a folder")?)?;
        std::fs::write(full, content).with_context(|| path.to_owned())
    }

    /// Removes a file or a folder.
    pub fn remove(&self, path: &str) -> Result<()> {
        let full = self.at(path);
        let removed = if full.is_dir() {
            std::fs::remove_dir_all(&full)
        } else {
            std::fs::remove_file(&full)
        };
        removed.with_context(|| path.to_owned())
    }

    /// Replaces a text in a file; it must be there.
    pub fn replace(&self, path: &str, old: &str, new: &str) -> Result<()> {
        let text = self.read(path)?;
        ensure!(text.contains(old), "{path} does not hold {old:?}:\n{text}");
        self.write(path, &text.replace(old, new))
    }

    /// Copies the files below a folder, but for `.git`.
    pub fn copy_from(&self, source: &Path) -> Result<()> {
        copy(source, self.folder.path())
    }

    /// Commits everything and pushes to `main`.
    pub async fn commit_and_push(&self, message: &str) -> Result<Oid> {
        self.git(&["add", "--all", "."]).await?;
        self.git(&["commit", "--quiet", "--message", message])
            .await?;
        self.git(&["push", "--quiet", "origin", "HEAD:main"])
            .await?;
        let head = self.git(&["rev-parse", "HEAD"]).await?;
        Ok(head.trim().parse()?)
    }

    /// Brings the clone up to date with `main`.
    pub async fn pull(&self) -> Result<()> {
        self.git(&["fetch", "--quiet", "origin", "main"]).await?;
        self.git(&["reset", "--quiet", "--hard", "FETCH_HEAD"])
            .await?;
        Ok(())
    }

    /// Any other git command; its output, or its complaint as an error.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command
            .env_clear()
            .current_dir(self.folder.path())
            .args(arguments);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Pat")
                .env(format!("GIT_{role}_EMAIL"), "pat@example.org");
        }
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "git {}: {error}",
            arguments.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn copy(source: &Path, target: &Path) -> Result<()> {
    for entry in std::fs::read_dir(source).with_context(|| source.display().to_string())? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        if entry.file_name() == ".git" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&to)?;
            copy(&from, &to)?;
        } else {
            std::fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
