//! Submodules: where `.gitmodules` says that they are, fetched and put into the tree.
//!
//! What a repository says about its submodules is not trusted. Their names are not used at all; paths count only where
//! the commit has a submodule there; URLs are checked like any other, and may not point at this machine's files unless
//! the repository itself does. A credential goes to the host that it was given for and to no other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::compose::Composition;
use crate::objects::Mode;
use crate::program::Run;
use crate::remote::Scheme;
use crate::tree::{join, normalised};
use crate::{Credentials, Error, Mirror, Mirrors, Oid, Reference, Remote};

/// Submodules within submodules, at most; as in Flux.
const MAX_DEPTH: usize = 10;
/// Submodules of one repository, those within submodules included.
const MAX_COUNT: usize = 256;

/// A submodule that was fetched.
#[derive(Debug, Clone)]
pub struct Submodule {
    /// Where it is in the outermost repository.
    pub path: String,
    /// Its commit.
    pub commit: Oid,
    /// Its repository.
    pub mirror: Arc<Mirror>,
}

/// Fetches the submodules of a commit of `mirror`, those within submodules too, outer ones first.
pub async fn submodules(
    mirrors: &Mirrors,
    mirror: &Arc<Mirror>,
    commit: Oid,
    timeout: Duration,
) -> Result<Vec<Submodule>, Error> {
    let mut found = Vec::new();
    collect(
        mirrors,
        mirror,
        commit,
        String::new(),
        timeout,
        0,
        &mut found,
    )
    .await?;
    Ok(found)
}

fn collect<'a>(
    mirrors: &'a Mirrors,
    mirror: &'a Arc<Mirror>,
    commit: Oid,
    folder: String,
    timeout: Duration,
    depth: usize,
    found: &'a mut Vec<Submodule>,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
    Box::pin(async move {
        for (path, url, pinned) in listed(mirror, commit).await? {
            let at = join(&folder, &path);
            let refused = |reason: String| Error::Submodule {
                path: at.clone(),
                reason,
            };
            if depth >= MAX_DEPTH || found.len() >= MAX_COUNT {
                return Err(refused(format!(
                    "more than {MAX_DEPTH} levels or {MAX_COUNT} submodules in all"
                )));
            }
            let remote = remote_of(mirror.remote(), &url).map_err(&refused)?;
            let inner = mirrors.get(&remote).await?;
            let reference = Reference::Commit {
                commit: pinned,
                branch: None,
            };
            inner
                .fetch(&reference, timeout)
                .await
                .map_err(|error| refused(error.to_string()))?;
            found.push(Submodule {
                path: at.clone(),
                commit: pinned,
                mirror: inner.clone(),
            });
            collect(mirrors, &inner, pinned, at, timeout, depth + 1, found).await?;
        }
        Ok(())
    })
}

impl Composition {
    /// Puts fetched submodules where they belong.
    pub fn fill_in(&mut self, submodules: &[Submodule]) -> Result<(), Error> {
        for submodule in submodules {
            self.submodule(
                &submodule.path,
                submodule.mirror.repository(),
                submodule.commit,
            )?;
        }
        Ok(())
    }
}

/// Path, URL and commit of each submodule that `.gitmodules` names and the commit has, in the order of paths.
async fn listed(mirror: &Mirror, commit: Oid) -> Result<Vec<(String, String, Oid)>, Error> {
    let tree = Composition::new(mirror.repository(), commit)?;
    let Some(file) = tree.entry(".gitmodules")? else {
        return Ok(Vec::new());
    };
    // A link could stand for any file; Git itself refuses it.
    if !matches!(file.mode, Mode::File | Mode::Executable) {
        return Ok(Vec::new());
    }
    let id = file.id.to_string();
    let arguments = [
        "config",
        "--null",
        "--blob",
        &id,
        "--get-regexp",
        r"^submodule\..*\.(path|url)$",
    ];
    let output = Run::new(arguments)
        .within(mirror.repository().directory())
        .output()
        .await?;
    match output.code {
        Some(0) => {}
        // Nothing of that name.
        Some(1) => return Ok(Vec::new()),
        _ => {
            return Err(Error::Submodule {
                path: ".gitmodules".to_owned(),
                reason: output.stderr.trim().to_owned(),
            });
        }
    }
    let mut submodules = Vec::new();
    for (path, url) in pairs(&output.text()) {
        let Ok(path) = normalised(&path) else {
            continue;
        };
        let is_git = |name: &str| {
            name.trim_end_matches(['.', ' '])
                .eq_ignore_ascii_case(".git")
        };
        if path.is_empty() || path.split('/').any(is_git) {
            continue;
        }
        if let Some(entry) = tree
            .entry(&path)?
            .filter(|entry| entry.mode == Mode::Submodule)
        {
            submodules.push((path, url, entry.id));
        }
    }
    submodules.sort();
    submodules.dedup_by(|a, b| a.0 == b.0);
    Ok(submodules)
}

