//! From the Secret of a GitRepository to the credential that git is given.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairway_git::Credentials;

/// What is wrong with a Secret. Values are never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is no text.
    #[error("key '{0}' is not valid UTF-8")]
    NotText(String),
    /// One half of a pair.
    #[error("invalid secret: key '{0}' needs key '{1}' too")]
    Incomplete(&'static str, &'static str),
    /// A key with a passphrase, and none to open it.
    #[error("SSH identity key is encrypted but no 'password' field was provided in the secret")]
    Passphrase,
    /// The address of a proxy can't be used.
    #[error("key 'address' is missing or no http or https URL")]
    ProxyAddress,
}

/// Reads the keys that Flux knows: for https `username` and `password` or `bearerToken`, `ca.crt` (or `caFile`),
/// `tls.crt` and `tls.key`; for ssh `identity`, `known_hosts` and `password` (of the identity).
pub fn from_secret(url: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<Credentials, Error> {
    let text = |key: &str| -> Result<Option<&str>, Error> {
        match data.get(key) {
            None => Ok(None),
            Some(bytes) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| Error::NotText(key.to_owned())),
        }
    };
    let mut credentials = Credentials::none();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let (Some(identity), Some(known_hosts)) = (text("identity")?, text("known_hosts")?) else {
            return Err(if data.contains_key("identity") {
                Error::Incomplete("identity", "known_hosts")
            } else {
                Error::Incomplete("known_hosts", "identity")
            });
        };
        credentials = credentials.with_ssh(identity, known_hosts);
        match text("password")?.filter(|password| !password.is_empty()) {
            Some(password) => credentials = credentials.with_passphrase(password),
            None if is_encrypted(identity) => return Err(Error::Passphrase),
            None => {}
        }
        return Ok(credentials);
    }
    if let Some(token) = text("bearerToken")? {
        credentials = credentials.with_bearer(token.trim_end_matches(['\n', '\r']));
    } else {
        match (text("username")?, text("password")?) {
            (Some(user), Some(password)) => credentials = credentials.with_basic(user, password),
            (Some(user), None) => credentials = credentials.with_basic(user, ""),
            (None, Some(_)) => return Err(Error::Incomplete("password", "username")),
            (None, None) => {}
        }
    }
    if let Some(ca) = text("ca.crt")?.or(text("caFile")?) {
        credentials = credentials.with_ca(ca);
    }
    match (text("tls.crt")?, text("tls.key")?) {
        (Some(certificate), Some(key)) => {
            credentials = credentials.with_client_certificate(certificate, key);
        }
        (Some(_), None) => return Err(Error::Incomplete("tls.crt", "tls.key")),
        (None, Some(_)) => return Err(Error::Incomplete("tls.key", "tls.crt")),
        (None, None) => {}
    }
    Ok(credentials)
}

/// Whether a private key for ssh can only be read with a passphrase.
fn is_encrypted(identity: &str) -> bool {
    const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
    if identity.contains("Proc-Type: 4,ENCRYPTED")
        || identity.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    {
        return true;
    }
    // OpenSSH's PROTOCOL.key: "openssh-key-v1", a zero, and the name of the cipher with its length.
    let Some((_, body)) = identity.split_once(OPENSSH) else {
        return false;
    };
    let base64: String = body
        .chars()
        .filter(|c| !c.is_whitespace())
        .take(32)
        .collect();
    let plain = STANDARD.encode(b"openssh-key-v1\0\0\0\0\x04none\0");
    !base64.starts_with(&plain[..plain.len() - 4])
}

