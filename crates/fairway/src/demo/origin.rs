//! The demo's repository: a bare one in its folder, served over HTTP on loopback, which people can clone and push to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fairway_git::serve::Server;
use fairway_git::{Change, Credentials, Oid, Remote, Repository, Signature, TreeView, ViewOptions};
use tokio::net::TcpListener;

use super::haste::hasten;
use super::place::Place;
use crate::args::DemoArgs;
use crate::exit::Hinted;
use crate::reference;

/// Where the folder remembers the port of the Git server, so that clones go on working after a restart.
const PORT_FILE: &str = "git-port";
const COPY_TIMEOUT: Duration = Duration::from_mins(10);

/// The repository that the fleet is built from.
pub(crate) struct Origin {
    repository: Repository,
    server: Server,
    name: String,
    branch: String,
    names: BTreeSet<String>,
}

impl Origin {
    /// The reference repository, or a bare copy of `--repo`; what the folder holds already goes on.
    pub(crate) async fn open(place: &Place, args: &DemoArgs) -> anyhow::Result<Self> {
        let name = args
            .repo
            .as_deref()
            .map_or_else(|| "gitops-cluster-config".into(), name_of);
        let directory = place.dir().join(format!("{name}.git"));
        let server = serve(place).await?;
        server.add(&name, &directory);
        let repository = if directory.exists() {
            Repository::open(&directory)?
        } else {
            match &args.repo {
                Some(source) => copy(source, &directory).await?,
                None => Repository::init(&directory, "main").await?,
            }
        };
        let branch = match &args.branch {
            Some(branch) => branch.clone(),
            None => repository
                .default_branch()?
                .unwrap_or_else(|| "main".into()),
        };
        let names = args.repo.as_deref().map(origins).unwrap_or_default();
        let origin = Self {
            repository,
            server,
            name,
            branch,
            names,
        };
        if args.repo.is_none() {
            origin.write_reference().await?;
        } else if origin.head()?.is_none() {
            let branches = origin.repository.refs("refs/heads/").await?;
            let names: Vec<&str> = branches
                .iter()
                .filter_map(|(name, _)| name.strip_prefix("refs/heads/"))
                .collect();
            return Err(Hinted::new(
                format!("the repository has no branch {}", origin.branch),
                format!("name one with --branch; it has: {}", names.join(", ")),
            )
            .into());
        }
        Ok(origin)
    }

    /// The first commit, or one that moves the URL where the port has changed since.
    async fn write_reference(&self) -> anyhow::Result<()> {
        let author = Signature::new(
            "Fairway demo",
            "demo@fairway.dev",
            jiff::Timestamp::now().as_second(),
        );
        let head = self.head()?;
        let (changes, message) = match head {
            None => {
                let files = reference::files(&self.url(), &self.branch);
                (
                    files
                        .into_iter()
                        .map(|(path, bytes)| {
                            let text = hasten(&path, &String::from_utf8_lossy(&bytes));
                            Change::write(path, text)
                        })
                        .collect(),
                    "The reference repository\n",
                )
            }
            Some(head) => (
                self.moved_urls(head)?,
                "Follow the demo's Git server to its new port\n",
            ),
        };
        let changes: Vec<Change> = changes;
        if changes.is_empty() {
            return Ok(());
        }
        let commit = self
            .repository
            .edit(head, &changes, message, &author, &author)?;
        self.repository
            .update_ref(&format!("refs/heads/{}", self.branch), commit, Some(head))
            .await?;
        Ok(())
    }

    /// The files that name the demo's repository at another port.
    fn moved_urls(&self, head: Oid) -> anyhow::Result<Vec<Change>> {
        let view = self.repository.view(head, &ViewOptions::default())?;
        let url = self.url();
        let mut changes = Vec::new();
        for path in view.files("")? {
            let Ok(text) = String::from_utf8(view.read(&path)?.to_vec()) else {
                continue;
            };
            let lines: Vec<String> = text
                .split('\n')
                .map(|line| match line.split_once("url: http://127.0.0.1:") {
                    Some((before, rest)) if rest.ends_with(&format!("/{}.git", self.name)) => {
                        format!("{before}url: {url}")
                    }
                    _ => line.to_owned(),
                })
                .collect();
            let moved = lines.join("\n");
            if moved != text {
                changes.push(Change::write(path, moved));
            }
        }
        Ok(changes)
    }

