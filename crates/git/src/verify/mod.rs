//! Who signed a commit or a tag: OpenPGP and SSH signatures, checked in this process; and signing with an SSH key.
//!
//! ```text
//!   commit or tag ──▶ payload + signature ──┬─ "PGP SIGNATURE" ──▶ openpgp ──┐
//!                     (signed.rs)           └─ "SSH SIGNATURE" ──▶ ssh ──────┴──▶ primitives (aws-lc-rs)
//! ```
//!
//! The mathematics is aws-lc's; what is here reads the formats and decides which key may sign. The OpenPGP libraries
//! there are could not be taken: one stands on the `rsa` crate (RUSTSEC-2023-0071), the other is under the LGPL.
//! Less is accepted than GnuPG accepts, on purpose: no SHA-1 or MD5 over content, no RSA below 2048 bits, no DSA, no
//! keys that are expired or revoked now, no signing subkey that has not signed back.

mod armor;
mod openpgp;
mod primitives;
mod sign;
mod signed;
mod ssh;
mod wire;

use std::collections::BTreeMap;

use gix_object::Kind;

use crate::{Error, Oid, Repository};
pub use sign::{SigningKey, SigningKeyError};
use signed::{SignatureKind, Signed};

const MAX_SIGNED: u64 = 4 << 20;

/// The public keys of those who may sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    /// Armoured OpenPGP key rings.
    pub pgp: Vec<String>,
    /// Texts in the format of `authorized_keys`.
    pub ssh: Vec<String>,
}

impl TrustedKeys {
    /// From the data of a Secret, as Flux reads it: `*.sshpub` are SSH keys, and all else are OpenPGP key rings
    /// (`*.asc`, or under any name).
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut keys = Self::default();
        for (name, value) in data {
            let text = String::from_utf8_lossy(value).into_owned();
            if name.ends_with(".sshpub") {
                keys.ssh.push(text);
            } else {
                keys.pgp.push(text);
            }
        }
        keys
    }
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no signature, or one of a kind that is not known.
    #[error("unsupported signature type: {0}")]
    UnsupportedType(&'static str),
    /// There is an OpenPGP signature and no key ring.
    #[error(
        "PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)"
    )]
    NoPgpKeys,
    /// There is an SSH signature and no key.
    #[error(
        "SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)"
    )]
    NoSshKeys,
    /// The signature is damaged.
    #[error("malformed signature: {0}")]
    Malformed(String),
    /// None of the keys can be read.
    #[error("unable to read {what}: {why}")]
    BadKeys {
        /// `armored key ring` or `authorized keys`.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// No key that is trusted made this signature.
    #[error("unable to verify payload with any of the given {what}: {why}")]
    NoMatch {
        /// `key rings` or `authorized keys`.
        what: &'static str,
        /// `no matching key`, or why the one that matches does not count.
        why: String,
    },
    /// A signed tag was given another name, so that it stands for another version than the one that was signed.
    #[error("it was signed under the name '{0}'")]
    OtherName(String),
    /// The object can't be read.
    #[error(transparent)]
    Object(#[from] Error),
}

/// An annotated tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The tag object.
    pub id: Oid,
    /// Whether there is a signature on it.
    pub is_signed: bool,
}

impl Repository {
    /// The tag object that a ref points at; `None` for a lightweight tag, or where there is no such ref.
    pub fn tag(&self, reference: &str) -> Result<Option<Tag>, Error> {
        let Some(id) = self.resolve(reference)? else {
            return Ok(None);
        };
        let (kind, data) = self.objects().find(id, MAX_SIGNED)?;
        Ok((kind == Kind::Tag).then(|| Tag {
            id,
            is_signed: Signed::tag(&data).signature.is_some(),
        }))
    }

    /// Checks the signature of a commit at a time (seconds since 1970). Returns the OpenPGP key id or the SSH
    /// fingerprint of the key that made it.
    pub fn verify_commit(
        &self,
        commit: Oid,
        keys: &TrustedKeys,
        now: i64,
    ) -> Result<String, VerifyError> {
        let (kind, data) = self.objects().find(commit, MAX_SIGNED)?;
        if kind != Kind::Commit {
            return Err(wrong_kind(commit, kind, "commit").into());
        }
        Signed::commit(&data)?.verify(keys, now)
    }

    /// The same for a tag object, which must have been signed under this name.
    pub fn verify_tag(
        &self,
        tag: Oid,
        name: &str,
        keys: &TrustedKeys,
        now: i64,
    ) -> Result<String, VerifyError> {
        let (kind, data) = self.objects().find(tag, MAX_SIGNED)?;
        if kind != Kind::Tag {
            return Err(wrong_kind(tag, kind, "tag").into());
        }
        let signed = Signed::tag(&data);
        let key = signed.verify(keys, now)?;
        match signed.tag_name() {
            Some(signed_name) if signed_name == name => Ok(key),
            other => Err(VerifyError::OtherName(other.unwrap_or_default())),
        }
    }
}

fn wrong_kind(object: Oid, found: Kind, wanted: &'static str) -> Error {
    Error::WrongKind {
        object,
        found: found.to_string(),
        wanted,
    }
}

impl Signed {
    fn verify(&self, keys: &TrustedKeys, now: i64) -> Result<String, VerifyError> {
        let signature = self.signature.as_deref().unwrap_or_default();
        match SignatureKind::of(signature) {
            SignatureKind::OpenPgp if keys.pgp.is_empty() => Err(VerifyError::NoPgpKeys),
            SignatureKind::OpenPgp => openpgp::verify(signature, &self.payload, &keys.pgp, now),
            SignatureKind::Ssh if keys.ssh.is_empty() => Err(VerifyError::NoSshKeys),
            SignatureKind::Ssh => ssh::verify(signature, &self.payload, &keys.ssh),
            SignatureKind::X509 => Err(VerifyError::UnsupportedType("x509")),
            SignatureKind::Unknown => Err(VerifyError::UnsupportedType("unknown")),
            SignatureKind::Empty => Err(VerifyError::UnsupportedType("empty")),
        }
    }
}
