//! Git compresses the requests that it posts; this is the way back (RFC 1952).

use std::io;

use zlib_rs::{Inflate, InflateFlush, Status};

/// Unpacks one gzip member, to at most `limit` bytes.
pub(super) fn unpack(data: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed gzip");
    let header = header_length(data).ok_or_else(malformed)?;
    let mut input = &data[header..];
    let mut inflate = Inflate::new(false, 15);
    let mut out = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(input, &mut buffer, InflateFlush::NoFlush)
            .map_err(|_| malformed())?;
        let read = (inflate.total_in() - read) as usize;
        let written = (inflate.total_out() - written) as usize;
        out.extend_from_slice(&buffer[..written]);
        input = &input[read..];
        if out.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the request is too large",
            ));
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if read == 0 && written == 0 {
            return Err(malformed());
        }
    }
}

fn header_length(data: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b, 8, flags, ..] = *data else {
        return None;
    };
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(*data.get(at)?) + 256 * usize::from(*data.get(at + 1)?);
    }
    // The name and the comment, each up to a zero byte.
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += 1 + data.get(at..)?.iter().position(|b| *b == 0)?;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= data.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf hello | gzip -n
    const HELLO: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0x86, 0xa6,
        0x10, 0x36, 5, 0, 0, 0,
    ];

    #[test]
    fn unpacks() {
        assert_eq!(unpack(HELLO, 100).unwrap(), b"hello");
        let mut named = HELLO.to_vec();
        named[3] = 8;
        named.splice(10..10, *b"a name\0");
        assert_eq!(unpack(&named, 100).unwrap(), b"hello");
        assert!(unpack(HELLO, 4).is_err());
        assert!(unpack(&HELLO[..12], 100).is_err());
        assert!(unpack(b"hello", 100).is_err());
        assert!(unpack(&[0x1f, 0x8b, 8, 0xff, 0], 100).is_err());
    }
}
