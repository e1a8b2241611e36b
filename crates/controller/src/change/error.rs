//! Why nothing was committed, or nobody knows whether something was.

use fairway_git::Oid;

use super::fault::Fault;
use super::image::NotAVersion;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read or edited as wanted. It stays so until a commit changes it.
    #[error(transparent)]
    File(Box<Fault>),
    /// The version is none.
    #[error(transparent)]
    Version(#[from] NotAVersion),
    /// The stage has another version than the promotion was asked for from.
    #[error(
        "{path} has {found}, not {expected}; hint: somebody changed it since; promote again from what is there"
    )]
    OtherVersion {
        /// The file.
        path: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Values that were to be put back are not any more what was set.
    #[error(
        "not put back, since it was changed by others: {}; hint: decide by hand; nothing was committed",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    ChangedSince(Vec<Stands>),
    /// Later commits changed the same lines as the one to be reverted.
    #[error(
        "commit {} can't be reverted: {} was changed on the same lines since; hint: roll back to a version (--to), or put the folder back as it was (--restore); nothing was committed",
        commit.short(), paths.join(", ")
    )]
    Conflict {
        /// The commit.
        commit: Oid,
        /// The files in conflict.
        paths: Vec<String>,
    },
    /// The commit to be reverted changed nothing there.
    #[error("commit {} changed nothing in {}; hint: name a commit that did", commit.short(), within.join(", "))]
    NotThere {
        /// The commit.
        commit: Oid,
        /// The folders and files that a revert may touch.
        within: Vec<String>,
    },
    /// The commit would touch a file that it should not; a defect of Fairway's, found before the push.
    #[error("the commit would change {path} too; hint: please report this; nothing was pushed")]
    TouchesMore {
        /// The file.
        path: String,
    },
    /// The remote does not want the push: a protected branch, a hook.
    #[error(
        "{url} refused the push to {branch}: {words}; hint: {}",
        if *protected { "the branch is protected: let commits come by pull request" } else { "see what the server asks for; nothing was changed" }
    )]
    Refused {
        /// The repository.
        url: String,
        /// The branch.
        branch: String,
        /// The server's words.
        words: String,
        /// Whether they are those of a protected branch.
        protected: bool,
    },
    /// The credential may not push.
    #[error(
        "{url}: the credential may not push: {detail}; hint: give commit.secretRef one that may write to this repository"
    )]
    Denied {
        /// The repository.
        url: String,
        /// The server's words.
        detail: String,
    },
    /// Others were faster each time.
    #[error(
        "others pushed to {branch} {tries} times in a row; hint: nothing was changed; it is tried again"
    )]
    Race {
        /// The branch.
        branch: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The answer to a push was lost, and the remote can't be asked. The same request again finds out.
    #[error(
        "it is not known whether the push to {branch} arrived: {cause}; hint: it is looked up as soon as the remote answers"
    )]
    Unsettled {
        /// The branch.
        branch: String,
        /// What failed.
        cause: fairway_git::Error,
    },
    /// Another Git failure; nothing was pushed.
    #[error(transparent)]
    Git(fairway_git::Error),
}

impl Error {
    /// Whether trying again later, with nothing else changed, may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Race { .. } | Self::Unsettled { .. } => true,
            Self::Git(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Whether a pull request may go where a push was refused.
    pub fn wants_pull_request(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::File(Box::new(fault))
    }
}

impl From<fairway_git::Error> for Error {
    fn from(error: fairway_git::Error) -> Self {
        match error {
            fairway_git::Error::Conflict { commit, paths } => Self::Conflict { commit, paths },
            fairway_git::Error::AuthFailed { url, detail } => Self::Denied { url, detail },
            other => Self::Git(other),
        }
    }
}

/// A value that is not what a promotion set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// The file or folder.
    pub path: String,
    /// The field; empty for the whole.
    pub field: String,
    /// What was set.
    pub set: Option<String>,
    /// What is there.
    pub found: Option<String>,
    /// The newest commit that touched the file since: id, author, subject.
    pub by: Option<String>,
}

impl std::fmt::Display for Stands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        f.write_str(&self.path)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, " is {}, was set to {}", of(&self.found), of(&self.set))?;
        match &self.by {
            Some(by) => write!(f, " ({by})"),
            None => Ok(()),
        }
    }
}
