//! From kinds to resources: what the cluster serves, learnt by discovery and kept until something is missing.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use fairway_types::inventory::split_api_version;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{api::Session, connection::Connection, error::RequestError, transport::encode};

/// How one kind is addressed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Name in paths.
    pub plural: String,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Path of an object, or of the collection. An empty namespace means all, or none where there are none.
    pub fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}/", self.version)
        } else {
            format!("/apis/{}/{}/", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            path.push_str("namespaces/");
            encode(namespace, &mut path);
            path.push('/');
        }
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            encode(name, &mut path);
        }
        path
    }
}

/// Accepts the whole of discovery in one answer; older servers ignore the parameters and list groups.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                          application/json";
/// A kind that is missing is looked for again at most this often.
const LEAST_AGE: Duration = Duration::from_secs(2);

/// Maps kinds to resources. Share one for each cluster.
#[derive(Debug)]
pub struct Mapper {
    session: SessionOf,
    known: RwLock<Arc<Known>>,
    refreshing: Mutex<()>,
}

/// Discovery is the same whoever asks; it is done with the connection's own credentials.
#[derive(Debug)]
struct SessionOf(Connection);

impl SessionOf {
    fn get(&self) -> Session {
        self.0.session()
    }
}

#[derive(Debug, Default)]
struct Known {
    /// By group and kind: the served versions, the preferred one first.
    kinds: HashMap<(String, String), Vec<Resource>>,
    /// By kind: groups that have it, in discovery order.
    groups: HashMap<String, Vec<String>>,
    learnt: Option<Instant>,
}

impl Known {
    fn find(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        // Borrowed pairs cannot be looked up without owning them; kinds are few and short.
        let served = self.kinds.get(&(group.to_owned(), kind.to_owned()))?;
        served.iter().find(|resource| resource.version == version)
    }

    fn preferred(&self, group: &str, kind: &str) -> Option<&Resource> {
        self.kinds
            .get(&(group.to_owned(), kind.to_owned()))?
            .first()
    }

    fn add(&mut self, resource: Resource) {
        let groups = self.groups.entry(resource.kind.clone()).or_default();
        if !groups.contains(&resource.group) {
            groups.push(resource.group.clone());
        }
        self.kinds
            .entry((resource.group.clone(), resource.kind.clone()))
            .or_default()
            .push(resource);
    }
}

impl Mapper {
    /// A mapper that knows nothing yet.
    pub fn new(connection: &Connection) -> Self {
        Self {
            session: SessionOf(connection.clone()),
            known: RwLock::default(),
            refreshing: Mutex::default(),
        }
    }

    fn known(&self) -> Arc<Known> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The resource of exactly this version and kind.
    pub async fn resource(&self, api_version: &str, kind: &str) -> Result<Resource, RequestError> {
        let (group, version) = split_api_version(api_version);
        self.lookup(|known| known.find(group, version, kind).cloned())
            .await?
            .ok_or_else(|| RequestError::UnknownKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            })
    }

    /// The resource of a kind at this version where it is still served, else at the preferred one.
    pub async fn served(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Resource, RequestError> {
        let find = |known: &Known| {
            known
                .find(group, version, kind)
                .or_else(|| known.preferred(group, kind))
                .cloned()
        };
        self.lookup(find)
            .await?
            .ok_or_else(|| RequestError::UnknownKind {
                api_version: if group.is_empty() {
                    version.to_owned()
                } else {
                    format!("{group}/{version}")
                },
                kind: kind.to_owned(),
            })
    }

    /// The resource of a kind in whatever group has it, at its preferred version.
    pub async fn of_kind(&self, kind: &str) -> Result<Resource, RequestError> {
        let find = |known: &Known| {
            let group = known.groups.get(kind)?.first()?;
            known.preferred(group, kind).cloned()
        };
        self.lookup(find)
            .await?
            .ok_or_else(|| RequestError::UnknownKind {
                api_version: String::new(),
                kind: kind.to_owned(),
            })
    }

    /// Forgets how old the knowledge is, so that the next miss asks the cluster at once: CRDs were applied.
    pub fn expire(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.learnt.is_some() {
            let old = Known {
                learnt: None,
                kinds: known.kinds.clone(),
                groups: known.groups.clone(),
            };
            *known = Arc::new(old);
        }
    }

    async fn lookup<T>(
        &self,
        find: impl Fn(&Known) -> Option<T>,
    ) -> Result<Option<T>, RequestError> {
        let known = self.known();
        if let Some(found) = find(&known) {
            return Ok(Some(found));
        }
        if known.learnt.is_some_and(|at| at.elapsed() < LEAST_AGE) {
            return Ok(None);
        }
        let asked = Instant::now();
        let _guard = self.refreshing.lock().await;
        // Somebody else may have asked while this one waited.
        let known = self.known();
        if known.learnt.is_none_or(|at| at < asked) {
            let fresh = Arc::new(discover(&self.session.get()).await?);
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(find(&self.known()))
    }
}

async fn discover(session: &Session) -> Result<Known, RequestError> {
    let (core, groups) = futures::future::try_join(
        session.get_path_as("/api", AGGREGATED),
        session.get_path_as("/apis", AGGREGATED),
    )
    .await?;
    let mut known = Known {
        learnt: Some(Instant::now()),
        ..Default::default()
    };
    for answer in [core, groups] {
        if answer.get("kind").and_then(Value::as_str) == Some("APIGroupDiscoveryList") {
            aggregated(&answer, &mut known);
        } else {
            legacy(session, &answer, &mut known).await?;
        }
    }
    Ok(known)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn aggregated(answer: &Value, known: &mut Known) {
    for group in list(answer, "items") {
        let name = text(group, "/metadata/name");
        for version in list(group, "versions") {
            for resource in list(version, "resources") {
                let kind = text(resource, "/responseKind/kind");
                let plural = text(resource, "/resource");
                if kind.is_empty() || plural.is_empty() {
                    continue;
                }
                known.add(Resource {
                    group: name.to_owned(),
                    version: text(version, "/version").to_owned(),
                    kind: kind.to_owned(),
                    plural: plural.to_owned(),
                    namespaced: text(resource, "/scope") == "Namespaced",
                });
            }
        }
    }
}

/// Discovery of servers before 1.27: one request for each version of each group.
async fn legacy(session: &Session, answer: &Value, known: &mut Known) -> Result<(), RequestError> {
    let mut versions: Vec<String> = list(answer, "versions")
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    for group in list(answer, "groups") {
        let preferred = text(group, "/preferredVersion/groupVersion");
        if !preferred.is_empty() {
            versions.push(preferred.to_owned());
        }
        let others = list(group, "versions").map(|version| text(version, "/groupVersion"));
        versions.extend(
            others
                .filter(|version| *version != preferred)
                .map(str::to_owned),
        );
    }
    for api_version in versions {
        let (group, version) = split_api_version(&api_version);
        let path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let resources = match session.get_path(&path).await {
            Ok(resources) => resources,
            // An aggregated API whose server is down must not hide the others.
            Err(error) if error.code() >= 500 || error.is_not_found() => {
                tracing::debug!(%api_version, %error, "discovery of one API version failed");
                continue;
            }
            Err(error) => return Err(error),
        };
        for resource in list(&resources, "resources") {
            let plural = text(resource, "/name");
            if plural.contains('/') {
                continue;
            }
            known.add(Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(resource, "/kind").to_owned(),
                plural: plural.to_owned(),
                namespaced: resource
                    .get("namespaced")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            });
        }
    }
    Ok(())
}
