//! SSH signatures (`SSHSIG`, OpenSSH's PROTOCOL.sshsig) in the namespace `git`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::VerifyError;
use super::armor::blocks;
use super::primitives::{Curve, Hash, PublicKey};
use super::wire::{Reader, Writer};

/// What Git's signatures are for.
pub(super) const NAMESPACE: &[u8] = b"git";

/// Checks a signature; returns the fingerprint of the key that made it.
pub(super) fn verify(
    signature: &str,
    payload: &[u8],
    trusted: &[String],
) -> Result<String, VerifyError> {
    let malformed = |why: &str| VerifyError::Malformed(why.to_owned());
    let armoured = blocks(signature, "SSH SIGNATURE").map_err(VerifyError::Malformed)?;
    let blob = armoured.first().ok_or_else(|| malformed("it is empty"))?;
    let signature = Signature::parse(blob).ok_or_else(|| malformed("it is no SSH signature"))?;
    let mut broken = None;
    let mut any_read = false;
    for text in trusted {
        match authorized_keys(text) {
            Ok(keys) => {
                any_read = true;
                if keys.iter().any(|key| key == signature.key) {
                    return match signature.check(payload) {
                        Ok(()) => Ok(fingerprint(signature.key)),
                        Err(why) => Err(no_match(why)),
                    };
                }
            }
            Err(why) => broken = broken.or(Some(why)),
        }
    }
    match broken {
        Some(why) if !any_read => Err(VerifyError::BadKeys {
            what: "authorized keys",
            why,
        }),
        _ => Err(no_match("no matching key")),
    }
}

fn no_match(why: &str) -> VerifyError {
    VerifyError::NoMatch {
        what: "authorized keys",
        why: why.to_owned(),
    }
}

/// `SHA256:…`, as ssh-keygen prints it.
pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Hash::Sha256.of(key)))
}

/// The keys of a text in the format of `authorized_keys`. One line that is wrong makes all of it wrong, as in Flux:
/// to pass over it would hide a mistake.
fn authorized_keys(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key =
            key_of_line(line).ok_or_else(|| format!("line {} is no SSH public key", number + 1))?;
        keys.push(key);
    }
    Ok(keys)
}

/// `[options] type base64 [comment]`; the type is repeated in the key.
fn key_of_line(line: &str) -> Option<Vec<u8>> {
    let words = words(line);
    // Options, if there are any, are one word.
    words.windows(2).take(2).find_map(|pair| {
        let blob = STANDARD.decode(pair[1]).ok()?;
        let mut reader = Reader(&blob);
        (reader.string()? == pair[0].as_bytes()).then_some(())?;
        Key::parse(&blob).map(|_| blob)
    })
}

/// Words between blanks; a blank between quotes is part of a word.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (None, false, false);
    for (at, c) in line.char_indices() {
        if matches!(c, ' ' | '\t') && !quoted {
            words.extend(begin.take().map(|begin| &line[begin..at]));
            continue;
        }
        begin = begin.or(Some(at));
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
    }
    words.extend(begin.map(|begin| &line[begin..]));
    words
}

/// A public key; those on security tokens sign more than the message.
struct Key {
    kind: Vec<u8>,
    public: PublicKey,
    application: Option<Vec<u8>>,
}

impl Key {
    fn parse(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader(blob);
        let kind = reader.string()?.to_vec();
        let public = match kind.as_slice() {
            b"ssh-ed25519" | b"sk-ssh-ed25519@openssh.com" => {
                let key = reader.string()?.to_vec();
                (key.len() == 32).then_some(PublicKey::Ed25519(key))?
            }
            b"ssh-rsa" => {
                let (e, n) = (reader.number()?, reader.number()?);
                PublicKey::Rsa { n, e }
            }
            b"ecdsa-sha2-nistp256"
            | b"ecdsa-sha2-nistp384"
            | b"ecdsa-sha2-nistp521"
            | b"sk-ecdsa-sha2-nistp256@openssh.com" => {
                let curve = match reader.string()? {
                    b"nistp256" => Curve::P256,
                    b"nistp384" => Curve::P384,
                    b"nistp521" => Curve::P521,
                    _ => return None,
                };
                let point = reader.string()?.to_vec();
                PublicKey::Ecdsa { curve, point }
            }
            _ => return None,
        };
        let application = if kind.starts_with(b"sk-") {
            Some(reader.string()?.to_vec())
        } else {
            None
        };
        reader.0.is_empty().then_some(Self {
            kind,
            public,
            application,
        })
    }
}

struct Signature<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
    reserved: &'a [u8],
    hash_name: &'a [u8],
    blob: &'a [u8],
}

