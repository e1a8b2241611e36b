//! SSH's wire format (RFC 4251, section 5).

/// Reads it; `None` where the bytes end too early.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }

    /// A number that is not negative, without leading zeros.
    pub(crate) fn number(&mut self) -> Option<Vec<u8>> {
        let bytes = self.string()?;
        if bytes.first().is_some_and(|b| b & 0x80 != 0) {
            return None;
        }
        Some(bytes[bytes.iter().take_while(|b| **b == 0).count()..].to_vec())
    }
}

/// Writes it.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.0
            .extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// A number that is not negative, big-endian.
    pub(crate) fn number(&mut self, bytes: &[u8]) -> &mut Self {
        let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        let sign = bytes.first().is_some_and(|b| b & 0x80 != 0);
        self.0
            .extend_from_slice(&((bytes.len() + usize::from(sign)) as u32).to_be_bytes());
        self.0.extend(sign.then_some(0));
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Writer::default();
        out.string(b"ab").number(&[0, 0, 0x80, 1]).number(&[]);
        assert_eq!(out.0, b"\0\0\0\x02ab\0\0\0\x03\0\x80\x01\0\0\0\0");
        let mut reader = Reader(&out.0);
        assert_eq!(reader.string(), Some(&b"ab"[..]));
        assert_eq!(reader.number(), Some(vec![0x80, 1]));
        assert_eq!(reader.number(), Some(vec![]));
        assert!(reader.u32().is_none());
    }
}
