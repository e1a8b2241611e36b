//! A public key with what it says about itself: names, subkeys, expiry, revocation.

use super::super::primitives::{Curve, Hash, PublicKey};
use super::packet::{PRIMARY, Packet, SIGNATURE, SUBKEY, USER_ATTRIBUTE, USER_ID, multiprecision};
use super::signature::{Kind, Signature};

/// May sign data.
const SIGNS: u8 = 0x02;

/// A key of version 4.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Seconds since 1970.
    pub(super) created: u32,
    /// `None`: of an algorithm that is not known here.
    pub(super) public: Option<PublicKey>,
    /// 20 bytes.
    pub(super) fingerprint: Vec<u8>,
    body: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) primary: Key,
    subkeys: Vec<Subkey>,
    /// What the key says about itself, if it says so rightly; the newest last. With the user id that it is about.
    own: Vec<(Option<usize>, Signature)>,
    /// User ids that were taken back, and when.
    taken_back: Vec<(usize, i64)>,
    users: usize,
    revoked: bool,
}

#[derive(Debug)]
struct Subkey {
    key: Key,
    /// The newest last.
    bindings: Vec<Signature>,
    revoked: bool,
}

impl Key {
    fn parse(body: &[u8]) -> Option<Self> {
        let [4, rest @ ..] = body else { return None };
        let created = u32::from_be_bytes(*rest.first_chunk::<4>()?);
        let (&algorithm, material) = rest.get(4..)?.split_first()?;
        let fingerprint = Hash::Sha1.of(&framed(body));
        Some(Self {
            created,
            public: public_key(algorithm, material),
            fingerprint,
            body: body.to_vec(),
        })
    }

    /// The last eight bytes of the fingerprint.
    pub(super) fn key_id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&self.fingerprint[self.fingerprint.len() - 8..]);
        id
    }

    /// As Flux shows it: 16 digits.
    pub(super) fn key_id_text(&self) -> String {
        use std::fmt::Write as _;
        self.key_id().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
    }

    /// Whether it has lived as long as a signature about it says.
    fn is_expired(&self, about: &Signature, now: i64) -> bool {
        let ends = |seconds: u32| i64::from(self.created) + i64::from(seconds);
        about
            .key_lifetime
            .is_some_and(|seconds| seconds != 0 && ends(seconds) <= now)
    }
}

/// A key as it is hashed.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x99];
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn public_key(algorithm: u8, mut material: &[u8]) -> Option<PublicKey> {
    const ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    match algorithm {
        1 | 3 => {
            let n = multiprecision(&mut material)?.to_vec();
            let e = multiprecision(&mut material)?.to_vec();
            Some(PublicKey::Rsa { n, e })
        }
        19 | 22 => {
            let (&length, rest) = material.split_first()?;
            let (curve, mut rest) = rest.split_at_checked(usize::from(length))?;
            let point = multiprecision(&mut rest)?;
            match (algorithm, curve) {
                (22, ED25519) => {
                    let key = point.strip_prefix(&[0x40])?;
                    (key.len() == 32).then(|| PublicKey::Ed25519(key.to_vec()))
                }
                (19, P256 | P384 | P521) => Some(PublicKey::Ecdsa {
                    curve: match curve {
                        P256 => Curve::P256,
                        P384 => Curve::P384,
                        _ => Curve::P521,
                    },
                    point: point.to_vec(),
                }),
                _ => None,
            }
        }
        27 => Some(PublicKey::Ed25519(material.get(..32)?.to_vec())),
        _ => None,
    }
}

