//! Starting the simulated clusters, preparing them as a person would, and running the reconcilers on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fairway_apiserver::{Config, Server};
use fairway_apply::{Connection, Strictness};
use fairway_controller::{Engine, Options, Profile, Remotes};
use kube::Client;
use serde_json::{Value, json};

use super::MANAGEMENT;
use super::clusters;
use super::discover::{self, Found, Layout};
use super::origin::Origin;
use super::place::Place;
use crate::args::DemoArgs;
use crate::exit::Hinted;
use crate::hub;
use crate::setup::{self, Credentials, Registration};

/// How long a simulated pod takes to become ready.
const ROLLOUT_DELAY: Duration = Duration::from_millis(300);

/// Which clusters to start, and how they are run.
pub(crate) struct Plan {
    layout: Layout,
    /// Whether the repository is the person's own (`--repo`).
    is_foreign: bool,
    registrations: Vec<Registration>,
    /// Kubeconfig Secrets that a hub of the repository expects: cluster → Secret on which cluster.
    remotes: BTreeMap<String, (String, String, String, Option<String>)>,
}

impl Plan {
    /// The nine clusters of the reference architecture, or those that `--repo` describes.
    pub(crate) async fn of(origin: &Origin, args: &DemoArgs) -> anyhow::Result<Self> {
        if args.bare || args.repo.is_none() {
            let registrations = clusters::registrations();
            return Ok(Self {
                layout: Layout::Reference(Vec::new()),
                is_foreign: false,
                registrations,
                remotes: BTreeMap::new(),
            });
        }
        let layout = match &args.clusters {
            Some(file) => Layout::Bootstrapped(discover::clusters_file(file)?),
            None => {
                let tree = fairway_controller::build::tree::CommitTree(origin.files()?);
                discover::discover(&tree).map_err(|error| {
                    Hinted::new(
                        error.to_string(),
                        format!(
                            "name the clusters with --clusters FILE:\n{}",
                            discover::EXAMPLE
                        ),
                    )
                })?
            }
        };
        let found = match &layout {
            Layout::Reference(found) | Layout::Bootstrapped(found) => found,
        };
        let mut registrations: Vec<Registration> = found.iter().map(registration).collect();
        let mut remotes = BTreeMap::new();
        for hub in found {
            for (namespace, secret, key) in &hub.remotes {
                let name = remote_name(secret);
                remotes.insert(
                    name.clone(),
                    (
                        hub.name.clone(),
                        namespace.clone(),
                        secret.clone(),
                        key.clone(),
                    ),
                );
                if !registrations
                    .iter()
                    .any(|registration| registration.name == name)
                {
                    registrations.push(Registration {
                        name,
                        namespace: fairway_types::names::SYSTEM_NAMESPACE.into(),
                        labels: BTreeMap::new(),
                    });
                }
            }
        }
        Ok(Self {
            layout,
            is_foreign: true,
            registrations,
            remotes,
        })
    }

    /// The revision that everything is to reach.
    pub(crate) fn goal(&self, origin: &Origin) -> anyhow::Result<String> {
        let head = origin.head()?.context("the branch has no commit")?;
        Ok(format!("{}@sha1:{head}", origin.branch()))
    }

    fn names(&self) -> Vec<String> {
        std::iter::once(MANAGEMENT.to_owned())
            .chain(self.registrations.iter().map(|one| one.name.clone()))
            .collect()
    }

    fn sync_path(&self, name: &str) -> Option<&str> {
        match &self.layout {
            Layout::Bootstrapped(found) => found
                .iter()
                .find(|found| found.name == name)
                .map(|found| found.path.as_str()),
            Layout::Reference(_) => None,
        }
    }
}

fn registration(found: &Found) -> Registration {
    Registration {
        name: found.name.clone(),
        namespace: fairway_types::names::SYSTEM_NAMESPACE.into(),
        labels: found.labels.clone(),
    }
}

/// `stage-kubeconfig` → `stage`.
fn remote_name(secret: &str) -> String {
    let name = secret.trim_end_matches("-kubeconfig").replace('.', "-");
    if name == MANAGEMENT {
        "management-remote".into()
    } else {
        name
    }
}

/// The running clusters.
pub(crate) struct Fleet {
    server: Server,
    kubeconfig: PathBuf,
    hub: Client,
    engine: Option<Engine>,
}

impl Fleet {
    /// Starts the clusters and writes the kubeconfig.
    pub(crate) async fn start(place: &Place, plan: &Plan) -> anyhow::Result<Self> {
        let config = Config {
            clusters: plan.names(),
            data_dir: place.is_kept().then(|| place.dir().join("clusters")),
            rollout_delay: ROLLOUT_DELAY,
            schemaless_unknown: plan.is_foreign,
            ..Config::default()
        };
        let server = Server::start(config).await?;
        let kubeconfig = place.write_private("kubeconfig", &server.kubeconfig())?;
        let hub = hub::client_for(Some(&kubeconfig), Some(MANAGEMENT)).await?;
        Ok(Self {
            server,
            kubeconfig,
            hub,
            engine: None,
        })
    }

