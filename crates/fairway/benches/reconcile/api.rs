//! Plain JSON requests to the control plane.

use anyhow::{Context as _, Result};
use fairway_apply::{Connection, Impersonation, Strictness};
use kube::Client;
use serde_json::Value;

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A client as one account. Clones share their connection.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) connection: Connection,
    client: Client,
}

impl Api {
    pub(crate) async fn connect(kubeconfig: &str) -> Result<Self> {
        let connection =
            Connection::from_kubeconfig_yaml(kubeconfig, None, Strictness::trusted()).await?;
        Ok(Self {
            client: connection.client(),
            connection,
        })
    }

    /// The same, as a service account.
    pub(crate) fn as_account(&self, namespace: &str, name: &str) -> Result<Self> {
        let account = Impersonation::service_account(namespace, name);
        Ok(Self {
            client: self.connection.client_as(&account)?,
            connection: self.connection.clone(),
        })
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(serde_json::to_vec(body)?)?;
        self.client
            .request(request)
            .await
            .with_context(|| format!("{method} {path}"))
    }

    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        Ok(self.client.request_text(request).await?)
    }
}