impl Certificate {
    /// The certificates in a sequence of packets. What is not understood, or not signed by the key itself, is left out.
    pub(super) fn read(packets: &[Packet<'_>]) -> Vec<Self> {
        let mut certificates: Vec<Self> = Vec::new();
        // What the signatures that follow are about.
        let mut about = About::Nothing;
        for packet in packets {
            match packet.tag {
                PRIMARY => {
                    about = About::Nothing;
                    if let Some(primary) = Key::parse(packet.body) {
                        certificates.push(Self {
                            primary,
                            subkeys: Vec::new(),
                            own: Vec::new(),
                            taken_back: Vec::new(),
                            users: 0,
                            revoked: false,
                        });
                        about = About::Key;
                    }
                }
                // What belongs to a key that was not understood is not somebody else's.
                USER_ID if !matches!(about, About::Nothing) => {
                    if let Some(certificate) = certificates.last_mut() {
                        certificate.users += 1;
                        about = About::User(certificate.users, named(packet.body));
                    }
                }
                USER_ATTRIBUTE if !matches!(about, About::Nothing) => about = About::Picture,
                SUBKEY if !matches!(about, About::Nothing) => {
                    about = About::Unknown;
                    if let (Some(certificate), Some(key)) =
                        (certificates.last_mut(), Key::parse(packet.body))
                    {
                        certificate.subkeys.push(Subkey {
                            key,
                            bindings: Vec::new(),
                            revoked: false,
                        });
                        about = About::Subkey;
                    }
                }
                SIGNATURE => {
                    if let (Some(certificate), Some(signature)) =
                        (certificates.last_mut(), Signature::parse(packet.body))
                    {
                        certificate.consider(&about, signature);
                    }
                }
                _ => {}
            }
        }
        for certificate in &mut certificates {
            let taken_back = std::mem::take(&mut certificate.taken_back);
            certificate.own.retain(|(user, own)| {
                !taken_back
                    .iter()
                    .any(|(gone, when)| Some(*gone) == *user && own.created <= *when)
            });
            certificate
                .own
                .sort_by_key(|(_, signature)| signature.created);
            for subkey in &mut certificate.subkeys {
                subkey.bindings.sort_by_key(|signature| signature.created);
            }
        }
        certificates
    }

    fn consider(&mut self, about: &About, signature: Signature) {
        let Some(public) = &self.primary.public else {
            return;
        };
        let key = framed(&self.primary.body);
        let by_primary =
            |data: &[u8]| signature.names(&self.primary) && signature.holds(public, data);
        match (about, signature.kind) {
            (About::Key | About::User(..), Kind::KeyRevocation) => self.revoked |= by_primary(&key),
            (About::Key | About::User(..), Kind::DirectKey) if by_primary(&key) => {
                self.own.push((None, signature));
            }
            (About::User(user, name), Kind::Certification)
                if by_primary(&[key.as_slice(), name].concat()) =>
            {
                self.own.push((Some(*user), signature));
            }
            // A name that is taken back says nothing any more, and neither does the key on its behalf.
            (About::User(user, name), Kind::CertificationRevocation)
                if by_primary(&[key.as_slice(), name].concat()) =>
            {
                self.taken_back.push((*user, signature.created));
            }
            (About::Subkey, Kind::SubkeyBinding | Kind::SubkeyRevocation) => {
                let Some(subkey) = self.subkeys.last() else {
                    return;
                };
                let data = [key.as_slice(), &framed(&subkey.key.body)].concat();
                let holds = by_primary(&data);
                if let Some(subkey) = self.subkeys.last_mut().filter(|_| holds) {
                    if signature.kind == Kind::SubkeyBinding {
                        subkey.bindings.push(signature);
                    } else {
                        subkey.revoked = true;
                    }
                }
            }
            _ => {}
        }
    }

    /// The primary key and the subkeys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.primary).chain(self.subkeys.iter().map(|subkey| &subkey.key))
    }

    /// Whether one of its keys may sign data now.
    pub(super) fn may_sign(&self, key: &Key, now: i64) -> Result<(), &'static str> {
        if self.revoked {
            return Err("the key is revoked");
        }
        let newest = |mut signatures: Vec<&Signature>| {
            let valid = |s: &&Signature| {
                let ends = s
                    .lifetime
                    .filter(|seconds| *seconds != 0)
                    .map(|seconds| s.created + i64::from(seconds));
                s.created <= now + super::SKEW && ends.is_none_or(|ends| ends > now)
            };
            signatures.reverse();
            signatures.into_iter().find(valid).cloned()
        };
        let own = newest(self.own.iter().map(|(_, own)| own).collect())
            .ok_or("the key has not signed itself")?;
        if self.primary.is_expired(&own, now) {
            return Err("the key is expired");
        }
        if key.fingerprint == self.primary.fingerprint {
            return if own.flags.is_none_or(|flags| flags & SIGNS != 0) {
                Ok(())
            } else {
                Err("the key is not for signatures")
            };
        }
        let subkey = self
            .subkeys
            .iter()
            .find(|subkey| subkey.key.fingerprint == key.fingerprint)
            .ok_or("the key is not of this certificate")?;
        if subkey.revoked {
            return Err("the subkey is revoked");
        }
        let binding =
            newest(subkey.bindings.iter().collect()).ok_or("the subkey is not bound to its key")?;
        if subkey.key.is_expired(&binding, now) {
            return Err("the subkey is expired");
        }
        if binding.flags.is_none_or(|flags| flags & SIGNS == 0) {
            return Err("the subkey is not for signatures");
        }
        // Else anybody could claim somebody else's subkey, and with it what that signed.
        let data = [framed(&self.primary.body), framed(&subkey.key.body)].concat();
        let signed_back = binding
            .embedded
            .as_deref()
            .and_then(Signature::parse)
            .is_some_and(|back| {
                back.kind == Kind::PrimaryBinding
                    && subkey
                        .key
                        .public
                        .as_ref()
                        .is_some_and(|public| back.holds(public, &data))
            });
        if signed_back {
            Ok(())
        } else {
            Err("the subkey has not signed its key")
        }
    }
}

/// What the signatures that follow a packet are about.
enum About {
    Nothing,
    Key,
    /// Which one, and how it is hashed.
    User(usize, Vec<u8>),
    Picture,
    Subkey,
    Unknown,
}

/// A user id as it is hashed.
fn named(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xb4];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_framed() {
        assert_eq!(framed(&[1, 2]), [0x99, 0, 2, 1, 2]);
        assert_eq!(named(b"a"), [0xb4, 0, 0, 0, 1, b'a']);
    }
}
