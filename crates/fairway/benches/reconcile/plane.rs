//! A control plane of its own for each run.

use anyhow::Result;
use fairway_testkit::real::{Assets, ControlPlane, Etcd, Settings};

use crate::api::Api;

/// etcd, kube-apiserver and kube-controller-manager, fresh.
pub(crate) struct Plane {
    pub(crate) api: Api,
    pub(crate) control: ControlPlane,
}

impl Plane {
    pub(crate) async fn start(assets: &Assets) -> Result<Self> {
        let settings = Settings::new("bench").with_controller_manager();
        let control = ControlPlane::start_with(assets, Etcd::start(assets)?, settings).await?;
        let api = Api::connect(control.kubeconfig()).await?;
        Ok(Self { api, control })
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        self.control.kubeconfig()
    }
}
