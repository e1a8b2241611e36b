//! The clone that a person stands in: where it came from, its branch, and who they are to git.

use std::path::Path;
use std::process::Stdio;

use crate::program::{check_version, command, spawn};
use crate::{Error, Signature};

/// A person's clone with a work tree. Nothing in it is changed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The URL of its remote `origin`.
    pub origin: Option<String>,
    /// The branch that is checked out.
    pub branch: Option<String>,
}

impl Checkout {
    /// The clone that holds `directory`; `None` where that is in no work tree.
    pub async fn find(directory: &Path) -> Result<Option<Self>, Error> {
        if ask(directory, &["rev-parse", "--is-inside-work-tree"])
            .await?
            .as_deref()
            != Some("true")
        {
            return Ok(None);
        }
        let origin = ask(directory, &["remote", "get-url", "origin"]).await?;
        let branch = ask(directory, &["symbolic-ref", "--short", "HEAD"]).await?;
        Ok(Some(Self { origin, branch }))
    }
}

/// The person's `user.name` and `user.email`, at `seconds` since 1970; `None` where git knows neither.
pub async fn identity(directory: &Path, seconds: i64) -> Result<Option<Signature>, Error> {
    let name = ask(directory, &["config", "user.name"]).await?;
    let email = ask(directory, &["config", "user.email"]).await?;
    Ok(name
        .zip(email)
        .map(|(name, email)| Signature::new(&name, &email, seconds)))
}

/// One line that git answers; `None` where it has no answer.
async fn ask(directory: &Path, arguments: &[&str]) -> Result<Option<String>, Error> {
    check_version().await?;
    let mut command = command(true);
    command.current_dir(directory).args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let output = spawn(&mut command)?
        .wait_with_output()
        .await
        .map_err(|e| Error::io("git", &e))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((output.status.success() && !text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Repository;

    #[tokio::test]
    async fn a_bare_repository_and_a_plain_folder_are_no_checkout() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Checkout::find(dir.path()).await.unwrap(), None);
        let bare = dir.path().join("bare.git");
        Repository::init(&bare, "main").await.unwrap();
        assert_eq!(Checkout::find(&bare).await.unwrap(), None);
    }
}
