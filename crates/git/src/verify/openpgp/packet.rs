//! Packets: a tag, a length, a body.

/// A signature.
pub(super) const SIGNATURE: u8 = 2;
/// A primary key.
pub(super) const PRIMARY: u8 = 6;
/// A name and an address.
pub(super) const USER_ID: u8 = 13;
/// A subkey.
pub(super) const SUBKEY: u8 = 14;
/// A picture.
pub(super) const USER_ATTRIBUTE: u8 = 17;

/// One packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

/// All packets. Bodies of unknown length are refused, keys and signatures have none.
pub(super) fn packets(mut data: &[u8]) -> Result<Vec<Packet<'_>>, &'static str> {
    let mut packets = Vec::new();
    while let Some((&first, rest)) = data.split_first() {
        if first & 0x80 == 0 {
            return Err("it is no OpenPGP packet");
        }
        let (tag, length, rest) = if first & 0x40 != 0 {
            let (length, rest) = new_length(rest).ok_or("a packet's length is malformed")?;
            (first & 0x3f, length, rest)
        } else {
            let bytes = match first & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return Err("a packet has no length"),
            };
            let (length, rest) = rest.split_at_checked(bytes).ok_or("a packet is cut off")?;
            ((first >> 2) & 0x0f, number(length), rest)
        };
        let (body, rest) = rest.split_at_checked(length).ok_or("a packet is cut off")?;
        packets.push(Packet { tag, body });
        data = rest;
    }
    Ok(packets)
}

/// The length of a packet in the new format, or of a subpacket.
fn new_length(data: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = data.split_first()?;
    match first {
        0..=191 => Some((usize::from(first), rest)),
        192..=223 => {
            let (&second, rest) = rest.split_first()?;
            Some((
                (usize::from(first) - 192) * 256 + usize::from(second) + 192,
                rest,
            ))
        }
        255 => {
            let (length, rest) = rest.split_at_checked(4)?;
            Some((number(length), rest))
        }
        // Of a packet: only the first part of it. Of a subpacket: see `subpackets`.
        _ => None,
    }
}

/// Type (with its critical bit) and content of each subpacket; `None` where they are malformed.
pub(super) fn subpackets(mut data: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut subpackets = Vec::new();
    while !data.is_empty() {
        let (length, rest) = match data[0] {
            // Two octets up to 254 here, where packets have partial lengths.
            first @ 224..=254 => {
                let second = *data.get(1)?;
                (
                    (usize::from(first) - 192) * 256 + usize::from(second) + 192,
                    data.get(2..)?,
                )
            }
            _ => new_length(data)?,
        };
        let (subpacket, rest) = rest.split_at_checked(length)?;
        let (&kind, content) = subpacket.split_first()?;
        subpackets.push((kind, content));
        data = rest;
    }
    Some(subpackets)
}

/// A number of any length: two bytes of its length in bits, then its bytes.
pub(super) fn multiprecision<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (bits, rest) = data.split_at_checked(2)?;
    let (bytes, rest) = rest.split_at_checked(number(bits).div_ceil(8))?;
    *data = rest;
    Some(bytes)
}

/// Big-endian, at most four bytes.
pub(super) fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| (sum << 8) | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let old = [0x88, 2, 1, 2];
        let new = [0xC2, 2, 1, 2];
        for data in [old, new] {
            let found = packets(&data).unwrap();
            assert_eq!((found[0].tag, found[0].body), (SIGNATURE, &[1, 2][..]));
        }
        let long = [&[0xC2, 192, 8][..], &[7; 200]].concat();
        assert_eq!(packets(&long).unwrap()[0].body.len(), 200);
        assert!(packets(&[0xC2, 225, 0]).is_err(), "a partial length");
        assert!(packets(&[0xC2, 9, 0]).is_err());
        assert!(packets(&[0x02]).is_err());
    }
}
