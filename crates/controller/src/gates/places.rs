//! Where the clusters of a subject are, and as whom one goes there.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_apply::{Impersonation, Mapper, Session};
use fairway_types::{ConditionStatus, Kustomization, conditions, names};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::subject::Subject;
use crate::cluster::Target;
use crate::context::Context;
use crate::fleet::child_name;
use crate::home::Home;

/// A cluster of the subject.
pub(crate) struct Place {
    /// Name of the Cluster.
    pub(crate) cluster: String,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether it is Ready; unknown where nobody said.
    pub(crate) ready: Option<bool>,
    /// The way there, or why there is none.
    pub(crate) way: Result<Way, String>,
}

/// The way to a cluster.
pub(crate) struct Way {
    /// Requests as the account that the Kustomization is applied as.
    pub(crate) session: Session,
    /// What the cluster serves.
    pub(crate) mapper: Arc<Mapper>,
    /// Namespace for what names none.
    pub(crate) namespace: String,
}

impl Place {
    /// As expressions see it.
    pub(crate) fn json(&self) -> Value {
        json!({"name": self.cluster, "labels": self.labels, "ready": self.ready.unwrap_or(false)})
    }
}

/// The clusters of a subject, in the order of their names.
pub(crate) async fn places(context: &Arc<Context>, subject: &Subject) -> Vec<Place> {
    let mut names: Vec<&String> = subject.clusters.iter().collect();
    names.sort();
    names.dedup();
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let cluster = context.clusters.get(&subject.namespace, name);
        let ready = cluster.as_ref().and_then(|cluster| {
            let conditions = &cluster.status.as_ref()?.conditions;
            let ready = conditions::get(conditions, names::READY)?;
            Some(ready.status == ConditionStatus::True)
        });
        places.push(Place {
            way: way(context, subject, name).await,
            labels: cluster.map_or_else(BTreeMap::new, |cluster| cluster.labels().clone()),
            cluster: name.clone(),
            ready,
        });
    }
    places
}

/// Through the Kustomization that a fleet of the subject has for the cluster; without one, through the Cluster itself.
async fn way(context: &Arc<Context>, subject: &Subject, cluster: &str) -> Result<Way, String> {
    let hub = context.hub().ok_or("the hub is not known yet")?;
    let child = subject.fleets.iter().find_map(|fleet| {
        hub.kustomizations
            .get(&subject.namespace, &child_name(fleet, cluster))
    });
    let target = target(context, &hub, subject, cluster, child.as_deref()).await?;
    if let Some(reason) = target.why_down() {
        return Err(reason);
    }
    let account = child
        .as_ref()
        .and_then(|child| child.spec.service_account_name.clone())
        .or_else(|| context.options.default_service_account.clone());
    let session = match account {
        None => target.connection.session(),
        Some(account) => target
            .connection
            .session_as(&Impersonation::service_account(
                &subject.namespace,
                &account,
            ))
            .map_err(|error| error.to_string())?,
    };
    let namespace = child
        .and_then(|child| child.spec.target_namespace.clone())
        .unwrap_or_else(|| subject.namespace.clone());
    Ok(Way {
        session,
        mapper: target.mapper.clone(),
        namespace,
    })
}

async fn target(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    subject: &Subject,
    cluster: &str,
    child: Option<&Kustomization>,
) -> Result<Arc<Target>, String> {
    let reference = match child {
        Some(child) => child.spec.kube_config.clone(),
        None => {
            let Some(cluster) = context.clusters.get(&subject.namespace, cluster) else {
                return Err(format!(
                    "there is no Cluster '{}/{cluster}'",
                    subject.namespace
                ));
            };
            cluster.spec.kube_config.clone()
        }
    };
    let Some(reference) = reference else {
        return Ok(hub.target.clone());
    };
    let make = |connection| context.target(connection);
    context
        .connections
        .resolve(hub, &subject.namespace, &reference, &context.options, make)
        .await
        .map_err(|error| error.to_string())
}