impl<'a> Signature<'a> {
    fn parse(blob: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(blob.strip_prefix(b"SSHSIG")?);
        if reader.u32()? != 1 {
            return None;
        }
        let signature = Self {
            key: reader.string()?,
            namespace: reader.string()?,
            reserved: reader.string()?,
            hash_name: reader.string()?,
            blob: reader.string()?,
        };
        reader.0.is_empty().then_some(signature)
    }

    /// Whether the key in the signature signed this.
    fn check(&self, payload: &[u8]) -> Result<(), &'static str> {
        if self.namespace != NAMESPACE {
            return Err("the signature is for another namespace than git");
        }
        let hash = match self.hash_name {
            b"sha256" => Hash::Sha256,
            b"sha512" => Hash::Sha512,
            _ => return Err("unsupported hash algorithm"),
        };
        let message = to_be_signed(
            self.namespace,
            self.reserved,
            self.hash_name,
            &hash.of(payload),
        );
        let key = Key::parse(self.key).ok_or("unsupported key")?;
        if signed_by(&key, &message, self.blob).unwrap_or(false) {
            Ok(())
        } else {
            Err("the signature does not match")
        }
    }
}

/// What the key signs: not the message itself, but its hash and what it is for.
pub(super) fn to_be_signed(
    namespace: &[u8],
    reserved: &[u8],
    hash_name: &[u8],
    hash: &[u8],
) -> Vec<u8> {
    let mut message = Writer(b"SSHSIG".to_vec());
    message
        .string(namespace)
        .string(reserved)
        .string(hash_name)
        .string(hash);
    message.0
}

/// `None` where the signature is malformed.
fn signed_by(key: &Key, message: &[u8], signature: &[u8]) -> Option<bool> {
    let mut reader = Reader(signature);
    let kind = reader.string()?;
    let blob = reader.string()?;
    let message = match &key.application {
        None => message.to_vec(),
        Some(application) => {
            let (flags, counter) = (reader.bytes(1)?, reader.bytes(4)?);
            // Somebody touched the token.
            if flags[0] & 1 == 0 {
                return Some(false);
            }
            let mut signed = Hash::Sha256.of(application);
            signed.extend_from_slice(flags);
            signed.extend_from_slice(counter);
            signed.extend_from_slice(&Hash::Sha256.of(message));
            signed
        }
    };
    if !reader.0.is_empty() {
        return None;
    }
    Some(match &key.public {
        PublicKey::Rsa { .. } => {
            let hash = match kind {
                b"rsa-sha2-256" => Hash::Sha256,
                b"rsa-sha2-512" => Hash::Sha512,
                _ => return Some(false),
            };
            key.public.verify_rsa(hash, &message, blob)
        }
        _ if kind != key.kind => false,
        PublicKey::Ecdsa { curve, .. } => {
            let mut numbers = Reader(blob);
            let (r, s) = (numbers.number()?, numbers.number()?);
            let hash = match curve {
                Curve::P256 => Hash::Sha256,
                Curve::P384 => Hash::Sha384,
                Curve::P521 => Hash::Sha512,
            };
            numbers.0.is_empty() && key.public.verify_ecdsa(hash, &message, &r, &s)
        }
        PublicKey::Ed25519(_) => {
            blob.len() == 64
                && key
                    .public
                    .verify_ed25519(&message, &blob[..32], &blob[32..])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChlYDUzNhhDJDx4bTzxSBJYWqPqFGmXKLYJ1Qwm2";

    #[test]
    fn lines_of_authorized_keys() {
        let plain = authorized_keys(KEY).unwrap();
        assert_eq!(plain.len(), 1);
        for line in [
            format!("{KEY} ann@example.org two words"),
            format!("# a comment\n\n  {KEY}  \n"),
            format!("from=\"10.0.0.0/8, a b\",no-pty {KEY} ann"),
        ] {
            assert_eq!(authorized_keys(&line).unwrap(), plain, "{line}");
        }
        for line in [
            "ssh-ed25519",
            "ssh-ed25519 !!!!",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIKHEChlYDUzNhhDJDx4bTzxSBJYWqPqFGmXKLYJ1Qwm2",
            "hello world",
        ] {
            assert!(
                authorized_keys(&format!("{KEY}\n{line}\n")).is_err(),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(blob in proptest::collection::vec(any::<u8>(), 0..300), line in "\\PC{0,120}") {
            let _ = Key::parse(&blob);
            let _ = Signature::parse(&blob).map(|signature| signature.check(b"x"));
            let magic = [b"SSHSIG\0\0\0\x01".as_slice(), &blob].concat();
            let _ = Signature::parse(&magic).map(|signature| signature.check(b"x"));
            let _ = authorized_keys(&line);
        }
    }
}
