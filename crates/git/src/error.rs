//! What can go wrong between Fairway and a repository.

use std::path::Path;
use std::time::Duration;

/// Why a Git operation failed. No variant ever holds a credential: URLs are printed without user
/// information, and what the `git` program wrote is scrubbed of every secret that was given to it.
///
/// Errors can be cloned, since callers that share one fetch share its failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no `git` program in `PATH`.
    #[error("the git program was not found in PATH; hint: install git {minimum} or newer")]
    ProgramMissing {
        /// The oldest version that works, see [`MINIMUM_GIT`](crate::MINIMUM_GIT).
        minimum: String,
    },
    /// The `git` program is too old.
    #[error("git {found} is too old; hint: install git {minimum} or newer")]
    ProgramTooOld {
        /// What `git version` said.
        found: String,
        /// The oldest version that works.
        minimum: String,
    },
    /// The URL of a repository is malformed, or of a kind that is never run.
    #[error("invalid repository URL '{url}': {reason}")]
    InvalidUrl {
        /// The URL, without user information.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A branch, tag, range or ref name is malformed.
    #[error("invalid {field} '{value}': {reason}")]
    InvalidReference {
        /// `branch`, `tag`, `semver`, `name` or `commit`, as in `spec.ref`.
        field: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server knows no such repository (or does not admit it to this credential).
    #[error("repository '{url}' not found: {detail}")]
    RepositoryNotFound {
        /// The URL.
        url: String,
        /// What git said.
        detail: String,
    },
    /// The server, or its host key, refused the credential.
    #[error("authentication failed for '{url}': {detail}")]
    AuthFailed {
        /// The URL.
        url: String,
        /// What git said.
        detail: String,
    },
    /// The repository has no such branch, tag or ref.
    #[error("couldn't find remote ref '{reference}' in '{url}'")]
    RefMissing {
        /// The URL.
        url: String,
        /// The full ref name.
        reference: String,
    },
    /// No tag fits the range.
    #[error("no match found for semver '{range}' in '{url}'")]
    NoMatchingTag {
        /// The URL.
        url: String,
        /// The range as given.
        range: String,
    },
    /// The commit can't be reached from any ref that this credential fetched.
    #[error("commit {commit} is not reachable from {from} of '{url}'")]
    CommitMissing {
        /// The URL.
        url: String,
        /// The commit as asked for.
        commit: String,
        /// Where it was looked for.
        from: String,
    },
    /// No answer: name resolution, refused connection, broken connection, a 5xx of the server.
    #[error("repository '{url}' is unreachable: {detail}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What git said.
        detail: String,
    },
    /// The operation took longer than allowed and was killed.
    #[error("'{url}': git {command} took longer than {after:?} and was stopped")]
    Timeout {
        /// The URL, or the directory of a local operation.
        url: String,
        /// The subcommand.
        command: String,
        /// The limit.
        after: Duration,
    },
    /// The certificate of the server is not trusted, or TLS could not be agreed on.
    #[error("TLS to '{url}' failed: {detail}")]
    TlsFailed {
        /// The URL.
        url: String,
        /// What git said.
        detail: String,
    },
    /// The repository names its objects by SHA-256.
    #[error("'{url}' is a SHA-256 repository; only SHA-1 object ids are supported, as in Flux")]
    Sha256 {
        /// The URL.
        url: String,
    },
    /// The local object database misses an object or holds a damaged one; the next fetch clones again.
    #[error("the local mirror {dir} is damaged: {detail}")]
    Damaged {
        /// The mirror.
        dir: String,
        /// What could not be read.
        detail: String,
    },
    /// There is no such object here: a commit that was never fetched, or that gc dropped.
    #[error("object {object} is not in {dir}")]
    ObjectMissing {
        /// Its id.
        object: Oid,
        /// The repository.
        dir: String,
    },
    /// Another process holds the mirror.
    #[error("the mirror {dir} is in use by another process")]
    Busy {
        /// The mirror.
        dir: String,
    },
    /// The object is there, but is not what was asked for.
    #[error("{object} is a {found}, not a {wanted}")]
    WrongKind {
        /// Its id.
        object: Oid,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// An edit that can't be made: a path out of the tree, a file where a folder is, ….
    #[error("{path}: {reason}")]
    InvalidEdit {
        /// The path in the repository.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A directory of `spec.sparseCheckout` is not there.
    #[error("sparse checkout dir '{path}' does not exist in repository")]
    SparseMissing {
        /// The directory.
        path: String,
    },
    /// A submodule can't be fetched, or is not to be trusted.
    #[error("submodule '{path}': {reason}")]
    Submodule {
        /// Where it is in the repository.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The edit leaves every byte as it was, so there is nothing to commit.
    #[error("nothing to commit: the files already have this content")]
    NothingToCommit,
    /// A commit can't be reverted, because later commits changed the same lines.
    #[error("commit {commit} can't be reverted: changed since in {}", paths.join(", "))]
    Conflict {
        /// The commit to be reverted.
        commit: Oid,
        /// The paths in conflict.
        paths: Vec<String>,
    },
    /// A path of a view is not as asked for, see [`TreeError`](crate::TreeError).
    #[error(transparent)]
    Tree(#[from] crate::TreeError),
    /// A local ref moved between reading and writing it.
    #[error("ref '{reference}' is not at {expected}")]
    RefMoved {
        /// The full ref name.
        reference: String,
        /// Where it was expected: an id, or `(absent)`.
        expected: String,
    },
    /// The file system refused.
    #[error("{context}: {detail}")]
    Io {
        /// What was tried.
        context: String,
        /// What the system said.
        detail: String,
    },
    /// Anything else that the git program said.
    #[error("git {command} failed: {detail}")]
    Git {
        /// The subcommand.
        command: String,
        /// Its last lines, scrubbed.
        detail: String,
    },
}

use crate::Oid;

impl Error {
    /// Whether trying again later, with nothing else changed, may help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Busy { .. }
                | Self::Damaged { .. }
                | Self::Io { .. }
        )
    }

    pub(crate) fn io(context: impl Into<String>, error: &std::io::Error) -> Self {
        Self::Io {
            context: context.into(),
            detail: error.to_string(),
        }
    }

    pub(crate) fn at(path: &Path, error: &std::io::Error) -> Self {
        Self::io(path.display().to_string(), error)
    }
}