    /// The bare repository.
    pub(crate) fn directory(&self) -> &Path {
        self.repository.directory()
    }

    /// Where it is served.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Where the repository comes from: `--repo`, and the remotes of that clone.
    pub(crate) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Branch → revision of its head, as Flux writes it.
    pub(crate) async fn heads(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let refs = self.repository.refs("refs/heads/").await?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, id)| {
                let branch = name.strip_prefix("refs/heads/")?;
                Some((branch.to_owned(), format!("{branch}@sha1:{id}")))
            })
            .collect())
    }

    /// The branch that the fleet follows.
    pub(crate) fn branch(&self) -> &str {
        &self.branch
    }

    /// The head of the branch.
    pub(crate) fn head(&self) -> anyhow::Result<Option<Oid>> {
        Ok(self
            .repository
            .resolve(&format!("refs/heads/{}", self.branch))?)
    }

    /// The files at the head of another branch, where there is such a branch.
    pub(crate) fn files_of(&self, branch: &str) -> anyhow::Result<Option<TreeView>> {
        let head = self.repository.resolve(&format!("refs/heads/{branch}"))?;
        let view = head.map(|head| self.repository.view(head, &ViewOptions::default()));
        Ok(view.transpose()?)
    }

    /// The files at the head of the branch.
    pub(crate) fn files(&self) -> anyhow::Result<TreeView> {
        let head = self.head()?.context("the branch has no commit")?;
        Ok(self.repository.view(head, &ViewOptions::default())?)
    }

    /// Calls `callback` after each push.
    pub(crate) fn tell_pushes_to(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.server.on_push(move |_| callback());
    }
}

/// A bare copy; the original is only read.
async fn copy(source: &str, directory: &Path) -> anyhow::Result<Repository> {
    let url = if Path::new(source).exists() {
        PathBuf::from(source).canonicalize()?.display().to_string()
    } else {
        source.to_owned()
    };
    let remote = Remote::new(&url, Credentials::ambient())?;
    // Under another name until it is whole: a start that was interrupted leaves no half repository behind.
    let partial = directory.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    Repository::clone_from(&remote, &partial, COPY_TIMEOUT)
        .await
        .map_err(|error| {
            Hinted::new(
                format!("failed to copy {source}: {error}"),
                "--repo takes the path of a clone or a URL that git can read",
            )
        })?;
    std::fs::rename(&partial, directory)
        .with_context(|| format!("failed to name {}", directory.display()))?;
    Ok(Repository::open(directory)?)
}

/// The URL itself, or the remotes that the clone at that path has.
fn origins(source: &str) -> BTreeSet<String> {
    let path = Path::new(source);
    let mut names = BTreeSet::from([source.to_owned()]);
    for config in [path.join(".git/config"), path.join("config")] {
        let text = std::fs::read_to_string(config).unwrap_or_default();
        names.extend(text.lines().filter_map(|line| {
            let (key, url) = line.split_once('=')?;
            (key.trim() == "url").then(|| url.trim().to_owned())
        }));
    }
    names
}

/// `…/fleet-infra.git` → `fleet-infra`.
fn name_of(source: &str) -> String {
    let last = source
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .next()
        .unwrap_or_default();
    let name: String = last
        .trim_end_matches(".git")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .collect();
    if name.trim_matches('.').is_empty() {
        "repository".into()
    } else {
        name
    }
}

/// Listens on the port of the last time where that is free.
async fn serve(place: &Place) -> anyhow::Result<Server> {
    let file = place.dir().join(PORT_FILE);
    let port = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| text.trim().parse::<u16>().ok())
        .unwrap_or(0);
    let listener = match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .context("failed to listen on loopback")?,
    };
    let server = Server::start(listener)?;
    if place.is_kept() {
        place.write_private(PORT_FILE, &server.address().port().to_string())?;
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_repository_is_called_like_its_url() {
        assert_eq!(
            name_of("https://github.com/a/fleet-infra.git"),
            "fleet-infra"
        );
        assert_eq!(name_of("git@github.com:a/b"), "b");
        assert_eq!(name_of("../x/"), "x");
        assert_eq!(name_of(".."), "repository");
    }
}