/// Path and URL of each submodule, from `git config --null`: `submodule.<name>.<field>\n<value>\0`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut names: Vec<&str> = Vec::new();
    let mut fields = std::collections::HashMap::new();
    for entry in text.split('\0') {
        let Some((key, value)) = entry.split_once('\n') else {
            continue;
        };
        let Some((name, field)) = key
            .strip_prefix("submodule.")
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
        }
        fields.insert((name, field), value);
    }
    let of = |name, field| fields.get(&(name, field)).map(|value| (*value).to_owned());
    names
        .into_iter()
        .filter_map(|name| Some((of(name, "path")?, of(name, "url")?)))
        .collect()
}

/// Where a submodule is and as whom it is read, or what is wrong with its URL.
fn remote_of(parent: &Remote, url: &str) -> Result<Remote, String> {
    let relative = url.starts_with("./") || url.starts_with("../");
    let url = if relative {
        resolve(parent.url(), url)
            .ok_or_else(|| format!("'{url}' leads out of '{}'", parent.url()))?
    } else {
        url.to_owned()
    };
    let anonymous = Remote::new(&url, Credentials::none()).map_err(|error| error.to_string())?;
    if anonymous.scheme() == Scheme::File && !(relative && parent.scheme() == Scheme::File) {
        return Err("a submodule can't be a folder of this machine".to_owned());
    }
    let credentials = if anonymous.host() == parent.host() && anonymous.scheme() == parent.scheme()
    {
        parent.credentials().clone()
    } else {
        parent.credentials().for_another_host()
    };
    Remote::new(&url, credentials).map_err(|error| error.to_string())
}

/// A relative URL, from the URL of the repository that holds the submodule, which counts as a folder.
fn resolve(base: &str, relative: &str) -> Option<String> {
    let base = base.trim_end_matches('/');
    // What must stay: scheme and host, or `git@host`.
    let (head, path, separator) = match base.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{scheme}://{host}"), path, '/')
        }
        None if base.starts_with('/') => (String::new(), &base[1..], '/'),
        None => {
            let (host, path) = base.split_once(':')?;
            (host.to_owned(), path, ':')
        }
    };
    let mut components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    for component in relative.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop()?;
            }
            name => components.push(name),
        }
    }
    let path = components.join("/");
    (!path.is_empty()).then(|| format!("{head}{separator}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn relative_urls() {
        for (base, relative, expected) in [
            (
                "https://h/org/repo.git",
                "../lib.git",
                Some("https://h/org/lib.git"),
            ),
            (
                "https://h/org/repo",
                "../../other/lib",
                Some("https://h/other/lib"),
            ),
            (
                "https://h/org/repo",
                "./sub",
                Some("https://h/org/repo/sub"),
            ),
            ("https://h/org/repo", "../../../x", None),
            (
                "git@h:org/repo.git",
                "../lib.git",
                Some("git@h:org/lib.git"),
            ),
            (
                "ssh://git@h:22/org/repo",
                "../lib",
                Some("ssh://git@h:22/org/lib"),
            ),
            ("/srv/git/a", "../b", Some("/srv/git/b")),
            ("https://h/a", "../..", None),
        ] {
            assert_eq!(
                resolve(base, relative).as_deref(),
                expected,
                "{base} {relative}"
            );
        }
    }

    #[test]
    fn credentials_stay_with_their_host() {
        let secret = Credentials::none()
            .with_basic("me", "hunter2")
            .with_ca("pem");
        let parent = Remote::new("https://h/org/repo", secret).unwrap();
        let same = remote_of(&parent, "../lib").unwrap();
        assert_eq!(same.credentials(), parent.credentials());
        for other in [
            "https://evil/lib",
            "https://h:8443/lib",
            "http://h/lib",
            "https://h.evil/x",
        ] {
            let other = remote_of(&parent, other).unwrap();
            assert!(!other.credentials().has_http_user(), "{other:?}");
        }
        let ssh = Credentials::none().with_ssh("key", "hosts");
        let parent = Remote::new("ssh://git@h/org/repo", ssh).unwrap();
        assert_eq!(
            remote_of(&parent, "git@h:other/repo")
                .unwrap()
                .credentials(),
            parent.credentials()
        );
        let other = remote_of(&parent, "git@evil:other/repo").unwrap();
        assert_eq!(other.credentials(), &Credentials::none());
    }

    #[test]
    fn hostile_urls_are_refused() {
        let parent = Remote::new("https://h/org/repo", Credentials::none()).unwrap();
        for url in [
            "file:///etc",
            "/etc",
            "ext::sh -c x",
            "-u./payload",
            "--upload-pack=x",
            "ssh://-oProxyCommand=x/y",
            "../../../x",
            "",
            "fd::3",
        ] {
            assert!(remote_of(&parent, url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_of_a_gitmodules_file_breaks_it(text in "\\PC{0,200}", url in "\\PC{0,80}") {
            let parent = Remote::new("https://h/org/repo", Credentials::none().with_bearer("s")).unwrap();
            let _ = pairs(&text);
            if let Ok(remote) = remote_of(&parent, &url) {
                let local = remote.url().starts_with('/') || remote.url().starts_with("file:");
                prop_assert!(!local);
                prop_assert!(remote.url().starts_with("https://h/") || !remote.credentials().has_http_user() || url.contains('@'));
            }
        }
    }
}
