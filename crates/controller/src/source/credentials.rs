//! From the Secret of a GitRepository to the credential that git is given.

use std::collections::BTreeMap;

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
    /// A key with a passphrase.
    #[error(
        "an SSH identity with a 'password' is not supported; hint: use a deploy key without passphrase"
    )]
    Passphrase,
}

/// Reads the keys that Flux knows: for https `username` and `password` or `bearerToken`, `ca.crt` (or `caFile`),
/// `tls.crt` and `tls.key`; for ssh `identity` and `known_hosts`.
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
        if text("password")?.is_some_and(|password| !password.is_empty()) {
            return Err(Error::Passphrase);
        }
        return Ok(credentials.with_ssh(identity, known_hosts));
    }
    if let Some(token) = text("bearerToken")? {
        credentials = credentials.with_bearer(token.trim_end_matches(['\n', '\r']));
    } else {
        match (text("username")?, text("password")?) {
            (Some(user), Some(password)) => credentials = credentials.with_basic(user, password),
            (Some(_), None) => return Err(Error::Incomplete("username", "password")),
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
            of("https://h/r", &[("username", "u")]),
            Error::Incomplete("username", "password")
        );
        assert_eq!(
            of("ssh://h/r", &[("identity", "k")]),
            Error::Incomplete("identity", "known_hosts")
        );
        assert_eq!(
            of(
                "ssh://h/r",
                &[("identity", "k"), ("known_hosts", "h"), ("password", "p")]
            ),
            Error::Passphrase
        );
    }
}
