//! A signature packet of version 4.

use super::super::primitives::{Hash, PublicKey};
use super::certificate::Key;
use super::packet::{multiprecision, number, subpackets};

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A document.
    Binary,
    /// A user id, by its own key or another's.
    Certification,
    /// A subkey, by the primary key.
    SubkeyBinding,
    /// The primary key, by a subkey that wants to sign.
    PrimaryBinding,
    /// The key itself.
    DirectKey,
    /// No longer the key.
    KeyRevocation,
    /// No longer the subkey.
    SubkeyRevocation,
    /// No longer the user id.
    CertificationRevocation,
    Other,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0x00 => Self::Binary,
            0x10..=0x13 => Self::Certification,
            0x18 => Self::SubkeyBinding,
            0x19 => Self::PrimaryBinding,
            0x1f => Self::DirectKey,
            0x20 => Self::KeyRevocation,
            0x28 => Self::SubkeyRevocation,
            0x30 => Self::CertificationRevocation,
            _ => Self::Other,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) kind: Kind,
    /// `None`: one that is not known, or was never any good.
    pub(super) hash: Option<Hash>,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// Seconds from its creation; 0 is for ever.
    pub(super) lifetime: Option<u32>,
    /// Seconds from the creation of the key that it is about; 0 is for ever.
    pub(super) key_lifetime: Option<u32>,
    /// What the key may be used for.
    pub(super) flags: Option<u8>,
    /// The signature of a subkey over its primary key.
    pub(super) embedded: Option<Vec<u8>>,
    issuer: Option<[u8; 8]>,
    issuer_fingerprint: Option<Vec<u8>>,
    /// What is hashed after the data.
    trailer: Vec<u8>,
    algorithm: u8,
    numbers: Vec<Vec<u8>>,
}

const CREATED: u8 = 2;
const LIFETIME: u8 = 3;
const KEY_LIFETIME: u8 = 9;
const ISSUER: u8 = 16;
const FLAGS: u8 = 27;
const EMBEDDED: u8 = 32;
const ISSUER_FINGERPRINT: u8 = 33;
/// Those that may be critical without changing what is decided here.
const HARMLESS: [u8; 12] = [4, 5, 7, 11, 20, 21, 22, 23, 24, 25, 30, 34];

impl Signature {
    /// `None` where it is malformed, of another version, or says something that must be understood and is not.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let [4, kind, algorithm, hash] = *body.first_chunk::<4>()? else {
            return None;
        };
        let hashed_length = number(body.get(4..6)?);
        let hashed = body.get(6..6 + hashed_length)?;
        let signed = body.get(..6 + hashed_length)?;
        let rest = body.get(6 + hashed_length..)?;
        let unhashed_length = number(rest.get(..2)?);
        let unhashed = rest.get(2..2 + unhashed_length)?;
        // Two bytes of the hash, only there to fail early.
        let mut rest = rest.get(2 + unhashed_length + 2..)?;
        let mut trailer = signed.to_vec();
        trailer.extend_from_slice(&[4, 0xff]);
        trailer.extend_from_slice(&(signed.len() as u32).to_be_bytes());
        let mut signature = Self {
            kind: Kind::of(kind),
            hash: match hash {
                2 => Some(Hash::Sha1),
                8 => Some(Hash::Sha256),
                9 => Some(Hash::Sha384),
                10 => Some(Hash::Sha512),
                _ => None,
            },
            created: -1,
            lifetime: None,
            key_lifetime: None,
            flags: None,
            embedded: None,
            issuer: None,
            issuer_fingerprint: None,
            trailer,
            algorithm,
            numbers: Vec::new(),
        };
        for (kind, content) in subpackets(hashed)? {
            signature.subpacket(kind, content)?;
        }
        if signature.created < 0 {
            return None;
        }
        // What is not signed may only help to find the key, or bring a signature of its own.
        for (kind, content) in subpackets(unhashed)? {
            if matches!(kind & 0x7f, ISSUER | ISSUER_FINGERPRINT | EMBEDDED) {
                signature.subpacket(kind, content)?;
            }
        }
        if algorithm == 27 {
            let native = rest.get(..64)?;
            signature.numbers = vec![native[..32].to_vec(), native[32..].to_vec()];
            rest = &rest[64..];
        } else {
            let count = if matches!(algorithm, 1 | 3) { 1 } else { 2 };
            for _ in 0..count {
                signature.numbers.push(multiprecision(&mut rest)?.to_vec());
            }
        }
        rest.is_empty().then_some(signature)
    }

    fn subpacket(&mut self, kind: u8, content: &[u8]) -> Option<()> {
        let seconds = || content.try_into().ok().map(u32::from_be_bytes);
        match kind & 0x7f {
            CREATED => self.created = i64::from(seconds()?),
            LIFETIME => self.lifetime = Some(seconds()?),
            KEY_LIFETIME => self.key_lifetime = Some(seconds()?),
            ISSUER => self.issuer = Some(content.try_into().ok()?),
            FLAGS => self.flags = Some(content.first().copied().unwrap_or(0)),
            EMBEDDED => self.embedded = Some(content.to_vec()),
            // A version, then the fingerprint.
            ISSUER_FINGERPRINT => self.issuer_fingerprint = Some(content.get(1..)?.to_vec()),
            other if kind & 0x80 != 0 && !HARMLESS.contains(&other) => return None,
            _ => {}
        }
        Some(())
    }

    /// Whether this says that it was made by the key. One that names none could be by any.
    pub(super) fn names(&self, key: &Key) -> bool {
        if let Some(fingerprint) = &self.issuer_fingerprint {
            return *fingerprint == key.fingerprint;
        }
        self.issuer.is_none_or(|issuer| issuer == key.key_id())
    }

    /// Whether the key made this over `data`.
    pub(super) fn holds(&self, key: &PublicKey, data: &[u8]) -> bool {
        let Some(hash) = self.hash else { return false };
        let message = [data, &self.trailer].concat();
        match (key, self.algorithm, self.numbers.as_slice()) {
            (PublicKey::Rsa { .. }, 1 | 3, [signature]) => {
                key.verify_rsa(hash, &message, signature)
            }
            (PublicKey::Ecdsa { .. }, 19, [r, s]) => key.verify_ecdsa(hash, &message, r, s),
            // What Ed25519 signs here is the hash.
            (PublicKey::Ed25519(_), 22 | 27, [r, s]) => {
                key.verify_ed25519(&hash.of(&message), r, s)
            }
            _ => false,
        }
    }
}
