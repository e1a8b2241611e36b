//! Detached OpenPGP signatures (RFC 9580, version 4) by keys of a key ring.

mod certificate;
mod packet;
mod signature;

use super::VerifyError;
use super::armor::blocks;
use certificate::Certificate;
use packet::packets;
use signature::{Kind, Signature};

/// A signature may be made by a clock that is a little ahead of ours.
const SKEW: i64 = 300;

/// Checks a signature over `payload` at a time (seconds since 1970); returns the id of the primary key of who made it.
pub(super) fn verify(
    armoured: &str,
    payload: &[u8],
    rings: &[String],
    now: i64,
) -> Result<String, VerifyError> {
    let signatures = read_signatures(armoured)?;
    let mut broken = None;
    let mut any_read = false;
    let mut why = "no matching key";
    for ring in rings {
        let certificates = match read_ring(ring) {
            Ok(certificates) => certificates,
            Err(error) => {
                broken = broken.or(Some(error));
                continue;
            }
        };
        any_read = true;
        for certificate in &certificates {
            for signature in &signatures {
                match made_by(certificate, signature, payload, now) {
                    Ok(true) => return Ok(certificate.primary.key_id_text()),
                    Ok(false) => {}
                    Err(reason) => why = reason,
                }
            }
        }
    }
    match broken {
        Some(why) if !any_read => Err(VerifyError::BadKeys {
            what: "armored key ring",
            why,
        }),
        _ => Err(VerifyError::NoMatch {
            what: "key rings",
            why: why.to_owned(),
        }),
    }
}

/// Whether a key of this certificate made the signature, and may. `false` where it is somebody else's; an error where
/// the key is right and something else is wrong.
fn made_by(
    certificate: &Certificate,
    signature: &Signature,
    payload: &[u8],
    now: i64,
) -> Result<bool, &'static str> {
    for key in certificate.keys() {
        if !signature.names(key) {
            continue;
        }
        if signature.kind != Kind::Binary {
            return Err("the signature is of an unsupported type");
        }
        if !signature
            .hash
            .is_some_and(|hash| hash != super::primitives::Hash::Sha1)
        {
            return Err("the signature uses an unsupported or weak hash algorithm");
        }
        let Some(public) = &key.public else {
            return Err("the key is of an unsupported algorithm");
        };
        if !signature.holds(public, payload) {
            return Err("the signature does not match");
        }
        if signature.created > now + SKEW {
            return Err("the signature is from the future");
        }
        if signature.created < i64::from(key.created) {
            return Err("the signature is older than its key");
        }
        if signature
            .lifetime
            .is_some_and(|seconds| seconds != 0 && signature.created + i64::from(seconds) <= now)
        {
            return Err("the signature is expired");
        }
        certificate.may_sign(key, now)?;
        return Ok(true);
    }
    Ok(false)
}

fn read_signatures(armoured: &str) -> Result<Vec<Signature>, VerifyError> {
    let malformed = |why: &str| VerifyError::Malformed(why.to_owned());
    let blocks = blocks(armoured, "PGP SIGNATURE").map_err(VerifyError::Malformed)?;
    let mut signatures = Vec::new();
    for block in &blocks {
        for packet in packets(block).map_err(malformed)? {
            if packet.tag == packet::SIGNATURE {
                signatures.extend(Signature::parse(packet.body));
            }
        }
    }
    if signatures.is_empty() {
        return Err(malformed("it holds no signature of a known version"));
    }
    Ok(signatures)
}

fn read_ring(text: &str) -> Result<Vec<Certificate>, String> {
    let blocks = blocks(text, "PGP PUBLIC KEY BLOCK")?;
    if blocks.is_empty() {
        return Err("it holds no PGP PUBLIC KEY BLOCK".to_owned());
    }
    let mut certificates = Vec::new();
    for block in &blocks {
        certificates.extend(Certificate::read(&packets(block)?));
    }
    if certificates.is_empty() {
        return Err("it holds no key of a known version".to_owned());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_break_it(blob in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(found) = packets(&blob) {
                let _ = Certificate::read(&found);
            }
            let _ = Signature::parse(&blob);
            let v4 = [[4, 0, 1, 8].as_slice(), &blob].concat();
            let _ = Signature::parse(&v4);
        }
    }
}
