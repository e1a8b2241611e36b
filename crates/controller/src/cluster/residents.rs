//! The Kustomizations that live in a workload cluster: another owner, if a fleet is pointed at the same paths.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fairway_apply::{Connection, Mapper, RequestError};
use fairway_types::{Kustomization, names};
use kube::ResourceExt;
use tokio::time::Instant;

use crate::build::spec;

/// A Kustomization in a cluster that applies to that same cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its path, normalised.
    pub path: String,
}

/// What is known of a cluster's residents.
#[derive(Debug, Default)]
pub struct Residents(Mutex<Option<(Instant, Vec<Resident>)>>);

/// After this long it is looked again.
const FRESH: Duration = Duration::from_mins(5);

/// What counts as a resident: it is neither suspended nor pointed elsewhere, and no fleet's own (where a fleet selects the
/// cluster that it is run from).
pub fn resident(object: &Kustomization) -> Option<Resident> {
    if object.spec.suspend
        || object.spec.kube_config.is_some()
        || object.metadata.deletion_timestamp.is_some()
        || object.labels().contains_key(names::FLEET_NAME)
    {
        return None;
    }
    Some(Resident {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        path: spec::path(&object.spec),
    })
}

impl Residents {
    /// The resident of this path, as last seen.
    pub fn at(&self, path: &str) -> Option<Resident> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()?
            .1
            .iter()
            .find(|resident| resident.path == path)
            .cloned()
    }

    /// Whether they were looked for lately.
    pub fn is_fresh(&self) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH)
    }

    /// Looks for them. A cluster that does not know the kind has none.
    pub async fn refresh(
        &self,
        connection: &Connection,
        mapper: &Mapper,
    ) -> Result<(), RequestError> {
        let resource = match mapper
            .served(names::KUSTOMIZE_GROUP, "v1", "Kustomization")
            .await
        {
            Ok(resource) => Some(resource),
            Err(RequestError::UnknownKind { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        if let Some(resource) = resource {
            match connection.session().list(&resource, "", "").await {
                Ok(list) => {
                    found = list
                        .items
                        .into_iter()
                        .filter_map(|item| serde_json::from_value::<Kustomization>(item).ok())
                        .filter_map(|object| resident(&object))
                        .collect();
                }
                // Who may not look cannot know; that is no reason to do nothing.
                Err(error) if error.is_forbidden() || error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_applies_to_its_own_cluster_is_a_resident() {
        let object = |spec: serde_json::Value| -> Kustomization {
            let mut spec = spec;
            spec["interval"] = json!("1m");
            spec["prune"] = json!(true);
            spec["sourceRef"] = json!({"kind": "GitRepository", "name": "s"});
            serde_json::from_value(json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": "platform", "namespace": "flux-system"}, "spec": spec,
            }))
            .unwrap()
        };
        assert_eq!(
            resident(&object(json!({"path": "./a/b/"}))).unwrap().path,
            "a/b"
        );
        assert_eq!(resident(&object(json!({"suspend": true}))), None);
        assert_eq!(
            resident(&object(json!({"kubeConfig": {"secretRef": {"name": "x"}}}))),
            None
        );
    }
}
