//! Connections to target clusters, one for each kubeconfig that is in use.
//!
//! A connection lives as long as the kubeconfig in its Secret (or what its ConfigMap says) stays the same. That is read
//! again when a watch says that it changed; where that watch is not allowed, when half a minute has passed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fairway_apply::{Connection, ConnectionError, Strictness};
use fairway_types::names;
use fairway_types::reference::KubeConfigReference;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::target::Target;
use super::workload;
use crate::home::{Home, HomeId};
use crate::objects::Name;
use crate::options::Options;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The Secret is not there.
    #[error("unable to read KubeConfig secret '{0}/{1}' error: secrets \"{1}\" not found")]
    NoSecret(String, String),
    /// The Secret could not be read.
    #[error("unable to read KubeConfig secret '{namespace}/{name}' error: {error}")]
    Unreadable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server said.
        error: kube::Error,
    },
    /// The Secret has no such key.
    #[error(
        "KubeConfig secret '{namespace}/{name}' does not contain a '{key}' key with a kubeconfig"
    )]
    NoKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key, or the keys.
        key: String,
    },
    /// There is neither a Secret nor a ConfigMap.
    #[error(
        "invalid .spec.kubeConfig, neither .spec.kubeConfig.configMapRef nor .spec.kubeConfig.secretRef is set"
    )]
    Nothing,
    /// The ConfigMap does not lead to a cluster.
    #[error(transparent)]
    Workload(#[from] workload::Error),
    /// The kubeconfig cannot be used.
    #[error("KubeConfig secret '{namespace}/{name}': {error}")]
    Invalid {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        error: ConnectionError,
    },
}

/// What a Secret or ConfigMap leads to.
enum Read {
    /// To where it has led before.
    Same(Arc<Target>),
    /// To a new connection.
    New([u8; 32], Connection),
}

impl ConnectError {
    /// Whether what the reference names is not there.
    fn is_absent(&self) -> bool {
        match self {
            Self::NoSecret(..) => true,
            Self::Workload(error) => error.is_absent(),
            _ => false,
        }
    }

    /// Whether nobody could tell.
    fn is_unreadable(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::Workload(error) => error.is_unreadable(),
            _ => false,
        }
    }

    /// Whether trying again is no use before somebody changes something.
    pub(crate) fn is_misconfigured(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Workload(error) => error.is_misconfigured(),
            _ => false,
        }
    }
}

/// Where a kubeconfig is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    home: HomeId,
    kind: &'static str,
    name: Name,
    key: Option<String>,
}

