//! The repository of a Pipeline, to look at: fetched into a temporary mirror with the person's own credentials.

use std::path::Path;

use anyhow::Context as _;
use fairway_controller::change::Workspace;
use fairway_git::{Credentials, Oid};

use crate::exit::Hinted;

/// A branch that was fetched.
pub(crate) struct Reading {
    /// The branch.
    pub(crate) workspace: Workspace,
    /// Its head.
    pub(crate) head: Oid,
    _directory: tempfile::TempDir,
}

impl Reading {
    /// Fetches a branch of `repo` (a path or URL), or of the URL that the fleet's source has.
    pub(crate) async fn open(
        repo: Option<&str>,
        (url, branch): (String, String),
    ) -> anyhow::Result<Self> {
        let url = match repo {
            Some(repo) if Path::new(repo).is_dir() => {
                Path::new(repo).canonicalize()?.display().to_string()
            }
            Some(repo) => repo.to_owned(),
            None => url,
        };
        let directory = tempfile::Builder::new()
            .prefix("fairway-promotion-")
            .tempdir()?;
        let folder = directory.path().join("mirror.git");
        let workspace = Workspace::open(&folder, &url, Credentials::ambient(), &branch).await?;
        let head = workspace.fetch().await.with_context(|| {
            Hinted::new(
                format!("failed to read branch {branch} of {url}"),
                "it is read with your own credentials, as git would; --repo names another address of the same repository",
            )
        })?;
        Ok(Self {
            workspace,
            head,
            _directory: directory,
        })
    }
}
