//! Digests as `<algorithm>:<hex>`, the form of the OCI image specification.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::build::finish::hex;

/// A digest that is being calculated.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// `sha256`, the default.
    Sha256(Sha256),
    /// `sha384`.
    Sha384(Sha384),
    /// `sha512`.
    Sha512(Sha512),
}

impl Hasher {
    /// By the name of the algorithm.
    pub fn of(algorithm: &str) -> Option<Self> {
        match algorithm {
            "sha256" => Some(Self::Sha256(Sha256::new())),
            "sha384" => Some(Self::Sha384(Sha384::new())),
            "sha512" => Some(Self::Sha512(Sha512::new())),
            _ => None,
        }
    }

    /// Takes more data in.
    pub fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(data),
            Self::Sha384(hasher) => hasher.update(data),
            Self::Sha512(hasher) => hasher.update(data),
        }
    }

    /// The digest with the name of its algorithm.
    pub fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => format!("sha256:{}", hex(&hasher.finalize())),
            Self::Sha384(hasher) => format!("sha384:{}", hex(&hasher.finalize())),
            Self::Sha512(hasher) => format!("sha512:{}", hex(&hasher.finalize())),
        }
    }
}

/// Why a digest can't be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("empty digest")]
    Empty,
    /// It is malformed.
    #[error("failed to parse digest '{0}'")]
    Malformed(String),
    /// The algorithm is not known here.
    #[error("unsupported digest algorithm '{0}'; hint: sha256, sha384 and sha512 are known")]
    Unsupported(String),
}

/// What to calculate to check this digest, and what must come out. One without an algorithm is SHA-256, as in Flux.
pub fn expected(digest: &str) -> Result<(Hasher, String), Unusable> {
    if digest.is_empty() {
        return Err(Unusable::Empty);
    }
    let (algorithm, sum) = digest.split_once(':').unwrap_or(("sha256", digest));
    let hasher =
        Hasher::of(algorithm).ok_or_else(|| Unusable::Unsupported(algorithm.to_owned()))?;
    let length = match &hasher {
        Hasher::Sha256(_) => 64,
        Hasher::Sha384(_) => 96,
        Hasher::Sha512(_) => 128,
    };
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if sum.len() != length || !sum.bytes().all(is_hex) {
        return Err(Unusable::Malformed(digest.to_owned()));
    }
    Ok((hasher, format!("{algorithm}:{sum}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        let of = |algorithm: &str| {
            let mut hasher = Hasher::of(algorithm).unwrap();
            hasher.update(b"a");
            hasher.update(b"bc");
            hasher.finish()
        };
        // FIPS 180-2, appendix B.
        let sum = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of("sha256"), sum);
        assert!(of("sha384").starts_with("sha384:cb00753f45a35e8bb5a03d699ac65007"));
        assert!(of("sha512").starts_with("sha512:ddaf35a193617abacc417349ae204131"));
        let (mut hasher, expected) = expected(&sum[7..]).unwrap();
        hasher.update(b"abc");
        assert_eq!(hasher.finish(), expected);
    }

    #[test]
    fn what_cannot_be_checked_is_no_digest() {
        assert_eq!(expected("").unwrap_err(), Unusable::Empty);
        assert!(matches!(
            expected("blake3:00"),
            Err(Unusable::Unsupported(_))
        ));
        for digest in [
            "sha256:",
            "sha256:00",
            "zz",
            &format!("sha256:{}", "G".repeat(64)),
        ] {
            assert!(
                matches!(expected(digest), Err(Unusable::Malformed(_))),
                "{digest}"
            );
        }
    }
}
