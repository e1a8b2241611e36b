//! SSH keys as OpenSSH writes them, and the host of an ssh URL.

use anyhow::Context as _;
use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::exit::Hinted;

const ALGORITHM: &str = "ssh-ed25519";

/// A private key and the line that lets it in.
pub(super) struct KeyPair {
    /// `-----BEGIN OPENSSH PRIVATE KEY-----…`
    pub(super) private: String,
    /// `ssh-ed25519 AAAA…`
    pub(super) public: String,
}

impl KeyPair {
    /// A new Ed25519 key without passphrase.
    pub(super) fn generate() -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::generate()
            .ok()
            .context("failed to make an SSH key")?;
        let seed = pair.seed().ok().context("failed to make an SSH key")?;
        let seed = seed
            .as_be_bytes()
            .ok()
            .context("failed to make an SSH key")?;
        Ok(Self::of(seed.as_ref(), pair.public_key().as_ref()))
    }

    /// OpenSSH's format (PROTOCOL.key), unencrypted.
    fn of(seed: &[u8], public: &[u8]) -> Self {
        let mut blob = Vec::new();
        string(&mut blob, ALGORITHM.as_bytes());
        string(&mut blob, public);

        let mut private = Vec::new();
        // Two equal numbers, by which a wrong passphrase would show; there is none.
        private.extend([0x66, 0x61, 0x69, 0x72, 0x66, 0x61, 0x69, 0x72]);
        private.extend(&blob);
        string(&mut private, &[seed, public].concat());
        string(&mut private, b"fairway");
        for pad in 1.. {
            if private.len() % 8 == 0 {
                break;
            }
            private.push(pad);
        }

        let mut whole = b"openssh-key-v1\0".to_vec();
        string(&mut whole, b"none");
        string(&mut whole, b"none");
        string(&mut whole, b"");
        whole.extend(1_u32.to_be_bytes());
        string(&mut whole, &blob);
        string(&mut whole, &private);

        let mut text = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
        let encoded = STANDARD.encode(whole);
        for line in encoded.as_bytes().chunks(70) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END OPENSSH PRIVATE KEY-----\n");
        Self {
            private: text,
            public: format!("{ALGORITHM} {}", STANDARD.encode(blob)),
        }
    }
}

fn string(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("the parts of a key are short");
    into.extend(length.to_be_bytes());
    into.extend(bytes);
}

/// The public line of a private key in OpenSSH's format, which holds it in clear; `None` for other formats.
pub(super) fn public_of(private: &str) -> Option<String> {
    let body: String = private
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    let bytes = STANDARD.decode(body).ok()?;
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    for _ in 0..3 {
        rest = take(rest)?.1;
    }
    let (blob, _) = take(rest.get(4..)?)?;
    let (algorithm, _) = take(blob)?;
    Some(format!(
        "{} {}",
        std::str::from_utf8(algorithm).ok()?,
        STANDARD.encode(blob)
    ))
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    rest.split_at_checked(length)
}

/// Host and port of an ssh URL.
pub(super) fn host_of(url: &str) -> anyhow::Result<(String, u16)> {
    let authority = url
        .strip_prefix("ssh://")
        .and_then(|rest| rest.split('/').next())
        .with_context(|| format!("{url} is no ssh:// URL"))?;
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (
            name,
            port.parse()
                .with_context(|| format!("{url} has no good port"))?,
        ),
        _ => (host, 22),
    };
    if host.is_empty() {
        return Err(Hinted::new(
            format!("{url} names no host"),
            "write it as ssh://git@host/path",
        )
        .into());
    }
    Ok((host.to_owned(), port))
}

/// `git@host:path` → `ssh://git@host/path`, the form that Flux reads.
pub(super) fn as_ssh_url(text: &str) -> anyhow::Result<String> {
    if text.starts_with("ssh://") {
        return Ok(text.to_owned());
    }
    let (host, path) = text
        .split_once(':')
        .with_context(|| format!("{text} is no ssh URL"))?;
    Ok(format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back() {
        let pair = KeyPair::generate().unwrap();
        assert_eq!(
            public_of(&pair.private).as_deref(),
            Some(pair.public.as_str())
        );
        assert_ne!(KeyPair::generate().unwrap().public, pair.public);
        assert_eq!(public_of("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"), None);
    }

    /// OpenSSH itself must be able to read it.
    #[test]
    fn ssh_keygen_reads_the_key() {
        use std::os::unix::fs::OpenOptionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let pair = KeyPair::generate().unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut file, pair.private.as_bytes()).unwrap();
        drop(file);
        let Ok(output) = std::process::Command::new("ssh-keygen")
            .arg("-y")
            .arg("-f")
            .arg(&path)
            .output()
        else {
            eprintln!("skipped: there is no ssh-keygen");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.starts_with(&pair.public),
            "{said} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn hosts_and_urls() {
        assert_eq!(
            host_of("ssh://git@host.example/a/b").unwrap(),
            ("host.example".into(), 22)
        );
        assert_eq!(
            host_of("ssh://git@host:2222/a").unwrap(),
            ("host".into(), 2222)
        );
        assert!(host_of("ssh:///a").is_err());
        assert_eq!(
            as_ssh_url("git@github.com:o/r.git").unwrap(),
            "ssh://git@github.com/o/r.git"
        );
        assert_eq!(as_ssh_url("ssh://git@h/o/r").unwrap(), "ssh://git@h/o/r");
    }
}
