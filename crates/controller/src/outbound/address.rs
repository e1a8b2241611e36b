//! An http or https URL, taken apart.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

use super::OutboundError;

/// Where a request goes. Displays as host and port: path, query and password may be secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    uri: Uri,
    host: String,
    port: u16,
    user: Option<(String, String)>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.server())
    }
}

impl Address {
    /// Reads a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, OutboundError> {
        let url = url.trim();
        // A fragment is not sent.
        let url = url.split('#').next().unwrap_or(url);
        let uri: Uri = url
            .parse()
            .map_err(|_| OutboundError::Url("is not valid"))?;
        let default = match uri.scheme().map(Scheme::as_str) {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(OutboundError::Url("is neither http nor https")),
        };
        let authority = uri.authority().ok_or(OutboundError::Url("names no host"))?;
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
            .to_owned();
        if host.is_empty() {
            return Err(OutboundError::Url("names no host"));
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (decoded(name), decoded(password))
        });
        Ok(Self {
            port: authority.port_u16().unwrap_or(default),
            host,
            user,
            uri,
        })
    }

    /// The same server with a path added and a query set.
    pub(crate) fn with(&self, path: &str, query: &[(&str, &str)]) -> Result<Self, OutboundError> {
        let mut text = format!(
            "{}://{}{}{path}",
            self.uri.scheme_str().unwrap_or("http"),
            self.uri
                .authority()
                .map_or("", |authority| authority.as_str()),
            self.uri.path().trim_end_matches('/'),
        );
        for (n, (key, value)) in query.iter().enumerate() {
            text.push(if n == 0 { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            text.push_str(&encoded(value));
        }
        Self::parse(&text)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// Name or address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn user(&self) -> Option<(&str, &str)> {
        let (name, password) = self.user.as_ref()?;
        Some((name, password))
    }

    /// Host and port, for people.
    pub(crate) fn server(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What the header `Host` says.
    pub(crate) fn host_header(&self) -> String {
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
            .to_owned()
    }

    /// Path and query.
    pub(crate) fn path(&self) -> String {
        self.uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned()
    }

    /// All of it but user and password, as a proxy is told.
    pub(crate) fn absolute(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        format!("{scheme}://{}{}", self.host_header(), self.path())
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Percent-encodes for a query.
pub(super) fn encoded(text: &str) -> String {
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

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%' && tail.len() >= 2)
            .then(|| std::str::from_utf8(&tail[..2]).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let address = Address::parse("https://user:p%40ss@hooks.example.com/a/b?c=d#e").unwrap();
        assert_eq!(address.user(), Some(("user", "p@ss")));
        assert_eq!(address.server(), "hooks.example.com:443");
        assert_eq!(address.host_header(), "hooks.example.com");
        assert_eq!(address.path(), "/a/b?c=d");
        assert_eq!(address.absolute(), "https://hooks.example.com/a/b?c=d");
        let six = Address::parse("http://[::1]:9090").unwrap();
        assert_eq!((six.host(), six.port()), ("::1", 9090));
        assert_eq!(six.server(), "[::1]:9090");
        assert_eq!(six.path(), "/");
    }

    #[test]
    fn neither_path_nor_password_are_shown() {
        let address =
            Address::parse("https://u:secret@hooks.slack.com/services/T0/B0/token").unwrap();
        let shown = format!("{address:?}");
        assert_eq!(shown, "hooks.slack.com:443");
        for url in [
            "ftp://secret",
            "http:///secret",
            "secret",
            "http://a b/secret",
        ] {
            assert!(
                !Address::parse(url)
                    .unwrap_err()
                    .to_string()
                    .contains("secret")
            );
        }
    }

    #[test]
    fn queries_are_encoded() {
        let base = Address::parse("http://prometheus:9090/prom/").unwrap();
        let address = base
            .with(
                "/api/v1/query",
                &[("query", "up{a=\"b&c\"} > 1"), ("time", "1")],
            )
            .unwrap();
        assert_eq!(
            address.path(),
            "/prom/api/v1/query?query=up%7Ba%3D%22b%26c%22%7D%20%3E%201&time=1"
        );
    }
}
