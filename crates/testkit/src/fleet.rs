//! Simulated clusters.

use std::time::Duration;

use anyhow::Result;
use fairway_apiserver::{Config, Faults, Server};

use crate::Kubectl;

/// The stages and regions of the reference repository.
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];
const REGIONS: [&str; 3] = ["us-west-2", "us-east-1", "eu-west-1"];

/// Embedded API servers, one per cluster, in memory. Workloads roll out in a few milliseconds.
#[derive(Debug)]
pub struct Fleet {
    server: Server,
}

impl Fleet {
    /// Starts clusters of these names; `management` is the hub.
    pub async fn start(names: &[&str]) -> Result<Self> {
        let config = Config {
            clusters: names.iter().map(|name| (*name).to_owned()).collect(),
            rollout_delay: Duration::from_millis(20),
            ..Config::default()
        };
        Ok(Self {
            server: Server::start(config).await?,
        })
    }

    /// The hub and the nine clusters of the reference repository.
    pub async fn reference() -> Result<Self> {
        let names = Self::reference_names();
        let mut all = vec!["management"];
        all.extend(names.iter().map(String::as_str));
        Self::start(&all).await
    }

    /// `dev-us-west-2`, …, `prod-eu-west-1`.
    pub fn reference_names() -> Vec<String> {
        let pairs = ENVIRONMENTS
            .iter()
            .flat_map(|environment| REGIONS.iter().map(move |region| (environment, region)));
        pairs
            .map(|(environment, region)| format!("{environment}-{region}"))
            .collect()
    }

    /// The servers.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The kubeconfig of one cluster.
    pub fn kubeconfig_for(&self, name: &str) -> Result<String> {
        Ok(self.server.kubeconfig_for(name)?)
    }

    /// A `kubectl` for every cluster; each is a context.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.server.kubeconfig())
    }

    /// The faults of one cluster, to be set and cleared.
    pub fn faults(&self, name: &str) -> Result<Faults> {
        Ok(self.server.faults(name)?)
    }
}
