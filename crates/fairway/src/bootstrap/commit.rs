//! The commit that bootstrap makes, where something differs.

use std::fmt::Write as _;
use std::time::Duration;

use fairway_git::{
    Change, Credentials, EntryKind, Error, Mirror, Oid, Push, Reference, Remote, Signature,
    TreeView, ViewOptions,
};

use super::files::{self, COMPONENTS, KUSTOMIZATION, SYNC, Sync};
use crate::exit::Hinted;

const TIMEOUT: Duration = Duration::from_mins(2);
/// How often a lost race is tried again.
const TRIES: usize = 5;

/// A branch that can be committed to.
pub(super) struct Branch {
    mirror: Mirror,
    name: String,
    _directory: tempfile::TempDir,
}

impl Branch {
    /// Opens the repository; nothing is fetched yet.
    pub(super) async fn open(
        url: &str,
        credentials: Credentials,
        name: &str,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("fairway-bootstrap-")
            .tempdir()?;
        let remote = Remote::new(url, credentials)?;
        let mirror = Mirror::open(&directory.path().join("mirror.git"), remote).await?;
        Ok(Self {
            mirror,
            name: name.to_owned(),
            _directory: directory,
        })
    }

    /// Makes the files so, by one commit where they are not; its id, and whether it is new.
    pub(super) async fn write(
        &self,
        sync: &Sync<'_>,
        components: &str,
    ) -> anyhow::Result<(Oid, bool)> {
        for _ in 0..TRIES {
            let head = self.head().await?;
            let changes = self.changes(head, sync, components)?;
            if let (Some(head), true) = (head, changes.is_empty()) {
                println!(
                    "✔ branch {} is up to date, nothing was committed",
                    self.name
                );
                return Ok((head, false));
            }
            let author = Signature::new(
                &sync.args.author_name,
                &sync.args.author_email,
                jiff::Timestamp::now().as_second(),
            );
            let directory = files::directory(&sync.args.path, sync.namespace);
            let mut message = format!(
                "Add Fairway v{} to {directory}\n",
                env!("CARGO_PKG_VERSION")
            );
            if let Some(appendix) = &sync.args.commit_message_appendix {
                let _ = write!(message, "\n{appendix}\n");
            }
            let commit = self
                .mirror
                .repository()
                .edit(head, &changes, &message, &author, &author)?;
            let pushed = self.mirror.push(commit, &self.name, head, TIMEOUT).await;
            match pushed.map_err(Self::explain)? {
                Push::Pushed => {
                    println!("✔ pushed {commit} to {}", self.name);
                    return Ok((commit, true));
                }
                Push::LostRace => {}
                Push::Refused(words) => {
                    return Err(Hinted::new(
                        format!("{} refused the push to {}: {words}", self.url(), self.name),
                        "is the branch protected, and may this credential push to it? Fairway never pushes by force; the cluster was not touched",
                    )
                    .into());
                }
            }
        }
        Err(Hinted::new(
            format!("the branch {} of {} moved each of {TRIES} times that it was to be pushed to", self.name, self.url()),
            "nothing was overwritten, Fairway never pushes by force; run the command again when the branch is quiet",
        )
        .into())
    }

    fn url(&self) -> &str {
        self.mirror.remote().url()
    }

    /// The head of the branch; none where the repository is empty.
    async fn head(&self) -> anyhow::Result<Option<Oid>> {
        match self
            .mirror
            .fetch(&Reference::Branch(self.name.clone()), TIMEOUT)
            .await
        {
            Ok(revision) => Ok(Some(revision.commit())),
            Err(Error::RefMissing { .. }) => Ok(None),
            Err(error) => Err(Self::explain(error)),
        }
    }

    fn changes(
        &self,
        head: Option<Oid>,
        sync: &Sync<'_>,
        components: &str,
    ) -> anyhow::Result<Vec<Change>> {
        let options = ViewOptions {
            everything: true,
            ..ViewOptions::default()
        };
        let view = head
            .map(|head| self.mirror.view(head, &options))
            .transpose()?;
        let directory = files::directory(&sync.args.path, sync.namespace);
        let path = |name: &str| format!("{directory}/{name}");
        let found = |name: &str| view.as_ref().and_then(|view| text_of(view, &path(name)));
        if let Some(text) = found(COMPONENTS)
            && text
                .lines()
                .take(5)
                .any(|line| line.starts_with("# Flux Version"))
        {
            return Err(Hinted::new(
                format!("{} is Flux's own: with Fairway's in its place, Flux's controllers and definitions would be pruned, and all Helm releases with them", path(COMPONENTS)),
                "to take over from Flux leave the repository as it is: `fairway install`, then scale Flux's source-controller and kustomize-controller to 0; or bootstrap at another --path",
            )
            .into());
        }
        let kustomization =
            files::kustomization(found(KUSTOMIZATION).as_deref(), &path(KUSTOMIZATION))?;
        let wanted = [
            (COMPONENTS, components.to_owned()),
            (SYNC, sync.text()),
            (KUSTOMIZATION, kustomization),
        ];
        Ok(wanted
            .into_iter()
            .filter(|(name, text)| found(name).as_deref() != Some(text))
            .map(|(name, text)| Change::write(path(name), text))
            .collect())
    }

    fn explain(error: Error) -> anyhow::Error {
        let hint = match &error {
            Error::AuthFailed { .. } => {
                "is the password, token or key right, and may it write to this repository?"
            }
            Error::RepositoryNotFound { .. } => {
                "create the repository first, or check its URL; a credential without access sees none either"
            }
            Error::TlsFailed { .. } => "name the certificate authority of the host with --ca-file",
            Error::Unreachable { .. } | Error::Timeout { .. } => "is the host reachable from here?",
            _ => return error.into(),
        };
        Hinted::new(
            error.to_string(),
            format!("{hint} The cluster was not touched"),
        )
        .into()
    }
}

fn text_of(view: &TreeView, path: &str) -> Option<String> {
    match view.kind(path) {
        Ok(Some(EntryKind::File)) => {
            let bytes = view.read(path).ok()?;
            String::from_utf8(bytes.to_vec()).ok()
        }
        _ => None,
    }
}
