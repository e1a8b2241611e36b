//! Public keys and the check of one signature, by aws-lc.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self as lc, RsaPublicKeyComponents, UnparsedPublicKey};

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    /// Only where a key vouches for itself: keys are older than the knowledge that SHA-1 is weak.
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) fn of(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }
}

/// A curve of NIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// What a signature is checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point.
    Ecdsa { curve: Curve, point: Vec<u8> },
    /// 32 bytes.
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// RSA, PKCS #1 v1.5.
    pub(super) fn verify_rsa(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let Self::Rsa { n, e } = self else {
            return false;
        };
        let parameters = match hash {
            Hash::Sha1 => &lc::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &lc::RSA_PKCS1_2048_8192_SHA256,
            Hash::Sha384 => &lc::RSA_PKCS1_2048_8192_SHA384,
            Hash::Sha512 => &lc::RSA_PKCS1_2048_8192_SHA512,
        };
        let Some(signature) = padded(signature, n.len()) else {
            return false;
        };
        let key = RsaPublicKeyComponents { n, e };
        key.verify(parameters, message, &signature).is_ok()
    }

    /// ECDSA, with the two numbers big-endian.
    pub(super) fn verify_ecdsa(&self, hash: Hash, message: &[u8], r: &[u8], s: &[u8]) -> bool {
        let Self::Ecdsa { curve, point } = self else {
            return false;
        };
        let algorithm: &lc::EcdsaVerificationAlgorithm = match (curve, hash) {
            (Curve::P256, Hash::Sha256) => &lc::ECDSA_P256_SHA256_ASN1,
            (Curve::P256, Hash::Sha384) => &lc::ECDSA_P256_SHA384_ASN1,
            (Curve::P256, Hash::Sha512) => &lc::ECDSA_P256_SHA512_ASN1,
            (Curve::P384, Hash::Sha256) => &lc::ECDSA_P384_SHA256_ASN1,
            (Curve::P384, Hash::Sha384) => &lc::ECDSA_P384_SHA384_ASN1,
            (Curve::P384, Hash::Sha512) => &lc::ECDSA_P384_SHA512_ASN1,
            (Curve::P521, Hash::Sha256) => &lc::ECDSA_P521_SHA256_ASN1,
            (Curve::P521, Hash::Sha384) => &lc::ECDSA_P521_SHA384_ASN1,
            (Curve::P521, Hash::Sha512) => &lc::ECDSA_P521_SHA512_ASN1,
            (_, Hash::Sha1) => return false,
        };
        let size = curve.size();
        if padded(r, size).is_none() || padded(s, size).is_none() {
            return false;
        }
        let der = sequence(&[integer(r), integer(s)].concat());
        UnparsedPublicKey::new(algorithm, point)
            .verify(message, &der)
            .is_ok()
    }

    /// Ed25519, with the two halves as numbers that may lack leading zeros.
    pub(super) fn verify_ed25519(&self, message: &[u8], r: &[u8], s: &[u8]) -> bool {
        let Self::Ed25519(key) = self else {
            return false;
        };
        let (Some(r), Some(s)) = (padded(r, 32), padded(s, 32)) else {
            return false;
        };
        let signature = [r, s].concat();
        UnparsedPublicKey::new(&lc::ED25519, key)
            .verify(message, &signature)
            .is_ok()
    }
}

/// With leading zeros up to `size`; `None` where it is longer.
fn padded(number: &[u8], size: usize) -> Option<Vec<u8>> {
    let number = &number[number.iter().take_while(|b| **b == 0).count()..];
    let missing = size.checked_sub(number.len())?;
    let mut out = vec![0; missing];
    out.extend_from_slice(number);
    Some(out)
}

/// DER of an INTEGER that is not negative.
fn integer(number: &[u8]) -> Vec<u8> {
    let mut content = padded(number, number.len()).unwrap_or_default();
    let zeros = content.iter().take_while(|b| **b == 0).count();
    content.drain(..zeros.min(content.len().saturating_sub(1)));
    if content.first().is_none_or(|b| b & 0x80 != 0) {
        content.insert(0, 0);
    }
    tagged(2, &content)
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    // Two coordinates of at most 67 bytes need one byte of length beyond the short form at most.
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x81);
    }
    out.push(content.len() as u8);
    out.extend_from_slice(content);
    out
}
