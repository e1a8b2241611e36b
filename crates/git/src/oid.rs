//! Object ids: 20 bytes, written as 40 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

/// The id of a Git object (SHA-1, as Flux knows it; SHA-256 repositories are refused with
/// [`Error::Sha256`](crate::Error::Sha256)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(pub [u8; 20]);

impl Oid {
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn to_gix(self) -> gix_hash::ObjectId {
        gix_hash::ObjectId::Sha1(self.0)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

/// The text is not 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no full commit id (40 hexadecimal digits)")]
pub struct InvalidOid(String);

impl FromStr for Oid {
    type Err = InvalidOid;

    fn from_str(text: &str) -> Result<Self, InvalidOid> {
        let invalid = || InvalidOid(text.chars().take(80).collect());
        if text.len() != 40 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut bytes = [0; 20];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(text.parse::<Oid>().unwrap().to_string(), text);
        assert_eq!(
            text.to_uppercase().parse::<Oid>().unwrap().to_string(),
            text
        );
        assert!("0123".parse::<Oid>().is_err());
        assert!("é".repeat(20).parse::<Oid>().is_err());
        assert!(
            ("--upload-pack=".to_owned() + &"0".repeat(26))
                .parse::<Oid>()
                .is_err()
        );
    }
}
