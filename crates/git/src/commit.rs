//! What a commit says: who, when, why, and on top of what.

use crate::objects::Objects;
use crate::verify::SigningKey;
use crate::{Error, Oid};
use gix_object::Kind;

const MAX_COMMIT: u64 = 1 << 20;

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// Its id.
    pub id: Oid,
    /// Its root tree.
    pub tree: Oid,
    /// The commits that it was made on.
    pub parents: Vec<Oid>,
    /// Who wrote the change.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// The whole message.
    pub message: String,
}

/// A person and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
    /// Seconds since 1970 (UTC).
    pub seconds: i64,
    /// The offset of the person's clock from UTC, in minutes.
    pub offset_minutes: i32,
}

/// Who makes a commit, with which words, and signed by whom.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The whole message.
    pub message: &'a str,
    /// Who wrote the change.
    pub author: &'a Signature,
    /// Who makes the commit.
    pub committer: &'a Signature,
    /// Signs it, where there is one.
    pub key: Option<&'a SigningKey>,
}

impl Signature {
    /// A signature in UTC.
    pub fn new(name: &str, email: &str, seconds: i64) -> Self {
        Self {
            name: name.to_owned(),
            email: email.to_owned(),
            seconds,
            offset_minutes: 0,
        }
    }

    /// `Name <email> 1700000000 +0000`, with what can't stand there left out.
    pub(crate) fn encode(&self) -> String {
        let clean = |text: &str, fallback: &str| {
            let text: String = text
                .chars()
                .filter(|c| !c.is_control() && !matches!(c, '<' | '>'))
                .collect();
            let text = text.trim().to_owned();
            if text.is_empty() {
                fallback.to_owned()
            } else {
                text
            }
        };
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let offset = self.offset_minutes.unsigned_abs();
        let (name, email) = (clean(&self.name, "unknown"), clean(&self.email, "unknown"));
        format!(
            "{name} <{email}> {} {sign}{:02}{:02}",
            self.seconds,
            offset / 60,
            offset % 60
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('<')?;
        let (email, time) = rest.rsplit_once('>')?;
        let mut words = time.split_whitespace();
        let seconds = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
        let zone: i32 = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
        let offset_minutes = (zone / 100) * 60 + zone % 100;
        Some(Self {
            name: name.trim().to_owned(),
            email: email.trim().to_owned(),
            seconds,
            offset_minutes,
        })
    }
}

impl Commit {
    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default().trim_end()
    }

