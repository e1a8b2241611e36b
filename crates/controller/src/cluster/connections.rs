//! Connections to target clusters, one for each kubeconfig that is in use.
//!
//! A connection lives as long as the kubeconfig in its Secret stays the same. The Secret is read again when a watch
//! says that it changed; where that watch is not allowed, when half a minute has passed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fairway_apply::{Connection, ConnectionError, Strictness};
use fairway_types::names;
use fairway_types::reference::SecretKeyReference;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::target::Target;
use crate::home::{Home, HomeId};
use crate::objects::Name;

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
    #[error("KubeConfig secret '{namespace}/{name}' does not contain a '{key}' key with a kubeconfig")]
    NoKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key, or the keys.
        key: String,
    },
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

/// Where a kubeconfig is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    home: HomeId,
    secret: Name,
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
        reference: &SecretKeyReference,
        make: impl FnOnce(Connection) -> Arc<Target>,
    ) -> Result<Arc<Target>, ConnectError> {
        let place = Place {
            home: home.id.clone(),
            secret: (namespace.to_owned(), reference.name.clone()),
            key: reference.key.clone(),
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
        let name = || (namespace.to_owned(), reference.name.clone());
        let api: Api<Secret> = Api::namespaced(home.connection.client(), namespace);
        let secret = match api.get_opt(&reference.name).await {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                if let Some(known) = self.lock().remove(&place) {
                    known.target.stop.cancel();
                }
                let (namespace, name) = name();
                return Err(ConnectError::NoSecret(namespace, name));
            }
            Err(error) => {
                // The hub does not answer: what was true a moment ago will do.
                if let Some(known) = self.lock().get(&place) {
                    return Ok(known.target.clone());
                }
                let (namespace, name) = name();
                return Err(ConnectError::Unreadable {
                    namespace,
                    name,
                    error,
                });
            }
        };
        let data = secret.data.unwrap_or_default();
        let wanted: Vec<&str> = match &reference.key {
            Some(key) => vec![key],
            None => names::KUBECONFIG_KEYS.to_vec(),
        };
        let Some(bytes) = wanted
            .iter()
            .find_map(|key| data.get(*key))
            .map(|bytes| &bytes.0)
        else {
            let (namespace, name) = name();
            return Err(ConnectError::NoKey {
                namespace,
                name,
                key: wanted.join("' or '"),
            });
        };
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if let Some(known) = self.lock().get_mut(&place)
            && known.digest == digest
        {
            known.checked = Some(Instant::now());
            return Ok(known.target.clone());
        }
        let text = String::from_utf8_lossy(bytes);
        let connection = Connection::from_kubeconfig_yaml(&text, None, self.strictness)
            .await
            .map_err(|error| {
                let (namespace, name) = name();
                ConnectError::Invalid {
                    namespace,
                    name,
                    error,
                }
            })?;
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

    /// A Secret has changed: look at it again before the next use.
    pub fn invalidate(&self, home: &HomeId, namespace: &str, name: &str) {
        for (place, known) in self.lock().iter_mut() {
            if place.home == *home && place.secret.0 == namespace && place.secret.1 == name {
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
