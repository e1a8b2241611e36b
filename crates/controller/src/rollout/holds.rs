//! Holds that a Promotion asks for: its status says which commit, which fleets and which clusters.
//!
//! Nothing is called and nothing has to be registered: write `status.hold` of a Promotion, and the fleet reconciler points the
//! children of those fleets on those clusters at a hold of that commit, with or without a rollout, whatever a rollout says.
//! Take it away, and each child follows its source again: at once where that renders what the cluster has, else in its turn
//! of the rollout. While a Promotion holds a cluster back from a change, no other cluster begins that change.

use std::sync::Arc;

use fairway_types::FleetKustomization;
use kube::ResourceExt;

use crate::context::Context;

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

/// The holds that concern a fleet, in the order of the names of who asks.
pub(crate) fn of(context: &Arc<Context>, fleet: &FleetKustomization) -> Vec<Asked> {
    let (namespace, name) = (fleet.namespace(), fleet.name_any());
    context
        .promotions
        .all()
        .into_iter()
        .filter(|promotion| promotion.namespace() == namespace)
        .filter_map(|promotion| {
            let hold = promotion.status.as_ref()?.hold.clone()?;
            Some(Asked {
                reason: format!("{}: {}", promotion.name_any(), hold.reason),
                commit: hold.commit,
                fleets: hold.fleets,
                clusters: hold.clusters,
            })
        })
        .filter(|asked| asked.fleets.contains(&name))
        .collect()
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
