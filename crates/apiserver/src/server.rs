//! A fleet of simulated clusters in one process.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::admission::Policies;
use crate::auth::TokenIssuer;
use crate::authz::{self, Rbac};
use crate::cluster::{Cluster, RequestCounts};
use crate::faults::Faults;
use crate::http::Control;
use crate::kubeconfig::{Access, render};
use crate::resources::{Registry, builtin};
use crate::store::{GroupResource, LogError, Store};
use crate::tls::{Authority, TlsError};
use crate::writer::{Writer, random};
use crate::{controllers, crd, http};

/// The cluster whose administrator may steer the simulator.
pub const MANAGEMENT: &str = "management";

/// Written data reaches the disk at the latest after this time.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names of the clusters; also their contexts. The one named `management` steers the simulator.
    pub clusters: Vec<String>,
    /// Where everything is kept for the next start; `None` keeps it in memory only.
    pub data_dir: Option<PathBuf>,
    /// How long a simulated Pod takes to become ready.
    pub rollout_delay: Duration,
    /// The version that `/version` tells, for example `v1.37.0`.
    pub version: String,
    /// Accept objects of kinds that nobody defined, without a schema.
    pub schemaless_unknown: bool,
    /// Run the simulated controllers: garbage collection, namespaces, accounts, workloads, Nodes. Without them the
    /// server answers as a kube-apiserver that has no controller manager.
    pub controllers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clusters: Vec::new(),
            data_dir: None,
            rollout_delay: Duration::from_millis(300),
            version: "v1.37.0".into(),
            schemaless_unknown: false,
            controllers: true,
        }
    }
}

/// Why a server or a cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kept objects cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No port.
    #[error("listen on the loopback interface: {0}")]
    Listen(#[source] std::io::Error),
    /// A kept file cannot be read or written.
    #[error("use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process runs on the same data directory.
    #[error("{0} is in use by another process; hint: stop it, or choose another folder")]
    InUse(PathBuf),
    /// A name that cannot be a file name and a context.
    #[error("{0:?} is no name for a cluster: use lower-case letters, digits, '-' and '.'")]
    Name(String),
    /// The name is taken.
    #[error("there is a cluster {0:?} already")]
    Exists(String),
    /// There is no such cluster.
    #[error("there is no cluster {0:?}")]
    Unknown(String),
}

/// What a cluster needs to come back as itself.
#[derive(Serialize, Deserialize)]
struct Identity {
    port: u16,
    admin_token: String,
    token_key: String,
}

struct Running {
    cluster: Arc<Cluster>,
    address: SocketAddr,
    /// They end when this is dropped.
    tasks: JoinSet<()>,
}

/// Running clusters. Everything ends when it is dropped.
pub struct Server {
    config: Config,
    authority: Authority,
    tls: Arc<ServerConfig>,
    control: Control,
    /// Held as long as the data directory is ours.
    _lock: Option<fs::File>,
    running: Mutex<BTreeMap<String, Running>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("clusters", &self.names())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts the clusters of a configuration, each with a listener of its own on the loopback interface.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let lock = config.data_dir.as_deref().map(lock).transpose()?;
        let authority = match &config.data_dir {
            Some(folder) => Authority::keep_in(folder)?,
            None => Authority::generate()?,
        };
        let tls = authority.server_config()?;
        let server = Self {
            authority,
            tls,
            control: Control::default(),
            _lock: lock,
            running: Mutex::default(),
            config,
        };
        for name in server.config.clusters.clone() {
            server.add_cluster(&name).await?;
        }
        Ok(server)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one more cluster. With a data directory, one of that name comes back as it was.
    pub async fn add_cluster(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        if self.running().contains_key(name) {
            return Err(Error::Exists(name.to_owned()));
        }
        let folder = self.config.data_dir.as_ref().map(|dir| dir.join(name));
        let (mut identity, store) = match &folder {
            Some(folder) => (
                read_identity(&folder.join("identity.json"))?,
                Store::open(&folder.join("objects.log"))?,
            ),
            None => (new_identity(), Store::in_memory()),
        };
        let listener = bind(identity.port).await.map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        identity.port = address.port();
        if let Some(folder) = &folder {
            let path = folder.join("identity.json");
            let text = json!(identity).to_string();
            write_private(&path, &text).map_err(|source| Error::Io { path, source })?;
        }
        let registry = Arc::new(Registry::new(builtin().iter().cloned()));
        crd::load(&registry, &store);
        let mut writer = Writer::new(store.clone(), registry.clone());
        if !self.config.controllers {
            writer = writer.without_accounts();
        }
        furnish(&writer);
        let tokens = TokenIssuer::new(identity.token_key.as_bytes());
        let cluster = Arc::new(Cluster {
            name: name.to_owned(),
            authorizer: Rbac::new(writer.clone()),
            policies: Policies::new(store.clone()),
            store,
            registry,
            writer: writer.clone(),
            tokens: tokens.clone(),
            admin_token: identity.admin_token,
            faults: Faults::default(),
            counts: Mutex::default(),
            sequence: AtomicU64::new(0),
            schemaless_unknown: self.config.schemaless_unknown,
            version: self.config.version.clone(),
            control: (name == MANAGEMENT).then(|| self.control.clone()),
        });
        let mut tasks = if self.config.controllers {
            controllers::start(&controllers::Context {
                cluster: name.to_owned(),
                writer: writer.clone(),
                tokens,
                authority: self.authority.certificate_pem.clone(),
                rollout_delay: self.config.rollout_delay,
            })
        } else {
            JoinSet::new()
        };
        tasks.spawn(crd::run(writer));
        tasks.spawn(http::serve(
            cluster.clone(),
            listener,
            address,
            self.tls.clone(),
        ));
        if folder.is_some() {
            tasks.spawn(sync(cluster.store.clone()));
        }
        self.control.add(&cluster);
        self.running().insert(
            name.to_owned(),
            Running {
                cluster,
                address,
                tasks,
            },
        );
        Ok(())
    }

