//! Who a commit is by.

use std::path::Path;

use fairway_git::Signature;

use crate::exit::{Hinted, Misuse};

/// The author that the flag names, else the person's git identity.
pub(super) async fn author(
    flag: Option<&str>,
    directory: &Path,
    seconds: i64,
) -> anyhow::Result<Signature> {
    if let Some(flag) = flag {
        return parse(flag, seconds);
    }
    fairway_git::identity(directory, seconds)
        .await?
        .ok_or_else(|| {
            Hinted::new(
                "git does not know who you are",
                "git config --global user.name and user.email, or --author 'Name <email>'",
            )
            .into()
        })
}

fn parse(text: &str, seconds: i64) -> anyhow::Result<Signature> {
    let invalid = || Misuse(format!("--author {text:?}: write 'Name <email>'"));
    let (name, rest) = text.split_once('<').ok_or_else(invalid)?;
    let email = rest.trim_end().strip_suffix('>').ok_or_else(invalid)?;
    if name.trim().is_empty() || email.is_empty() {
        return Err(invalid().into());
    }
    Ok(Signature::new(name.trim(), email, seconds))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn name_and_address() {
        let signature = parse("Ann B <ann@example.org>", 5).unwrap();
        assert_eq!(
            (signature.name.as_str(), signature.email.as_str()),
            ("Ann B", "ann@example.org")
        );
        assert!(parse("ann@example.org", 5).is_err());
        assert!(parse("<a@b>", 5).is_err());
    }
}
