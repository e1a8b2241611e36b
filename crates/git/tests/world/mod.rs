//! A repository on disk, as the tests' model of somebody else's.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it, and what fails here fails the test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use fairway_git::{Change, Credentials, Mirror, Oid, Reference, Remote, Repository, Signature};
use tempfile::TempDir;

pub struct World {
    pub dir: TempDir,
    pub origin: Repository,
    clock: AtomicI64,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = Repository::init(&dir.path().join("origin.git"), "main")
            .await
            .unwrap();
        Self {
            dir,
            origin,
            clock: AtomicI64::new(1_700_000_000),
        }
    }

    pub fn remote(&self) -> Remote {
        Remote::new(
            &format!("file://{}", self.origin.directory().display()),
            Credentials::none(),
        )
        .unwrap()
    }

    pub async fn mirror(&self) -> Mirror {
        Mirror::open(&self.dir.path().join("mirror"), self.remote())
            .await
            .unwrap()
    }

    /// A commit on top of a branch of the origin, which is made if need be.
    pub async fn commit(&self, branch: &str, changes: &[Change]) -> Oid {
        let name = format!("refs/heads/{branch}");
        let head = self.origin.resolve(&name).unwrap();
        let who = ann(self.clock.fetch_add(60, Ordering::Relaxed));
        let commit = self
            .origin
            .edit(head, changes, "change\n", &who, &who)
            .unwrap();
        self.origin
            .update_ref(&name, commit, Some(head))
            .await
            .unwrap();
        commit
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(self.origin.directory(), arguments)
    }
}

/// The reference implementation.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Bob")
            .env(format!("GIT_{role}_EMAIL"), "bob@example.org");
    }
    let output = command
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

pub fn ann(seconds: i64) -> Signature {
    Signature::new("Ann", "ann@example.org", seconds)
}

pub fn branch(name: &str) -> Reference {
    Reference::Branch(name.to_owned())
}

pub fn write(path: &str, content: &str) -> Change {
    Change::write(path, content)
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            out.extend(files(&entry.path()));
        } else {
            out.push(entry.path());
        }
    }
    out
}
