//! Where a repository is, and as whom it is read.

use std::fmt;

use crate::{Credentials, Error};

/// A validated URL of a repository and the credential to use there.
///
/// Accepted: `https://`, `http://`, `ssh://`, `file://`, an absolute path, and the short ssh form
/// `git@host:path`. Everything else is refused, above all git's remote helpers (`ext::sh -c …`) and
/// whatever the program could take for an option.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    scheme: Scheme,
    credentials: Credentials,
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Ssh,
    File,
}

impl Remote {
    /// Checks `url`. User information in an http(s) URL is moved into the credential (if that has
    /// no user of its own), so that it shows on no command line and in no message.
    pub fn new(url: &str, mut credentials: Credentials) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::InvalidUrl {
            url: redacted(url),
            reason: reason.to_owned(),
        };
        if url.is_empty() {
            return Err(invalid("it is empty"));
        }
        if url.starts_with('-') {
            return Err(invalid("it starts with '-'"));
        }
        if url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() && c != ' ')
        {
            return Err(invalid("it holds control characters"));
        }
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("ssh", rest)) => (Scheme::Ssh, rest),
            Some(("file", rest)) => (Scheme::File, rest),
            Some((other, _)) if !other.contains('/') => {
                return Err(invalid("the scheme is none of https, http, ssh and file"));
            }
            _ if url.starts_with('/') => (Scheme::File, url),
            _ => return Self::scp(url, credentials),
        };
        if scheme == Scheme::File {
            if !rest.starts_with('/') {
                return Err(invalid("a file URL needs an absolute path"));
            }
            return Ok(Self {
                url: url.to_owned(),
                scheme,
                credentials,
            });
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        check_host(host).map_err(invalid)?;
        if path.starts_with('-') {
            return Err(invalid("its path starts with '-'"));
        }
        let url = if scheme == Scheme::Ssh {
            if let Some(user) = user {
                check_user(user.split(':').next().unwrap_or(user)).map_err(invalid)?;
                if user.contains(':') {
                    return Err(invalid("an ssh URL holds no password"));
                }
            }
            url.to_owned()
        } else {
            if let Some(user) = user {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                if !credentials.has_http_user() {
                    credentials =
                        credentials.with_basic(&percent_decoded(name), &percent_decoded(password));
                }
            }
            let scheme = if scheme == Scheme::Https {
                "https"
            } else {
                "http"
            };
            format!("{scheme}://{host}/{path}")
        };
        Ok(Self {
            url,
            scheme,
            credentials,
        })
    }

    /// `git@github.com:team/repository.git`.
    fn scp(url: &str, credentials: Credentials) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::InvalidUrl {
            url: redacted(url),
            reason: reason.to_owned(),
        };
        let Some((authority, path)) = url.split_once(':') else {
            return Err(invalid("it is neither a URL nor an absolute path"));
        };
        if authority.contains('/') {
            return Err(invalid("it is neither a URL nor an absolute path"));
        }
        if path.starts_with(':') {
            return Err(invalid("remote helpers are never run"));
        }
        if path.is_empty() || path.starts_with('-') {
            return Err(invalid("its path is empty or starts with '-'"));
        }
        let host = match authority.split_once('@') {
            Some((user, host)) => {
                check_user(user).map_err(invalid)?;
                host
            }
            None => authority,
        };
        check_host(host).map_err(invalid)?;
        Ok(Self {
            url: url.to_owned(),
            scheme: Scheme::Ssh,
            credentials,
        })
    }

    /// The URL, without user information: what is shown, and what the git program gets.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The credential.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `https://host:port/`, the scope of a header that carries a credential.
    pub(crate) fn origin(&self) -> Option<String> {
        if !matches!(self.scheme, Scheme::Http | Scheme::Https) {
            return None;
        }
        let (scheme, rest) = self.url.split_once("://")?;
        let host = rest.split('/').next()?;
        Some(format!("{scheme}://{host}/"))
    }

    /// Whether an ssh URL says as whom to log in.
    pub(crate) fn has_user(&self) -> bool {
        let rest = self
            .url
            .split_once("://")
            .map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', ':'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
    }

    /// The host and port, by which credentials are kept apart; none for a folder of this machine.
    pub(crate) fn host(&self) -> Option<String> {
        let (authority, default) = match self.url.split_once("://") {
            Some((_, rest)) => (
                rest.split('/').next()?,
                match self.scheme {
                    Scheme::Https => "443",
                    Scheme::Http => "80",
                    Scheme::Ssh => "22",
                    Scheme::File => return None,
                },
            ),
            None if self.scheme == Scheme::Ssh => {
                return Some(format!(
                    "{}:22",
                    self.url
                        .split(':')
                        .next()?
                        .rsplit('@')
                        .next()?
                        .to_ascii_lowercase()
                ));
            }
            None => return None,
        };
        let host = authority.rsplit('@').next()?.to_ascii_lowercase();
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && !port.ends_with(']'));
        Some(if has_port {
            host
        } else {
            format!("{}:{default}", host.trim_end_matches(':'))
        })
    }

    /// The path of a repository on this machine.
    pub(crate) fn local_path(&self) -> Option<&str> {
        (self.scheme == Scheme::File).then(|| self.url.strip_prefix("file://").unwrap_or(&self.url))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() || host.starts_with(':') {
        return Err("it names no host");
    }
    if host.starts_with('-') {
        return Err("its host starts with '-'");
    }
    let allowed =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    if host.chars().all(allowed) {
        Ok(())
    } else {
        Err("its host holds characters that no host name has")
    }
}

fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.starts_with('-') {
        return Err("its user is empty or starts with '-'");
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '%');
    if user.chars().all(allowed) {
        Ok(())
    } else {
        Err("its user holds characters that no user name has")
    }
}

/// `text` with the user information of every URL in it replaced by `***`.
pub(crate) fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let authority = tail.find(|c: char| c == '/' || c.is_whitespace() || c == '\'' || c == '"');
        let authority = &tail[..authority.unwrap_or(tail.len())];
        match authority.rfind('@') {
            Some(end) => {
                out.push_str("***");
                rest = &tail[end..];
            }
            None => rest = tail,
        }
    }
    out.push_str(rest);
    out
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_forms_that_people_use() {
        for url in [
            "https://github.com/org/repo.git",
            "http://127.0.0.1:8080/fleet.git",
            "http://[::1]:8080/fleet.git",
            "ssh://git@github.com/org/repo",
            "ssh://git@host:2222/org/repo",
            "git@github.com:org/repo.git",
            "file:///srv/git/fleet.git",
            "/srv/git/my fleet",
        ] {
            assert_eq!(Remote::new(url, Credentials::none()).unwrap().url(), url);
        }
    }

    #[test]
    fn refuses_hostile_urls() {
        for url in [
            "",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c 'touch /tmp/x'",
            "fd::17",
            "git://host/path",
            "ftp://host/path",
            "ssh://-oProxyCommand=touch/x",
            "ssh://git@-oProxyCommand=touch/x",
            "ssh://-l@host/x",
            "-oProxyCommand=x:path",
            "git@-oProxyCommand=x:path",
            "git@host:-path",
            "ssh://host;touch/x",
            "ssh://$(touch x)@host/x",
            "https:///path",
            "https://host\n/path",
            "relative/path",
            "./relative",
            "file://relative",
            "https://ho st/path",
        ] {
            let error = Remote::new(url, Credentials::none()).unwrap_err();
            assert!(matches!(error, Error::InvalidUrl { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn user_information_moves_into_the_credential() {
        let remote = Remote::new(
            "https://me:s%40cret@host:8443/fleet.git",
            Credentials::none(),
        )
        .unwrap();
        assert_eq!(remote.url(), "https://host:8443/fleet.git");
        assert_eq!(remote.origin().unwrap(), "https://host:8443/");
        assert_eq!(
            remote.credentials(),
            &Credentials::none().with_basic("me", "s@cret")
        );
        let shown = format!("{remote:?}");
        assert!(
            !shown.contains("s@cret") && !shown.contains("s%40cret"),
            "{shown}"
        );
    }

    #[test]
    fn redacts_every_url_in_a_text() {
        assert_eq!(
            redacted("fatal: 'https://a:b@c/d' and ssh://x@y/z http://plain/"),
            "fatal: 'https://***@c/d' and ssh://***@y/z http://plain/"
        );
    }
}
