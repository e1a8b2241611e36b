//! `/simulator/clusters/NAME/…` on the management cluster: how a running demo is steered.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Reply;
use super::body;
use crate::auth::{MASTERS, User};
use crate::cluster::Cluster;
use crate::faults::FaultSpec;
use crate::resources::schemaless;
use crate::status::ApiError;

/// All clusters of a server by name.
#[derive(Clone, Default)]
pub(crate) struct Control {
    clusters: Arc<RwLock<BTreeMap<String, Weak<Cluster>>>>,
}

impl Control {
    pub(crate) fn add(&self, cluster: &Arc<Cluster>) {
        self.clusters
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(cluster.name.clone(), Arc::downgrade(cluster));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.clusters
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    fn find(&self, name: &str) -> Option<Arc<Cluster>> {
        self.clusters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)?
            .upgrade()
    }

    fn names(&self) -> Vec<String> {
        self.clusters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }
}

/// A kind to be accepted without a schema.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    #[serde(default)]
    group: String,
    version: String,
    kind: String,
    plural: String,
    #[serde(default)]
    namespaced: bool,
}

pub(super) fn serve(
    cluster: &Cluster,
    user: &User,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Result<Reply, ApiError> {
    let control = cluster
        .control
        .as_ref()
        .ok_or_else(ApiError::no_such_path)?;
    if !user.in_group(MASTERS) {
        return Err(ApiError::new(
            403,
            "Forbidden",
            "forbidden: the simulator is steered by the management cluster's administrator only",
        ));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (name, what) = match parts.as_slice() {
        ["clusters"] => return Ok(Reply::json(200, &json!({"clusters": control.names()}))),
        ["clusters", name, what] => (*name, *what),
        _ => return Err(ApiError::no_such_path()),
    };
    let target = control.find(name).ok_or_else(|| {
        ApiError::new(
            404,
            "NotFound",
            format!("there is no simulated cluster {name:?}"),
        )
    })?;
    match (what, method) {
        ("faults", &Method::GET) => {}
        ("faults", &Method::PUT) => {
            let spec: FaultSpec = serde_json::from_value(body::json(body)?)
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
            target.faults.set(spec);
        }
        ("faults", &Method::DELETE) => target.faults.clear(),
        ("kinds", &Method::POST) => {
            let kind: Registration = serde_json::from_value(body::json(body)?)
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
            let resource = schemaless(
                &kind.group,
                &kind.version,
                &kind.kind,
                &kind.plural,
                kind.namespaced,
            );
            if target.registry.get(&resource.id).is_none() {
                target.registry.add(Arc::new(resource));
            }
            return Ok(Reply::json(201, &json!({"status": "registered"})));
        }
        ("requests", &Method::GET) => {
            let counts: Vec<_> = target
                .counts()
                .into_iter()
                .map(|((verb, resource), count)| json!({"verb": verb, "resource": resource, "count": count}))
                .collect();
            return Ok(Reply::json(200, &json!({"requests": counts})));
        }
        ("faults" | "kinds" | "requests", _) => return Err(ApiError::method_not_allowed()),
        _ => return Err(ApiError::no_such_path()),
    }
    Ok(Reply::json(200, &target.faults.get()))
}
