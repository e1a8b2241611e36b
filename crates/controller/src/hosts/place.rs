//! Where a repository is on its host, and where the host's API is.

use fairway_types::pipeline::GitProvider;

/// A repository on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `https`, unless the repository is served by plain http.
    scheme: &'static str,
    /// Host, with a port where https has another one.
    host: String,
    /// `owner` of GitHub; `group/subgroup` of GitLab.
    pub owner: String,
    /// The repository's name, without `.git`.
    pub name: String,
}

/// A URL that names no repository of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no owner and repository can be told from {0}; hint: pull requests need a repository on GitHub or GitLab"
)]
pub struct NotHosted(String);

impl Place {
    /// From the repository's URL: `https://HOST/OWNER/NAME`, `ssh://git@HOST/OWNER/NAME`, `git@HOST:OWNER/NAME`.
    pub fn of(url: &str) -> Result<Self, NotHosted> {
        let shown = || {
            let without_user = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
            NotHosted(without_user.to_owned())
        };
        let (scheme, authority, path) = match url.trim().split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').ok_or_else(shown)?;
                (scheme, authority, path)
            }
            None => {
                let (authority, path) = url.trim().split_once(':').ok_or_else(shown)?;
                ("scp", authority, path)
            }
        };
        let host = authority.rsplit('@').next().unwrap_or_default();
        let (scheme, host) = match scheme {
            "https" => ("https", host.to_owned()),
            "http" => ("http", host.to_owned()),
            // The port is that of ssh; GitHub and GitLab also serve it under a name of its own.
            "ssh" | "scp" => {
                let host = host.split(':').next().unwrap_or_default();
                let known = match host {
                    "ssh.github.com" => "github.com",
                    "altssh.gitlab.com" => "gitlab.com",
                    other => other,
                };
                ("https", known.to_owned())
            }
            _ => return Err(shown()),
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (owner, name) = path.rsplit_once('/').ok_or_else(shown)?;
        let parts_are_names = path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
        if host.is_empty() || !parts_are_names {
            return Err(shown());
        }
        Ok(Self {
            scheme,
            host,
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The URL of the host's API, where nobody says another.
    pub fn api(&self, provider: GitProvider) -> String {
        let Self { scheme, host, .. } = self;
        match provider {
            GitProvider::GitHub if host == "github.com" || host == "www.github.com" => {
                "https://api.github.com".to_owned()
            }
            // GitHub Enterprise Cloud with data residency.
            GitProvider::GitHub if host.ends_with(".ghe.com") => format!("https://api.{host}"),
            GitProvider::GitHub => format!("{scheme}://{host}/api/v3"),
            GitProvider::GitLab => format!("{scheme}://{host}/api/v4"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_apis() {
        use GitProvider::{GitHub, GitLab};
        for (url, provider, owner, api) in [
            (
                "https://github.com/acme/fleet",
                GitHub,
                "acme",
                "https://api.github.com",
            ),
            (
                "https://ann:token@github.com/acme/fleet.git",
                GitHub,
                "acme",
                "https://api.github.com",
            ),
            (
                "ssh://git@github.com/acme/fleet",
                GitHub,
                "acme",
                "https://api.github.com",
            ),
            (
                "ssh://git@ssh.github.com:443/acme/fleet.git",
                GitHub,
                "acme",
                "https://api.github.com",
            ),
            (
                "git@github.com:acme/fleet.git",
                GitHub,
                "acme",
                "https://api.github.com",
            ),
            (
                "https://git.acme.com:8443/acme/fleet/",
                GitHub,
                "acme",
                "https://git.acme.com:8443/api/v3",
            ),
            (
                "https://acme.ghe.com/acme/fleet",
                GitHub,
                "acme",
                "https://api.acme.ghe.com",
            ),
            (
                "https://gitlab.com/acme/platform/fleet.git",
                GitLab,
                "acme/platform",
                "https://gitlab.com/api/v4",
            ),
            (
                "ssh://git@gitlab.acme.com:2222/a/b/c/fleet.git",
                GitLab,
                "a/b/c",
                "https://gitlab.acme.com/api/v4",
            ),
            (
                "http://127.0.0.1:8080/acme/fleet.git",
                GitLab,
                "acme",
                "http://127.0.0.1:8080/api/v4",
            ),
        ] {
            let place = Place::of(url).unwrap();
            assert_eq!(
                (place.owner.as_str(), place.name.as_str()),
                (owner, "fleet"),
                "{url}"
            );
            assert_eq!(place.api(provider), api, "{url}");
        }
        for url in [
            "https://github.com/fleet",
            "file:///srv/fleet.git",
            "/srv/fleet.git",
            "https://h/a/../b",
            "x",
        ] {
            assert!(Place::of(url).is_err(), "{url}");
        }
        let error = Place::of("https://ann:secret@github.com/fleet").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
