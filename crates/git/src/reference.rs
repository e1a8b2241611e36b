//! What to follow in a repository, and the revision that it stands for.

use std::fmt;

use crate::{Error, Oid};

/// What a `spec.ref` follows. Build it with [`Reference::from_spec`], or directly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The head of a branch.
    Branch(String),
    /// One tag.
    Tag(String),
    /// The newest tag in a range of versions.
    Semver(String),
    /// A ref by its full name, `refs/heads/…`, `refs/pull/420/head`, ….
    Name(String),
    /// One commit, which must be reachable from a ref that the credential may fetch: from `branch`,
    /// if that is given.
    Commit {
        /// The commit.
        commit: Oid,
        /// The branch that must hold it.
        branch: Option<String>,
    },
}

impl Reference {
    /// From the fields of a `GitRepository`'s `spec.ref`; of several the later of branch, tag, semver,
    /// name, commit wins, none is the branch `master`, as in Flux. Empty strings count as not given.
    pub fn from_spec(
        branch: Option<&str>,
        tag: Option<&str>,
        semver: Option<&str>,
        name: Option<&str>,
        commit: Option<&str>,
    ) -> Result<Self, Error> {
        let given = |value: Option<&str>| value.filter(|v| !v.is_empty()).map(str::to_owned);
        let reference = if let Some(commit) = given(commit) {
            let parsed =
                commit
                    .parse()
                    .map_err(|e: crate::InvalidOid| Error::InvalidReference {
                        field: "commit",
                        value: commit.clone(),
                        reason: e.to_string(),
                    })?;
            Self::Commit {
                commit: parsed,
                branch: given(branch),
            }
        } else if let Some(name) = given(name) {
            Self::Name(name)
        } else if let Some(range) = given(semver) {
            Self::Semver(range)
        } else if let Some(tag) = given(tag) {
            Self::Tag(tag)
        } else {
            Self::Branch(given(branch).unwrap_or_else(|| "master".to_owned()))
        };
        reference.check()?;
        Ok(reference)
    }

    /// Checks names by git's own rules (`git check-ref-format`), so that none can be taken for an
    /// option, a pattern or a refspec.
    pub fn check(&self) -> Result<(), Error> {
        let (field, value, checked) = match self {
            Self::Branch(name) => ("branch", name, check_name(&format!("refs/heads/{name}"))),
            Self::Tag(name) => ("tag", name, check_name(&format!("refs/tags/{name}"))),
            Self::Semver(range) => return crate::Range::parse(range).map(|_| ()),
            Self::Name(name) if name.starts_with("refs/fairway/") => {
                ("name", name, Err("refs/fairway/ is Fairway's own"))
            }
            Self::Name(name) => ("name", name, check_name(name)),
            Self::Commit {
                branch: Some(name), ..
            } => ("branch", name, check_name(&format!("refs/heads/{name}"))),
            Self::Commit { branch: None, .. } => return Ok(()),
        };
        checked.map_err(|reason| Error::InvalidReference {
            field,
            value: value.clone(),
            reason: reason.to_owned(),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Semver(range) => write!(f, "semver {range}"),
            Self::Name(name) => f.write_str(name),
            Self::Commit {
                commit,
                branch: Some(branch),
            } => write!(f, "commit {commit} of branch {branch}"),
            Self::Commit {
                commit,
                branch: None,
            } => write!(f, "commit {commit}"),
        }
    }
}

/// A commit as Flux writes it into `status.artifact.revision`: `main@sha1:<id>` for a branch or tag,
/// `refs/heads/main@sha1:<id>` for `ref.name`, `sha1:<id>` for a commit alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    text: String,
    commit: Oid,
}

impl Revision {
    pub(crate) fn new(reference: Option<&str>, commit: Oid) -> Self {
        let text = match reference {
            Some(reference) => format!("{reference}@sha1:{commit}"),
            None => format!("sha1:{commit}"),
        };
        Self { text, commit }
    }

    /// The commit.
    pub fn commit(&self) -> Oid {
        self.commit
    }

    /// As text, see above.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a revision back, from a status for instance.
    pub fn parse(text: &str) -> Option<Self> {
        let commit = text.rsplit_once("sha1:")?.1.parse().ok()?;
        Some(Self {
            text: text.to_owned(),
            commit,
        })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rules of `git check-ref-format` for a full ref name.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if !name.starts_with("refs/") {
        return Err("a full ref name starts with 'refs/'");
    }
    if name.len() > 1024 {
        return Err("it is longer than 1024 bytes");
    }
    if name.ends_with('.') || name.contains("..") || name.contains("@{") {
        return Err("it holds '..' or '@{', or ends with '.'");
    }
    let forbidden =
        |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    if name.chars().any(forbidden) {
        return Err("it holds a space, a control character or one of ~ ^ : ? * [ \\");
    }
    for component in name.split('/') {
        if component.is_empty() {
            return Err("it has an empty component");
        }
        if component.starts_with('.') || component.to_ascii_lowercase().ends_with(".lock") {
            return Err("a component starts with '.' or ends with '.lock'");
        }
        if component.starts_with('-') {
            return Err("a component starts with '-'");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_later_field_wins() {
        let of = |b, t, s, n, c| Reference::from_spec(b, t, s, n, c).unwrap();
        assert_eq!(
            of(None, None, None, None, None),
            Reference::Branch("master".into())
        );
        assert_eq!(
            of(Some(""), None, None, None, None),
            Reference::Branch("master".into())
        );
        assert_eq!(
            of(Some("b"), Some("t"), None, None, None),
            Reference::Tag("t".into())
        );
        assert_eq!(
            of(Some("b"), Some("t"), Some("1.x"), None, None),
            Reference::Semver("1.x".into())
        );
        assert_eq!(
            of(None, None, Some("1.x"), Some("refs/pull/1/head"), None),
            Reference::Name("refs/pull/1/head".into())
        );
        let commit = ID.parse().unwrap();
        assert_eq!(
            of(Some("b"), Some("t"), None, None, Some(ID)),
            Reference::Commit {
                commit,
                branch: Some("b".into())
            }
        );
    }

    #[test]
    fn revisions_read_as_in_flux() {
        let commit = ID.parse().unwrap();
        assert_eq!(
            Revision::new(Some("main"), commit).as_str(),
            format!("main@sha1:{ID}")
        );
        assert_eq!(Revision::new(None, commit).as_str(), format!("sha1:{ID}"));
        assert_eq!(
            Revision::parse(&format!("feat/x@sha1:{ID}"))
                .unwrap()
                .commit(),
            commit
        );
        assert_eq!(Revision::parse("main@sha1:abc"), None);
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "--upload-pack=x",
            "a..b",
            "a b",
            "a:b",
            "+a",
            "x*",
            "a/.b",
            "a//b",
            "a.lock",
            "a@{1}",
            "a\nb",
            "-x",
            "x/-y",
            "a^",
            "",
        ] {
            let branch = Reference::Branch(name.to_owned()).check();
            // '+a' is a legal branch name, and harmless behind refs/heads/.
            assert_eq!(branch.is_ok(), name == "+a", "{name:?}");
        }
        for name in [
            "main",
            "HEAD",
            "-",
            "refs/fairway/holds/x",
            "refs/heads/*",
            "refs/heads/a b",
        ] {
            assert!(
                Reference::Name(name.to_owned()).check().is_err(),
                "{name:?}"
            );
        }
        for commit in ["main", "0123", "--all", &ID.replace('0', "g")] {
            assert!(
                Reference::from_spec(None, None, None, None, Some(commit)).is_err(),
                "{commit:?}"
            );
        }
    }
}
