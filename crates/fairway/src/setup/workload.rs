//! Registering a workload cluster: an account in it, a kubeconfig Secret and a Cluster on the hub.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::objects::{apply, documents};
use crate::exit::Hinted;

/// The Secret that the cluster puts the account's token into.
pub(super) const TOKEN: &str = "fairway-token";

/// A cluster to register.
pub(crate) struct Registration {
    /// Name of the Cluster; its Secret is `<name>-kubeconfig`.
    pub(crate) name: String,
    /// Namespace on the hub.
    pub(crate) namespace: String,
    /// Labels of the Cluster.
    pub(crate) labels: BTreeMap<String, String>,
}

/// How Fairway will log in to the workload cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A service account made for it.
    ServiceAccount,
    /// The static credentials of the context.
    OfTheContext,
}

/// Prepares the workload cluster and returns the kubeconfig that Fairway will use for it.
pub(crate) async fn prepare(
    client: Option<&Client>,
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    credentials: Credentials,
) -> anyhow::Result<String> {
    let (cluster, auth) = entries(kubeconfig, context)?;
    let user = match (credentials, client) {
        (Credentials::OfTheContext, _) | (_, None) => {
            if auth.get("exec").is_some() || auth.get("auth-provider").is_some() {
                return Err(Hinted::new(
                    "the context logs in by running a program (exec), which Fairway does not do",
                    "leave --use-context-credentials out: your credential is then used once, to make a service account",
                )
                .into());
            }
            auth
        }
        (Credentials::ServiceAccount, Some(client)) => {
            apply(
                client,
                &documents(include_str!("../../manifests/workload.yaml"))?,
            )
            .await
            .context("failed to make Fairway's account in the workload cluster")?;
            json!({ "token": token(client).await? })
        }
    };
    Ok(render(&cluster, &user))
}

/// A kubeconfig for the cluster of a context, with other credentials.
pub(super) fn with_user(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
    user: &Value,
) -> anyhow::Result<String> {
    let (cluster, _) = entries(kubeconfig, context)?;
    Ok(render(&cluster, user))
}

fn render(cluster: &Value, user: &Value) -> String {
    fairway_yaml::emit::to_string(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "workload",
        "contexts": [{"name": "workload", "context": {"cluster": "workload", "user": "fairway"}}],
        "clusters": [{"name": "workload", "cluster": cluster}],
        "users": [{"name": "fairway", "user": user}],
    }))
}

/// The cluster and user entries of a context as JSON.
fn entries(kubeconfig: &Kubeconfig, context: Option<&str>) -> anyhow::Result<(Value, Value)> {
    let document = serde_json::to_value(kubeconfig).context("failed to read the kubeconfig")?;
    let context = context
        .or(document["current-context"].as_str())
        .ok_or_else(|| {
            Hinted::new(
                "the kubeconfig has no current context",
                "name one with --context",
            )
        })?;
    let find = |list: &str, name: &Value| {
        document[list]
            .as_array()
            .and_then(|items| items.iter().find(|item| &item["name"] == name))
            .cloned()
    };
    let found = find("contexts", &json!(context)).ok_or_else(|| {
        Hinted::new(
            format!("the kubeconfig has no context {context}"),
            "`kubectl config get-contexts` lists what it has",
        )
    })?;
    let mut cluster = find("clusters", &found["context"]["cluster"]).with_context(|| {
        format!("context {context} names a cluster that the kubeconfig does not have")
    })?["cluster"]
        .take();
    let mut user = find("users", &found["context"]["user"]).with_context(|| {
        format!("context {context} names a user that the kubeconfig does not have")
    })?["user"]
        .take();
    inline(&mut cluster, "certificate-authority")?;
    inline(&mut user, "client-certificate")?;
    inline(&mut user, "client-key")?;
    if let Some(path) = user.get("tokenFile").and_then(Value::as_str) {
        let token =
            std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
        user["token"] = json!(token.trim());
        if let Some(user) = user.as_object_mut() {
            user.remove("tokenFile");
        }
    }
    if cluster["insecure-skip-tls-verify"] == true {
        return Err(Hinted::new(
            format!("context {context} skips the verification of the server's certificate"),
            "give the kubeconfig the cluster's certificate-authority-data instead",
        )
        .into());
    }
    Ok((cluster, user))
}

/// Replaces `KEY: file` by `KEY-data: base64`.
fn inline(entry: &mut Value, key: &str) -> anyhow::Result<()> {
    let Some(entry) = entry.as_object_mut() else {
        return Ok(());
    };
    let Some(Value::String(path)) = entry.remove(key) else {
        return Ok(());
    };
    let bytes = std::fs::read(&path).with_context(|| format!("failed to read {path}"))?;
    let data = k8s_openapi::ByteString(bytes);
    entry.insert(format!("{key}-data"), serde_json::to_value(data)?);
    Ok(())
}

/// Waits for the token that the cluster puts into the Secret `fairway-token`.
pub(super) async fn token(client: &Client) -> anyhow::Result<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "flux-system");
    for _ in 0..100 {
        let secret = secrets
            .get(TOKEN)
            .await
            .context("failed to read the Secret fairway-token")?;
        if let Some(token) = secret.data.and_then(|mut data| data.remove("token")) {
            return String::from_utf8(token.0).context("the token is not text");
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err(Hinted::new(
        "the workload cluster did not issue a token for Fairway's account within 5 s",
        "its controller manager fills the Secret flux-system/fairway-token; is it running?",
    )
    .into())
}

/// The Secret that holds the kubeconfig on the hub.
pub(crate) fn kubeconfig_secret(registration: &Registration, kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("{}-kubeconfig", registration.name), "namespace": registration.namespace},
        "type": "Opaque",
        "stringData": {"value": kubeconfig},
    })
}

/// The Cluster on the hub.
pub(crate) fn cluster_object(registration: &Registration) -> Value {
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {
            "name": registration.name,
            "namespace": registration.namespace,
            "labels": registration.labels,
        },
        "spec": {"kubeConfig": {"secretRef": {"name": format!("{}-kubeconfig", registration.name)}}},
    })
}