    /// The trailers (`Key: value`) of the last paragraph, in order.
    pub fn trailers(&self) -> Vec<(&str, &str)> {
        let body = self.message.trim_end();
        let Some((_, last)) = body.rsplit_once("\n\n") else {
            return Vec::new();
        };
        let parse = |line: &'_ str| -> Option<(usize, usize)> {
            let at = line.find(": ")?;
            let key = &line[..at];
            let fits =
                !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            fits.then_some((at, at + 2))
        };
        let pairs: Vec<_> = last
            .lines()
            .filter_map(|line| parse(line).map(|(end, from)| (&line[..end], line[from..].trim())))
            .collect();
        // A paragraph of prose that holds a colon somewhere is none.
        if pairs.len() == last.lines().count() {
            pairs
        } else {
            Vec::new()
        }
    }

    /// Reads a commit; tags are followed.
    pub(crate) fn read(objects: &Objects, id: Oid) -> Result<Self, Error> {
        objects.expect(id)?;
        let mut current = id;
        for _ in 0..8 {
            let (kind, data) = objects.find(current, MAX_COMMIT)?;
            match kind {
                Kind::Commit => {
                    return Self::parse(current, &data).ok_or_else(|| Error::WrongKind {
                        object: current,
                        found: "malformed commit".to_owned(),
                        wanted: "commit",
                    });
                }
                Kind::Tag => {
                    let text = String::from_utf8_lossy(&data);
                    let target = text
                        .lines()
                        .next()
                        .and_then(|l| l.strip_prefix("object "))
                        .and_then(|t| t.parse().ok());
                    match target {
                        Some(target) => current = target,
                        None => break,
                    }
                }
                other => {
                    return Err(Error::WrongKind {
                        object: current,
                        found: other.to_string(),
                        wanted: "commit",
                    });
                }
            }
        }
        Err(Error::WrongKind {
            object: id,
            found: "chain of tags".to_owned(),
            wanted: "commit",
        })
    }

    fn parse(id: Oid, data: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(data);
        let (headers, message) = text
            .split_once("\n\n")
            .unwrap_or((text.trim_end_matches('\n'), ""));
        let mut tree = None;
        let mut parents = Vec::new();
        let mut author = None;
        let mut committer = None;
        for line in headers.lines() {
            match line.split_once(' ') {
                Some(("tree", value)) => tree = tree.or(value.parse().ok()),
                Some(("parent", value)) => parents.push(value.parse().ok()?),
                Some(("author", value)) => author = Signature::parse(value),
                Some(("committer", value)) => committer = Signature::parse(value),
                _ => {}
            }
        }
        Some(Self {
            id,
            tree: tree?,
            parents,
            author: author?,
            committer: committer?,
            message: message.to_owned(),
        })
    }

    /// The bytes of a new commit.
    pub(crate) fn encode(tree: Oid, parents: &[Oid], draft: &Draft<'_>) -> Result<Vec<u8>, Error> {
        use std::fmt::Write as _;
        let mut headers = format!("tree {tree}\n");
        for parent in parents {
            let _ = writeln!(headers, "parent {parent}");
        }
        let _ = write!(
            headers,
            "author {}\ncommitter {}\n",
            draft.author.encode(),
            draft.committer.encode(),
        );
        let message = draft.message.replace(['\0', '\r'], "");
        let message = format!("\n{}\n", message.trim_end());
        if let Some(key) = draft.key {
            let signature = key.sign(format!("{headers}{message}").as_bytes())?;
            let _ = writeln!(headers, "gpgsig {}", signature.replace('\n', "\n "));
        }
        Ok(format!("{headers}{message}").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_reads_back_as_written() {
        let (tree, parent) = (Oid([1; 20]), Oid([2; 20]));
        let author = Signature {
            offset_minutes: -90,
            ..Signature::new("Ann <x>\n", "ann@example.org", 1_700_000_000)
        };
        let committer = Signature::new("", "", 5);
        let message =
            "Promote myapp\n\nBecause.\n\nFairway-Promotion: myapp-1\nSigned-off-by: Ann <a@b>\n";
        let draft = Draft {
            message,
            author: &author,
            committer: &committer,
            key: None,
        };
        let data = Commit::encode(tree, &[parent], &draft).unwrap();
        let commit = Commit::parse(Oid([3; 20]), &data).unwrap();
        assert_eq!((commit.tree, &commit.parents[..]), (tree, &[parent][..]));
        assert_eq!(commit.author.name, "Ann x");
        assert_eq!(commit.author.offset_minutes, -90);
        assert_eq!(commit.committer.name, "unknown");
        assert_eq!(commit.subject(), "Promote myapp");
        assert_eq!(
            commit.trailers(),
            [
                ("Fairway-Promotion", "myapp-1"),
                ("Signed-off-by", "Ann <a@b>")
            ]
        );
    }

    #[test]
    fn prose_holds_no_trailers() {
        let who = Signature::new("a", "b", 0);
        let draft = Draft {
            message: "x\n\nNote: this\nand that.",
            author: &who,
            committer: &who,
            key: None,
        };
        let data = Commit::encode(Oid([1; 20]), &[], &draft).unwrap();
        assert!(
            Commit::parse(Oid([3; 20]), &data)
                .unwrap()
                .trailers()
                .is_empty()
        );
    }
}
