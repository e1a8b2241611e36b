//! The ASCII form of keys and signatures: base64 between a first and a last line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The content of every block of this type, `PGP SIGNATURE` for instance. OpenPGP headers and checksums are passed
/// over: what is in a block is verified by other means, or not at all.
pub(super) fn blocks(text: &str, label: &str) -> Result<Vec<Vec<u8>>, String> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.any(|line| line == begin) {
        let mut body = String::new();
        let mut headers = true;
        loop {
            let Some(line) = lines.next() else {
                return Err(format!("'{end}' is missing"));
            };
            if line == end {
                break;
            }
            // Headers end with an empty line; where there are none, it may be missing.
            if headers && line.contains(": ") {
                continue;
            }
            headers = false;
            if line.is_empty() || line.starts_with('=') {
                continue;
            }
            body.push_str(line);
        }
        blocks.push(STANDARD.decode(body).map_err(|error| error.to_string())?);
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_checksums_are_passed_over() {
        let text = "x\n-----BEGIN A-----\nVersion: 1\nComment: y\n\nYWJj\nZGVm\n=abcd\n-----END A-----\n\
                    -----BEGIN A-----\nZw==\n-----END A-----\n";
        assert_eq!(
            blocks(text, "A").unwrap(),
            [b"abcdef".to_vec(), b"g".to_vec()]
        );
        assert!(blocks("-----BEGIN A-----\nYWJj\n", "A").is_err());
        assert!(blocks("-----BEGIN A-----\n!\n-----END A-----", "A").is_err());
        assert!(blocks("nothing", "A").unwrap().is_empty());
    }
}