    /// Stops a cluster. What it kept in the data directory stays there.
    pub fn remove_cluster(&self, name: &str) -> Result<(), Error> {
        self.control.remove(name);
        self.running()
            .remove(name)
            .map(|_| ())
            .ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    fn cluster(&self, name: &str) -> Result<Arc<Cluster>, Error> {
        self.running()
            .get(name)
            .map(|running| running.cluster.clone())
            .ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// Names of the running clusters, sorted.
    pub fn names(&self) -> Vec<String> {
        self.running().keys().cloned().collect()
    }

    /// `https://127.0.0.1:PORT` of a cluster.
    pub fn url(&self, name: &str) -> Result<String, Error> {
        self.running()
            .get(name)
            .map(|running| format!("https://{}", running.address))
            .ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    fn access(&self) -> Vec<Access> {
        self.running()
            .iter()
            .map(|(name, running)| Access {
                name: name.clone(),
                url: format!("https://{}", running.address),
                token: running.cluster.admin_token.clone(),
            })
            .collect()
    }

    /// A kubeconfig (YAML) with a context for every cluster, each with an administrator's token. The current
    /// context is `management`, or the first one.
    pub fn kubeconfig(&self) -> String {
        render(&self.access(), &self.authority.certificate_pem, MANAGEMENT)
    }

    /// A kubeconfig for one cluster.
    pub fn kubeconfig_for(&self, name: &str) -> Result<String, Error> {
        let access: Vec<Access> = self
            .access()
            .into_iter()
            .filter(|access| access.name == name)
            .collect();
        if access.is_empty() {
            return Err(Error::Unknown(name.to_owned()));
        }
        Ok(render(&access, &self.authority.certificate_pem, name))
    }

    /// Certificate of the authority that signed the listeners' certificates, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority.certificate_pem
    }

    /// Steers the faults of a cluster.
    pub fn faults(&self, name: &str) -> Result<Faults, Error> {
        self.cluster(name).map(|cluster| cluster.faults.clone())
    }

    /// The objects of a cluster, for tests that look behind the API.
    pub fn store(&self, name: &str) -> Result<Store, Error> {
        self.cluster(name).map(|cluster| cluster.store.clone())
    }

    /// Requests so far by verb and resource.
    pub fn request_counts(&self, name: &str) -> Result<RequestCounts, Error> {
        self.cluster(name).map(|cluster| cluster.counts())
    }

    /// Stops all clusters and waits until what they wrote is on the disk.
    pub async fn shutdown(self) -> Result<(), Error> {
        let stopped = std::mem::take(&mut *self.running());
        for running in stopped.into_values() {
            let Running {
                cluster, mut tasks, ..
            } = running;
            tasks.shutdown().await;
            cluster.store.sync()?;
        }
        Ok(())
    }
}

async fn sync(store: Store) {
    let mut synced = 0;
    loop {
        tokio::time::sleep(SYNC_EVERY).await;
        let revision = store.revision();
        if revision == synced {
            continue;
        }
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.sync()).await {
            Ok(Ok(())) => synced = revision,
            Ok(Err(error)) => tracing::error!(%error, "sync the log"),
            Err(_) => return,
        }
    }
}

/// Takes a data directory for this process.
fn lock(folder: &Path) -> Result<fs::File, Error> {
    let path = folder.join("lock");
    let io = |source| Error::Io {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(folder).map_err(io)?;
    let file = fs::File::create(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse(folder.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Puts what every cluster has into a new one; an old one has it.
fn furnish(writer: &Writer) {
    let create = |id: GroupResource, object: Value| match writer.create(&id, object) {
        Ok(_) => {}
        Err(error) if error.reason == "AlreadyExists" => {}
        Err(error) => tracing::error!(%error, "furnish a cluster"),
    };
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        create(
            GroupResource::core("namespaces"),
            json!({"metadata": {"name": name}}),
        );
    }
    create(
        GroupResource::core("services"),
        json!({
            "metadata": {
                "name": "kubernetes",
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": "10.96.0.1",
                "ports": [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}],
            },
        }),
    );
    authz::bootstrap(writer);
}

fn check_name(name: &str) -> Result<(), Error> {
    let fits = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'));
    if !fits || name.is_empty() || name.starts_with('.') || name.len() > 100 {
        return Err(Error::Name(name.to_owned()));
    }
    Ok(())
}

/// The port that the cluster had before where it is free, else any.
async fn bind(port: u16) -> std::io::Result<TcpListener> {
    if port != 0
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

fn new_identity() -> Identity {
    let secret = || URL_SAFE_NO_PAD.encode(random::<24>());
    Identity {
        port: 0,
        admin_token: secret(),
        token_key: secret(),
    }
}

fn read_identity(path: &Path) -> Result<Identity, Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    match fs::read(path) {
        // A damaged file costs the old port and tokens, not the objects.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| new_identity())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(io)?;
            }
            Ok(new_identity())
        }
        Err(error) => Err(io(error)),
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
