//! Whether what was fetched is signed by somebody who is trusted.

use fairway_git::{Mirror, Reference, Revision, TrustedKeys, VerifyError};
use fairway_types::GitRepository;
use fairway_types::git_repository::GitVerification;

use super::access;
use super::judge::{About, Failure, Verified};
use crate::home::{Home, Key};

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode {
    head: bool,
    tag: bool,
}

impl Mode {
    /// `head` is an old name of `HEAD`, and the default.
    fn of(verification: &GitVerification) -> Option<(Self, &'static str)> {
        let of = |head, tag| Self { head, tag };
        match verification.mode.as_deref() {
            None | Some("" | "head" | "HEAD") => Some((of(true, false), "HEAD")),
            Some("Tag") => Some((of(false, true), "Tag")),
            Some("TagAndHEAD") => Some((of(true, true), "TagAndHEAD")),
            Some(_) => None,
        }
    }
}

/// Checks the signatures that `spec.verify` asks for. Every run does, so that a key that is no longer trusted, or has
/// expired, is noticed without a new commit.
pub(super) async fn verify(
    home: &Home,
    key: &Key,
    object: &GitRepository,
    mirror: &Mirror,
    reference: &Reference,
    revision: &Revision,
    now: jiff::Timestamp,
) -> Result<Option<Verified>, Failure> {
    let Some(verification) = &object.spec.verification else {
        return Ok(None);
    };
    let failed = |reason, message: String| Failure::failed(About::Verification, reason, message);
    let Some((mode, name)) = Mode::of(verification) else {
        let message = format!(
            "unknown mode '{}'",
            verification.mode.as_deref().unwrap_or_default()
        );
        return Err(Failure::stalled(
            About::Verification,
            "InvalidVerificationMode",
            message,
        ));
    };
    let secret = &verification.secret_ref.name;
    let data = access::read(home, &key.namespace, secret)
        .await
        .map_err(|why| {
            failed(
                "VerificationError",
                format!("public keys secret error: {why}"),
            )
        })?;
    let keys = TrustedKeys::from_secret(&data);
    let (repository, now) = (mirror.repository(), now.as_second());
    let mut lines = Vec::new();
    if mode.tag {
        let Some(tag) = tag_of(reference, revision) else {
            let message =
                "cannot verify tag object's signature if a tag reference is not specified";
            return Err(Failure::stalled(
                About::Verification,
                "InvalidVerificationMode",
                message,
            ));
        };
        let object = repository
            .tag(&format!("refs/tags/{tag}"))
            .map_err(|error| failed("InvalidGitObject", error.to_string()))?;
        let shown = object
            .as_ref()
            .map_or_else(|| tag.clone(), |object| format!("{tag}@{}", object.id));
        let Some(object) = object.filter(|object| object.is_signed) else {
            let message =
                format!("cannot verify signature of tag '{shown}' since it is not signed");
            return Err(failed("InvalidGitObject", message));
        };
        let by = repository
            .verify_tag(object.id, &tag, &keys, now)
            .map_err(|error| {
                let why = explained("Git tag", &error);
                failed(
                    "InvalidTagSignature",
                    format!("signature verification of tag '{shown}' failed: {why}"),
                )
            })?;
        lines.push(format!("tag '{shown}' with key '{by}'"));
    }
    if mode.head {
        let commit = revision.commit();
        let by = repository
            .verify_commit(commit, &keys, now)
            .map_err(|error| {
                let why = explained("Git commit", &error);
                failed(
                    "InvalidCommitSignature",
                    format!("signature verification of commit '{commit}' failed: {why}"),
                )
            })?;
        lines.push(format!("commit '{commit}' with key '{by}'"));
    }
    Ok(Some(Verified {
        mode: name.to_owned(),
        message: format!("verified signature of\n\t- {}", lines.join("\n\t- ")),
    }))
}

/// In Flux's words.
fn explained(what: &str, error: &VerifyError) -> String {
    match error {
        VerifyError::NoMatch { what: keys, .. } | VerifyError::BadKeys { what: keys, .. }
            if keys.contains("authorized") =>
        {
            format!("unable to verify {what} SSH signature: {error}")
        }
        VerifyError::NoMatch { .. } | VerifyError::BadKeys { .. } => {
            format!("unable to verify {what}: {error}")
        }
        other => other.to_string(),
    }
}

/// The tag that a revision was found by.
fn tag_of(reference: &Reference, revision: &Revision) -> Option<String> {
    match reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Semver(_) => Some(revision.as_str().rsplit_once("@sha1:")?.0.to_owned()),
        Reference::Name(name) => Some(name.strip_prefix("refs/tags/")?.to_owned()),
        Reference::Branch(_) | Reference::Commit { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let of = |mode: Option<&str>| {
            let verification = GitVerification {
                mode: mode.map(str::to_owned),
                ..GitVerification::default()
            };
            Mode::of(&verification).map(|(mode, name)| (mode.head, mode.tag, name))
        };
        assert_eq!(of(None), Some((true, false, "HEAD")));
        assert_eq!(of(Some("head")), Some((true, false, "HEAD")));
        assert_eq!(of(Some("Tag")), Some((false, true, "Tag")));
        assert_eq!(of(Some("TagAndHEAD")), Some((true, true, "TagAndHEAD")));
        assert_eq!(of(Some("none")), None);
    }

    #[test]
    fn tags_of_references() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let revision = Revision::parse(&format!("v1.2.3@sha1:{id}")).unwrap();
        let of = |reference| tag_of(&reference, &revision);
        assert_eq!(of(Reference::Tag("v1".into())).as_deref(), Some("v1"));
        assert_eq!(
            of(Reference::Semver("1.x".into())).as_deref(),
            Some("v1.2.3")
        );
        assert_eq!(
            of(Reference::Name("refs/tags/x".into())).as_deref(),
            Some("x")
        );
        assert_eq!(of(Reference::Name("refs/heads/x".into())), None);
        assert_eq!(of(Reference::Branch("main".into())), None);
    }
}
