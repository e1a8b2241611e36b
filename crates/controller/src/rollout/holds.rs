//! Holds that a Promotion asks for: its status says which commit, which fleets and which clusters.
//!
//! Nothing is called and nothing has to be registered: write `status.hold` of a Promotion, and the fleet reconciler points the
//! children of those fleets on those clusters at a hold of that commit, with or without a rollout, whatever a rollout says.
//! Take it away, and each child follows its source again: at once where that renders what the cluster has, else in its turn
//! of the rollout. While a Promotion holds a cluster back from a change, no other cluster begins that change.

use std::sync::Arc;
use std::time::Duration;

use fairway_types::{FleetKustomization, Promotion};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::context::Context;
use crate::home::Home;
use crate::status;

/// How long to wait for the first list until it is asked whether there is such a kind.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The commit to stay at.
    pub commit: String,
    /// Names of the FleetKustomizations.
    pub fleets: Vec<String>,
    /// Names of the Clusters; none means all of them.
    pub clusters: Vec<String>,
    /// Who asks, and why.
    pub reason: String,
}

impl Asked {
    /// Whether it is about this fleet on this cluster.
    pub fn is_about(&self, fleet: &str, cluster: &str) -> bool {
        self.fleets.iter().any(|name| name == fleet)
            && (self.clusters.is_empty() || self.clusters.iter().any(|name| name == cluster))
    }
}

/// The holds that concern a fleet, in the order of the names of the Promotions.
pub(crate) fn of(context: &Arc<Context>, fleet: &FleetKustomization) -> Vec<Asked> {
    let name = fleet.name_any();
    context
        .promotions
        .all()
        .iter()
        .filter(|promotion| promotion.namespace() == fleet.namespace())
        .filter_map(|promotion| asked(promotion))
        .filter(|asked| asked.fleets.contains(&name))
        .collect()
}

/// Until it is known what is asked for. Where there are no Promotions at all, nothing is.
pub(crate) async fn known(context: &Arc<Context>, hub: &Home) {
    loop {
        let synced = context.promotions.synced();
        if tokio::time::timeout(PATIENCE, synced).await.is_ok() {
            return;
        }
        let api: Api<Promotion> = Api::all(hub.connection.client());
        let answer = api.list(&ListParams::default().limit(1)).await;
        if answer.is_err_and(|error| status::is_gone(&error)) {
            return;
        }
    }
}

/// What a Promotion asks for.
fn asked(promotion: &Promotion) -> Option<Asked> {
    let hold = promotion.status.as_ref()?.hold.clone()?;
    Some(Asked {
        commit: hold.commit,
        fleets: hold.fleets,
        clusters: hold.clusters,
        reason: format!("Promotion '{}': {}", promotion.name_any(), hold.reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clusters_are_all_clusters() {
        let mut asked = Asked {
            commit: String::new(),
            fleets: vec!["apps".into()],
            clusters: vec!["eu".into()],
            reason: String::new(),
        };
        assert!(asked.is_about("apps", "eu"));
        assert!(!asked.is_about("apps", "us") && !asked.is_about("web", "eu"));
        asked.clusters.clear();
        assert!(asked.is_about("apps", "us"));
    }
}
