//! Signs commits with an SSH key, as `git commit -S` does with `gpg.format=ssh`.
//!
//! Keys are read in OpenSSH's own format (PROTOCOL.key), without a passphrase. RSA is left out: that format lacks two of
//! the numbers that signing needs, and new keys are Ed25519.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self as lc, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::armor::blocks;
use super::primitives::Hash;
use super::ssh::{NAMESPACE, fingerprint, to_be_signed};
use super::wire::{Reader, Writer};

const LABEL: &str = "OPENSSH PRIVATE KEY";

/// A private key that signs commits. Neither debug output nor errors hold any of it but its fingerprint.
pub struct SigningKey {
    /// The public key in SSH's wire format.
    public: Vec<u8>,
    kind: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Box<Ed25519KeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// Why a private key can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// It is in another format, or in none.
    #[error(
        "the signing key is no OpenSSH private key; hint: make one with `ssh-keygen -t ed25519 -N ''`, or convert one with `ssh-keygen -p -N '' -f KEY`"
    )]
    NotOpenSsh,
    /// It has a passphrase.
    #[error(
        "the signing key is encrypted; hint: give one without a passphrase (`ssh-keygen -p -N '' -f KEY`), guarded by the Secret alone"
    )]
    Encrypted,
    /// Its algorithm is not among those that are known.
    #[error(
        "signing keys of type {0} are not supported; hint: use ssh-ed25519 or ecdsa-sha2-nistp256, -nistp384, -nistp521"
    )]
    Unsupported(String),
    /// It is cut off, or its halves don't fit.
    #[error("the signing key is damaged: {0}")]
    Damaged(&'static str),
}

impl SigningKey {
    /// Reads `-----BEGIN OPENSSH PRIVATE KEY-----` and what follows.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || text.contains("Proc-Type: 4,ENCRYPTED")
        {
            return Err(SigningKeyError::Encrypted);
        }
        if !text.contains(&format!("-----BEGIN {LABEL}-----")) {
            return Err(SigningKeyError::NotOpenSsh);
        }
        let found = blocks(text, LABEL).map_err(|_| SigningKeyError::Damaged("it is no base64"))?;
        let blob = found.first().ok_or(SigningKeyError::NotOpenSsh)?;
        let blob = blob
            .strip_prefix(b"openssh-key-v1\0")
            .ok_or(SigningKeyError::NotOpenSsh)?;
        let cut = SigningKeyError::Damaged("it ends too early");
        let mut reader = Reader(blob);
        let cipher = reader.string().ok_or(cut.clone())?;
        let _kdf = reader.string().ok_or(cut.clone())?;
        let _options = reader.string().ok_or(cut.clone())?;
        if cipher != b"none" {
            return Err(SigningKeyError::Encrypted);
        }
        if reader.u32() != Some(1) {
            return Err(SigningKeyError::Damaged("it holds more than one key"));
        }
        let public = reader.string().ok_or(cut.clone())?.to_vec();
        let mut private = Reader(reader.string().ok_or(cut.clone())?);
        if private.u32().ok_or(cut.clone())? != private.u32().ok_or(cut.clone())? {
            return Err(SigningKeyError::Damaged("its check numbers differ"));
        }
        let kind = String::from_utf8_lossy(private.string().ok_or(cut.clone())?).into_owned();
        let pair = match kind.as_str() {
            "ssh-ed25519" => ed25519(&mut private)?,
            "ecdsa-sha2-nistp256" => ecdsa(&mut private, &lc::ECDSA_P256_SHA256_FIXED_SIGNING, 32)?,
            "ecdsa-sha2-nistp384" => ecdsa(&mut private, &lc::ECDSA_P384_SHA384_FIXED_SIGNING, 48)?,
            "ecdsa-sha2-nistp521" => ecdsa(&mut private, &lc::ECDSA_P521_SHA512_FIXED_SIGNING, 66)?,
            _ => return Err(SigningKeyError::Unsupported(kind)),
        };
        let key = Self { public, kind, pair };
        if key.public_from_pair() != key.public {
            return Err(SigningKeyError::Damaged(
                "its public half belongs to another key",
            ));
        }
        Ok(key)
    }

    fn public_from_pair(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.string(self.kind.as_bytes());
        match &self.pair {
            Pair::Ed25519(pair) => out.string(pair.public_key().as_ref()),
            Pair::Ecdsa(pair) => {
                let curve = self.kind.rsplit('-').next().unwrap_or_default();
                out.string(curve.as_bytes())
                    .string(pair.public_key().as_ref())
            }
        };
        out.0
    }

    /// The public key as a line of `authorized_keys`.
    pub fn public(&self) -> String {
        format!("{} {}", self.kind, STANDARD.encode(&self.public))
    }

    /// `SHA256:…`, as ssh-keygen prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.public)
    }

    /// The armoured signature of a commit's bytes.
    pub(crate) fn sign(&self, payload: &[u8]) -> Result<String, crate::Error> {
        let hash_name = b"sha512";
        let message = to_be_signed(NAMESPACE, b"", hash_name, &Hash::Sha512.of(payload));
        let failed = || crate::Error::Io {
            context: "failed to sign a commit".to_owned(),
            detail: format!("key {}", self.fingerprint()),
        };
        let raw = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(&message).as_ref().to_vec(),
            Pair::Ecdsa(pair) => {
                let signature = pair
                    .sign(&SystemRandom::new(), &message)
                    .map_err(|_| failed())?;
                let (r, s) = signature.as_ref().split_at(signature.as_ref().len() / 2);
                let mut numbers = Writer::default();
                numbers.number(r).number(s);
                numbers.0
            }
        };
        let mut signature = Writer::default();
        signature.string(self.kind.as_bytes()).string(&raw);
        let mut blob = Writer(b"SSHSIG\0\0\0\x01".to_vec());
        blob.string(&self.public)
            .string(NAMESPACE)
            .string(b"")
            .string(hash_name)
            .string(&signature.0);
        let encoded = STANDARD.encode(blob.0);
        let mut out = String::from("-----BEGIN SSH SIGNATURE-----\n");
        for line in encoded.as_bytes().chunks(70) {
            out.push_str(&String::from_utf8_lossy(line));
            out.push('\n');
        }
        out.push_str("-----END SSH SIGNATURE-----");
        Ok(out)
    }
}

