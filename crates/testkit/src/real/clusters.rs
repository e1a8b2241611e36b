//! Several control planes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Assets, ControlPlane, Etcd, Settings};
use crate::Kubectl;

/// Control planes that share an etcd, by name.
#[derive(Debug)]
pub struct Clusters {
    planes: BTreeMap<String, ControlPlane>,
}

impl Clusters {
    /// Starts one control plane for each of the settings, all at the same time.
    pub async fn start(assets: &Assets, all: Vec<Settings>) -> Result<Self> {
        let etcd = Etcd::start(assets)?;
        let started = all
            .into_iter()
            .map(|settings| ControlPlane::start_with(assets, etcd.clone(), settings));
        let planes = futures::future::try_join_all(started).await?;
        let named = planes
            .into_iter()
            .map(|plane| (plane.name().to_owned(), plane));
        Ok(Self {
            planes: named.collect(),
        })
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Result<&ControlPlane> {
        let plane = self.planes.get(name);
        plane.with_context(|| format!("there is no cluster {name}"))
    }

    /// One of them, to stop and restart it.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut ControlPlane> {
        let plane = self.planes.get_mut(name);
        plane.with_context(|| format!("there is no cluster {name}"))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ControlPlane> {
        self.planes.values()
    }

    /// A kubeconfig, as text, with a context for each cluster; the current one is the first by name.
    pub fn kubeconfig(&self) -> Result<String> {
        let mut merged = json!({"apiVersion": "v1", "kind": "Config"});
        for plane in self.planes.values() {
            let one: Value = serde_json::from_str(plane.kubeconfig())?;
            for list in ["clusters", "users", "contexts"] {
                match merged[list].as_array_mut() {
                    Some(items) => items.push(one[list][0].clone()),
                    None => merged[list] = one[list].clone(),
                }
            }
            if merged["current-context"].is_null() {
                merged["current-context"] = one["current-context"].clone();
            }
        }
        Ok(merged.to_string())
    }

    /// A `kubectl` for every cluster; each is a context.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.kubeconfig()?)
    }
}