/// The URL of a proxy, from the keys `address`, `username` and `password`.
pub fn proxy(data: &BTreeMap<String, Vec<u8>>) -> Result<String, Error> {
    let text = |key: &str| -> Result<Option<String>, Error> {
        let value = data.get(key).cloned().map(String::from_utf8).transpose();
        value.map_err(|_| Error::NotText(key.to_owned()))
    };
    let address = text("address")?.ok_or(Error::ProxyAddress)?;
    let (scheme, rest) = address
        .trim()
        .split_once("://")
        .ok_or(Error::ProxyAddress)?;
    if !matches!(scheme, "http" | "https")
        || rest.is_empty()
        || rest.chars().any(char::is_whitespace)
    {
        return Err(Error::ProxyAddress);
    }
    let user = match (text("username")?, text("password")?) {
        (Some(user), Some(password)) => format!("{}:{}@", encoded(&user), encoded(&password)),
        (Some(user), None) => format!("{}@", encoded(&user)),
        (None, Some(_)) => return Err(Error::Incomplete("password", "username")),
        (None, None) => String::new(),
    };
    Ok(format!("{scheme}://{user}{rest}"))
}

/// For the user information of a URL.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn reads_what_flux_reads() {
        let basic = from_secret(
            "https://h/r",
            &secret(&[("username", "u"), ("password", "p")]),
        )
        .unwrap();
        assert_eq!(basic, Credentials::none().with_basic("u", "p"));
        let bearer = from_secret(
            "https://h/r",
            &secret(&[("bearerToken", "t\n"), ("ca.crt", "pem")]),
        )
        .unwrap();
        assert_eq!(bearer, Credentials::none().with_bearer("t").with_ca("pem"));
        let ssh = from_secret(
            "ssh://git@h/r",
            &secret(&[("identity", "k"), ("known_hosts", "h")]),
        )
        .unwrap();
        assert_eq!(ssh, Credentials::none().with_ssh("k", "h"));
    }

    #[test]
    fn halves_are_refused() {
        let of = |url: &str, pairs: &[(&str, &str)]| from_secret(url, &secret(pairs)).unwrap_err();
        assert_eq!(
            of("https://h/r", &[("password", "p")]),
            Error::Incomplete("password", "username")
        );
        assert_eq!(
            of("ssh://h/r", &[("identity", "k")]),
            Error::Incomplete("identity", "known_hosts")
        );
    }

    #[test]
    fn locked_keys_are_known() {
        let dir = tempfile::tempdir().unwrap();
        for (name, passphrase, format) in [
            ("a", "", "OPENSSH"),
            ("b", "secret", "OPENSSH"),
            ("c", "", "PEM"),
            ("d", "secret", "PEM"),
            ("e", "secret", "PKCS8"),
        ] {
            let path = dir.path().join(name);
            let kind = if format == "OPENSSH" {
                "ed25519"
            } else {
                "ecdsa"
            };
            let mut command = std::process::Command::new("ssh-keygen");
            command
                .args(["-q", "-t", kind, "-N", passphrase, "-f"])
                .arg(&path);
            if format != "OPENSSH" {
                command.args(["-m", format]);
            }
            let Ok(status) = command.status() else {
                eprintln!("skipped: there is no ssh-keygen on this machine");
                return;
            };
            assert!(status.success());
            let key = std::fs::read_to_string(path).unwrap();
            assert_eq!(
                is_encrypted(&key),
                !passphrase.is_empty(),
                "{format} {passphrase}"
            );
        }
        let locked = std::fs::read_to_string(dir.path().join("b")).unwrap();
        let without = from_secret(
            "ssh://h/r",
            &secret(&[("identity", &locked), ("known_hosts", "h")]),
        );
        assert_eq!(without, Err(Error::Passphrase));
    }

    #[test]
    fn proxies() {
        let of = |pairs: &[(&str, &str)]| proxy(&secret(pairs));
        assert_eq!(
            of(&[("address", "http://p:3128")]).unwrap(),
            "http://p:3128"
        );
        assert_eq!(
            of(&[
                ("address", "https://p:3128"),
                ("username", "me@x"),
                ("password", "a:b/c")
            ])
            .unwrap(),
            "https://me%40x:a%3Ab%2Fc@p:3128"
        );
        for pairs in [
            &[][..],
            &[("address", "p:3128")],
            &[("address", "socks5://p")],
            &[("address", "http://")],
        ] {
            assert_eq!(of(pairs), Err(Error::ProxyAddress), "{pairs:?}");
        }
        let half = of(&[("address", "http://p"), ("password", "x")]);
        assert_eq!(half, Err(Error::Incomplete("password", "username")));
    }
}
