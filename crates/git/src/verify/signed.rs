//! A commit or a tag, taken apart into what was signed and the signature.

use super::VerifyError;

/// See the module.
pub(super) struct Signed {
    /// The object without its signature.
    pub(super) payload: Vec<u8>,
    /// The armoured signature.
    pub(super) signature: Option<String>,
}

/// By its first line, as Git tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureKind {
    OpenPgp,
    Ssh,
    X509,
    Unknown,
    Empty,
}

const MARKS: [(&str, SignatureKind); 3] = [
    ("-----BEGIN PGP SIGNATURE-----", SignatureKind::OpenPgp),
    ("-----BEGIN SSH SIGNATURE-----", SignatureKind::Ssh),
    ("-----BEGIN SIGNED MESSAGE-----", SignatureKind::X509),
];

impl SignatureKind {
    pub(super) fn of(signature: &str) -> Self {
        if signature.is_empty() {
            return Self::Empty;
        }
        let begins = |mark: &str| signature.trim_start().starts_with(mark);
        MARKS
            .iter()
            .find(|(mark, _)| begins(mark))
            .map_or(Self::Unknown, |(_, kind)| *kind)
    }
}

impl Signed {
    /// A commit's signature is the header `gpgsig`, continued on lines that begin with a space. What was signed is the
    /// commit without it (and without `gpgsig-sha256`, which is for the other format of repositories).
    pub(super) fn commit(data: &[u8]) -> Result<Self, VerifyError> {
        let mut payload = Vec::with_capacity(data.len());
        let mut signature: Option<Vec<u8>> = None;
        let mut rest = data;
        // Where continuation lines of the current header go.
        let mut current = Header::Kept;
        while !rest.is_empty() {
            let end = rest
                .iter()
                .position(|b| *b == b'\n')
                .map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            if line == b"\n" {
                break;
            }
            if let Some(continued) = line.strip_prefix(b" ") {
                match (&current, &mut signature) {
                    (Header::Signature, Some(signature)) => signature.extend_from_slice(continued),
                    (Header::Dropped, _) => {}
                    _ => payload.extend_from_slice(line),
                }
            } else if let Some(value) = line.strip_prefix(b"gpgsig ") {
                if signature.is_some() {
                    return Err(VerifyError::Malformed(
                        "the commit has two signatures".to_owned(),
                    ));
                }
                signature = Some(value.to_owned());
                current = Header::Signature;
            } else if line.starts_with(b"gpgsig-sha256 ") {
                current = Header::Dropped;
            } else {
                current = Header::Kept;
                payload.extend_from_slice(line);
            }
            rest = after;
        }
        payload.extend_from_slice(rest);
        let signature = signature
            .map(String::from_utf8)
            .transpose()
            .map_err(|_| VerifyError::Malformed("it is no text".to_owned()))?;
        Ok(Self { payload, signature })
    }

    /// A tag's signature is the end of its message, from the last line that begins one.
    pub(super) fn tag(data: &[u8]) -> Self {
        let mut at = 0;
        let mut begins = None;
        for line in data.split_inclusive(|b| *b == b'\n') {
            if MARKS
                .iter()
                .any(|(mark, _)| line.starts_with(mark.as_bytes()))
            {
                begins = Some(at);
            }
            at += line.len();
        }
        let split = begins.unwrap_or(data.len());
        let signature = begins.map(|at| String::from_utf8_lossy(&data[at..]).into_owned());
        Self {
            payload: data[..split].to_owned(),
            signature,
        }
    }

    /// The name in a tag object.
    pub(super) fn tag_name(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.payload);
        let (headers, _) = text.split_once("\n\n").unwrap_or((&text, ""));
        let name = headers.lines().find_map(|line| line.strip_prefix("tag "));
        name.map(str::to_owned)
    }
}

enum Header {
    Kept,
    Signature,
    Dropped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_taken_apart() {
        let data = b"tree 1\nauthor a\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\
                     mergetag x\n y\nencoding z\n\nHello\n gpgsig no\n";
        let signed = Signed::commit(data).unwrap();
        assert_eq!(
            signed.payload,
            b"tree 1\nauthor a\nmergetag x\n y\nencoding z\n\nHello\n gpgsig no\n"
        );
        assert_eq!(
            signed.signature.unwrap(),
            "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
        );
        let twice = b"tree 1\ngpgsig a\ngpgsig b\n\nHello\n";
        assert!(Signed::commit(twice).is_err());
        assert_eq!(Signed::commit(b"tree 1\n\nHi\n").unwrap().signature, None);
    }

    #[test]
    fn a_tag_is_taken_apart_at_the_last_signature() {
        let data = b"object 1\ntype commit\ntag v1\n\nHi\n-----BEGIN SSH SIGNATURE-----\nx\n\
                     -----BEGIN PGP SIGNATURE-----\ny\n";
        let signed = Signed::tag(data);
        assert!(signed.payload.ends_with(b"x\n"));
        assert!(
            signed
                .signature
                .as_deref()
                .unwrap()
                .starts_with("-----BEGIN PGP")
        );
        assert_eq!(signed.tag_name().as_deref(), Some("v1"));
    }
}