    /// Installs the hub and registers each cluster, as `fairway install` and `fairway create cluster` do; applies `flux-manifests/`.
    pub(crate) async fn prepare(&self, plan: &Plan, origin: &Origin) -> anyhow::Result<()> {
        setup::install(&self.hub)
            .await
            .context("failed to install on the management cluster")?;
        let work = plan
            .registrations
            .iter()
            .map(|registration| self.register(registration, plan, origin));
        futures::future::try_join_all(work).await?;
        if let Layout::Reference(_) = plan.layout {
            let view = origin.files()?;
            for path in view.files("flux-manifests")? {
                let bytes = view.read(&path)?;
                let objects = setup::documents(&String::from_utf8_lossy(&bytes))
                    .with_context(|| path.clone())?;
                setup::apply(&self.hub, &objects)
                    .await
                    .with_context(|| path.clone())?;
            }
        }
        Ok(())
    }

    async fn register(
        &self,
        registration: &Registration,
        plan: &Plan,
        origin: &Origin,
    ) -> anyhow::Result<()> {
        let name = &registration.name;
        let kubeconfig = hub::parse(&self.server.kubeconfig_for(name)?)?;
        let client = hub::client_for(Some(&self.kubeconfig), Some(name)).await?;
        let stored = setup::prepare(
            Some(&client),
            &kubeconfig,
            None,
            Credentials::ServiceAccount,
        )
        .await
        .with_context(|| format!("failed to register {name}"))?;
        let mut cluster = setup::cluster_object(registration);
        if let Some(path) = plan.sync_path(name) {
            cluster["spec"]["sync"] = json!({
                "sourceRef": {"kind": "GitRepository", "name": fairway_types::names::SYSTEM_NAMESPACE},
                "path": format!("./{path}"),
            });
            setup::apply(&self.hub, &[source(origin)]).await?;
        }
        setup::apply(
            &self.hub,
            &[setup::kubeconfig_secret(registration, &stored), cluster],
        )
        .await?;
        if let Some((hub, namespace, secret, key)) = plan.remotes.get(name) {
            let client = hub::client_for(Some(&self.kubeconfig), Some(hub)).await?;
            let namespace_object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            let object = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret, "namespace": namespace},
                "stringData": {key.as_deref().unwrap_or("value"): stored},
            });
            setup::apply(&client, &[namespace_object, object]).await?;
        }
        Ok(())
    }

    /// Runs the reconcilers on the hub, with the account that `fairway install` made for them.
    pub(crate) async fn start_engine(
        &mut self,
        place: &Place,
        origin: &Origin,
        plan: &Plan,
    ) -> anyhow::Result<()> {
        let profile = if matches!(plan.layout, Layout::Bootstrapped(_)) {
            Profile::Flux
        } else {
            Profile::Locked
        };
        let mut options = Options::new(place.dir().join("mirrors"), profile);
        if plan.is_foreign {
            options.remotes = Remotes::Only(repository_urls(origin)?);
        }
        let connection = Connection::from_kubeconfig_yaml(
            &self.server.kubeconfig_for(MANAGEMENT)?,
            None,
            Strictness::default(),
        )
        .await?;
        self.engine = Some(Engine::start(connection, options).await?);
        Ok(())
    }

    /// What to call when something was pushed.
    pub(crate) fn poker(&self) -> impl Fn() + Send + Sync + 'static {
        let handle = self.engine.as_ref().map(Engine::handle);
        move || {
            if let Some(handle) = &handle {
                handle.poke_all();
            }
        }
    }

    /// Client of the management cluster.
    pub(crate) fn hub(&self) -> &Client {
        &self.hub
    }

    /// Path of the kubeconfig with all contexts.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// How many clusters there are.
    pub(crate) fn size(&self) -> usize {
        self.server.names().len()
    }

    /// The contexts, the management cluster first.
    pub(crate) fn contexts(&self) -> Vec<String> {
        let mut names = self.server.names();
        names.sort_by_key(|name| (name != MANAGEMENT, name.clone()));
        names
    }

    /// API requests to all clusters so far.
    pub(crate) fn requests(&self) -> u64 {
        let names = self.server.names();
        names
            .iter()
            .filter_map(|name| self.server.request_counts(name).ok())
            .flat_map(BTreeMap::into_values)
            .sum()
    }

    /// Stops the reconcilers, then the clusters, so that everything is on the disk.
    pub(crate) async fn stop(self) {
        if let Some(engine) = self.engine {
            engine.shutdown().await;
        }
        if let Err(error) = self.server.shutdown().await {
            eprintln!("failed to stop the simulated clusters: {error}");
        }
    }
}

/// The GitRepository on the hub that the synced clusters are bootstrapped from.
fn source(origin: &Origin) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": fairway_types::names::SYSTEM_NAMESPACE, "namespace": fairway_types::names::SYSTEM_NAMESPACE},
        "spec": {"interval": "1m0s", "url": origin.url(), "ref": {"branch": origin.branch()}},
    })
}

/// Every URL by which the repository's own GitRepository objects name it → where the local copy is served.
fn repository_urls(origin: &Origin) -> anyhow::Result<BTreeMap<String, String>> {
    let url = origin.url();
    let mut urls = BTreeMap::from([(url.clone(), url.clone())]);
    let tree = fairway_controller::build::tree::CommitTree(origin.files()?);
    for own in discover::own_urls(&tree) {
        urls.insert(own, url.clone());
    }
    Ok(urls)
}