#[derive(Debug)]
struct Known {
    digest: [u8; 32],
    target: Arc<Target>,
    checked: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct Connections {
    known: Mutex<HashMap<Place, Known>>,
    strictness: Strictness,
    watched: std::sync::atomic::AtomicBool,
}

/// How long a kubeconfig is believed without a watch.
const BELIEVED: Duration = Duration::from_secs(30);

impl Connections {
    /// No connections yet.
    pub fn new(strictness: Strictness) -> Self {
        Self {
            known: Mutex::default(),
            strictness,
            watched: false.into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Says whether a watch tells about changes.
    pub fn set_watched(&self, watched: bool) {
        self.watched
            .store(watched, std::sync::atomic::Ordering::Relaxed);
    }

    /// The target that a kubeconfig leads to. `make` wraps a new connection.
    pub async fn resolve(
        &self,
        home: &Home,
        namespace: &str,
        reference: &KubeConfigReference,
        options: &Options,
        make: impl FnOnce(Connection) -> Arc<Target>,
    ) -> Result<Arc<Target>, ConnectError> {
        let place = match (&reference.secret_ref, &reference.config_map_ref) {
            (Some(secret), _) => Place {
                home: home.id.clone(),
                kind: "Secret",
                name: (namespace.to_owned(), secret.name.clone()),
                key: secret.key.clone(),
            },
            (None, Some(map)) => Place {
                home: home.id.clone(),
                kind: "ConfigMap",
                name: (namespace.to_owned(), map.name.clone()),
                key: None,
            },
            (None, None) => return Err(ConnectError::Nothing),
        };
        let watched =
            self.watched.load(std::sync::atomic::Ordering::Relaxed) && home.id == HomeId::Hub;
        if let Some(known) = self.lock().get(&place)
            && known
                .checked
                .is_some_and(|at| watched || at.elapsed() < BELIEVED)
        {
            return Ok(known.target.clone());
        }
        let read = if place.kind == "Secret" {
            self.read_secret(home, &place).await
        } else {
            self.read_config_map(home, &place, options).await
        };
        let (digest, connection) = match read {
            Ok(Read::Same(target)) => return Ok(target),
            Ok(Read::New(digest, connection)) => (digest, connection),
            Err(error) => {
                if error.is_absent() {
                    if let Some(known) = self.lock().remove(&place) {
                        known.target.stop.cancel();
                    }
                } else if error.is_unreadable()
                    && let Some(known) = self.lock().get(&place)
                {
                    // The hub does not answer: what was true a moment ago will do.
                    return Ok(known.target.clone());
                }
                return Err(error);
            }
        };
        let mut known = self.lock();
        if let Some(other) = known.get_mut(&place)
            && other.digest == digest
        {
            // Somebody else was faster.
            return Ok(other.target.clone());
        }
        let target = make(connection);
        let old = known.insert(
            place,
            Known {
                digest,
                target: target.clone(),
                checked: Some(Instant::now()),
            },
        );
        drop(known);
        if let Some(old) = old {
            old.target.stop.cancel();
        }
        Ok(target)
    }

    /// The connection that is known already, if the same text leads to it.
    fn same(&self, place: &Place, digest: [u8; 32]) -> Option<Arc<Target>> {
        let mut all = self.lock();
        let known = all.get_mut(place)?;
        if known.digest != digest {
            return None;
        }
        known.checked = Some(Instant::now());
        Some(known.target.clone())
    }

    async fn read_secret(&self, home: &Home, place: &Place) -> Result<Read, ConnectError> {
        let (namespace, name) = place.name.clone();
        let api: Api<Secret> = Api::namespaced(home.connection.client(), &namespace);
        let secret = match api.get_opt(&name).await {
            Ok(Some(secret)) => secret,
            Ok(None) => return Err(ConnectError::NoSecret(namespace, name)),
            Err(error) => {
                return Err(ConnectError::Unreadable {
                    namespace,
                    name,
                    error,
                });
            }
        };
        let data = secret.data.unwrap_or_default();
        let wanted: Vec<&str> = match &place.key {
            Some(key) => vec![key],
            None => names::KUBECONFIG_KEYS.to_vec(),
        };
        let Some(bytes) = wanted
            .iter()
            .find_map(|key| data.get(*key))
            .map(|bytes| &bytes.0)
        else {
            return Err(ConnectError::NoKey {
                namespace,
                name,
                key: wanted.join("' or '"),
            });
        };
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if let Some(target) = self.same(place, digest) {
            return Ok(Read::Same(target));
        }
        let text = String::from_utf8_lossy(bytes);
        let connection = Connection::from_kubeconfig_yaml(&text, None, self.strictness)
            .await
            .map_err(|error| ConnectError::Invalid {
                namespace,
                name,
                error,
            })?;
        Ok(Read::New(digest, connection))
    }

    async fn read_config_map(
        &self,
        home: &Home,
        place: &Place,
        options: &Options,
    ) -> Result<Read, ConnectError> {
        let (namespace, name) = &place.name;
        let cluster = workload::read(home, namespace, name, options).await?;
        let digest = cluster.digest();
        if let Some(target) = self.same(place, digest) {
            return Ok(Read::Same(target));
        }
        let connection = cluster.connect(home, self.strictness).await?;
        Ok(Read::New(digest, connection))
    }

    /// A Secret or ConfigMap has changed: look at it again before the next use.
    pub fn invalidate(&self, home: &HomeId, kind: &str, namespace: &str, name: &str) {
        for (place, known) in self.lock().iter_mut() {
            if place.home == *home
                && place.kind == kind
                && place.name.0 == namespace
                && place.name.1 == name
            {
                known.checked = None;
            }
        }
    }

    /// All targets.
    pub fn all(&self) -> Vec<Arc<Target>> {
        self.lock()
            .values()
            .map(|known| known.target.clone())
            .collect()
    }
}