fn ed25519(private: &mut Reader<'_>) -> Result<Pair, SigningKeyError> {
    let cut = SigningKeyError::Damaged("it ends too early");
    let public = private.string().ok_or(cut.clone())?;
    let secret = private.string().ok_or(cut.clone())?;
    let seed = secret.get(..32).ok_or(cut)?;
    Ed25519KeyPair::from_seed_and_public_key(seed, public)
        .map(|pair| Pair::Ed25519(Box::new(pair)))
        .map_err(|_| SigningKeyError::Damaged("its halves don't fit"))
}

fn ecdsa(
    private: &mut Reader<'_>,
    algorithm: &'static EcdsaSigningAlgorithm,
    size: usize,
) -> Result<Pair, SigningKeyError> {
    let cut = SigningKeyError::Damaged("it ends too early");
    let _curve = private.string().ok_or(cut.clone())?;
    let public = private.string().ok_or(cut.clone())?;
    let number = private.number().ok_or(cut)?;
    let missing = size
        .checked_sub(number.len())
        .ok_or(SigningKeyError::Damaged("its number is too big"))?;
    let mut scalar = vec![0; missing];
    scalar.extend_from_slice(&number);
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, public)
        .map(|pair| Pair::Ecdsa(Box::new(pair)))
        .map_err(|_| SigningKeyError::Damaged("its halves don't fit"))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.fingerprint())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_break_it(blob in proptest::collection::vec(any::<u8>(), 0..200)) {
            let plain = [b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01".as_slice(), &blob].concat();
            for bytes in [blob, plain] {
                let text = format!("-----BEGIN {LABEL}-----\n{}\n-----END {LABEL}-----\n", STANDARD.encode(bytes));
                prop_assert!(SigningKey::parse(&text).is_err());
            }
        }
    }

    #[test]
    fn what_is_no_key_says_so() {
        assert_eq!(
            SigningKey::parse("x").unwrap_err(),
            SigningKeyError::NotOpenSsh
        );
        let pem =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(
            SigningKey::parse(pem).unwrap_err(),
            SigningKeyError::Encrypted
        );
    }
}
