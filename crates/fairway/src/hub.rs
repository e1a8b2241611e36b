//! The person's own way to a cluster: a context of a kubeconfig, with whatever credentials it has.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use fairway_apply::{Connection, Strictness};
use fairway_types::Cluster;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::client::ClientBuilder;
use kube::client::retry::{InvalidBackoff, RetryPolicy};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use crate::args::Global;
use crate::exit::Hinted;

/// Connects to the context that the flags name; kubectl's rules for what is used when they name none.
pub(crate) async fn client(global: &Global) -> anyhow::Result<Client> {
    client_for(global.kubeconfig.as_deref(), global.context.as_deref()).await
}

/// Connects to one context of one kubeconfig file.
pub(crate) async fn client_for(
    file: Option<&Path>,
    context: Option<&str>,
) -> anyhow::Result<Client> {
    let mut config = config(file, context).await?;
    // kube would try a server that is broken for good fifteen times, the last pauses being minutes.
    config.default_retry = false;
    let failed = "failed to set up the connection";
    Ok(ClientBuilder::try_from(config)
        .context(failed)?
        .with_layer(&BufferLayer::new(64))
        .with_layer(&RetryLayer::new(patience().context(failed)?))
        .build())
}

/// An API server that is about to be ready (it prepares a kind that was defined a moment ago) is asked again for ten seconds
/// or so.
fn patience() -> Result<RetryPolicy, InvalidBackoff> {
    let (first, longest) = (Duration::from_millis(250), Duration::from_secs(1));
    RetryPolicy::new(first, longest, 12, false)
}

/// Reads one context of one kubeconfig file; none named: `$KUBECONFIG`, `~/.kube/config`, then the pod's own account.
pub(crate) async fn config(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let mut config = match read(file)? {
        Some(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| {
            Hinted::new(
                format!("failed to use the kubeconfig: {error}"),
                "name a context with --context; `kubectl config get-contexts` lists them",
            )
        })?,
        None => Config::incluster().map_err(|_| {
            Hinted::new(
                "found no kubeconfig",
                "name a file with --kubeconfig or $KUBECONFIG; `fairway demo` writes one and prints where",
            )
        })?,
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    Ok(config)
}

/// The kubeconfig that the flag, `$KUBECONFIG` or the home folder names; `None` where there is none.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Option<Kubeconfig>> {
    if let Some(file) = file {
        let kubeconfig = Kubeconfig::read_from(file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        return Ok(Some(kubeconfig));
    }
    if let Some(kubeconfig) = Kubeconfig::from_env().context("failed to read $KUBECONFIG")? {
        return Ok(Some(kubeconfig));
    }
    match Kubeconfig::read() {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(
            kube::config::KubeconfigError::ReadConfig(_, _)
            | kube::config::KubeconfigError::FindPath,
        ) => Ok(None),
        Err(error) => Err(anyhow::Error::new(error).context("failed to read ~/.kube/config")),
    }
}

/// Reads a kubeconfig's text.
pub(crate) fn parse(text: &str) -> anyhow::Result<Kubeconfig> {
    Kubeconfig::from_yaml(text).context("failed to read the kubeconfig")
}

/// Connects to a registered cluster with the kubeconfig that the hub holds for it, as the controller does.
pub(crate) async fn registered(hub: &Client, cluster: &Cluster) -> anyhow::Result<Connection> {
    let Some(config) = &cluster.spec.kube_config else {
        anyhow::bail!("it is the management cluster itself (no spec.kubeConfig)");
    };
    let Some(secret) = &config.secret_ref else {
        anyhow::bail!(
            "it is reached with tokens that only the controller asks for (spec.kubeConfig.configMapRef)"
        );
    };
    let namespace = cluster.namespace().unwrap_or_default();
    let text = kubeconfig(hub, &namespace, &secret.name, secret.key.as_deref()).await?;
    Ok(Connection::from_kubeconfig_yaml(&text, None, Strictness::default()).await?)
}

/// The kubeconfig in a Secret of the hub.
pub(crate) async fn kubeconfig(
    hub: &Client,
    namespace: &str,
    name: &str,
    key: Option<&str>,
) -> anyhow::Result<String> {
    let api: Api<Secret> = Api::namespaced(hub.clone(), namespace);
    let secret = api
        .get(name)
        .await
        .with_context(|| format!("failed to read the Secret {namespace}/{name}"))?;
    let data = secret.data.unwrap_or_default();
    let keys: Vec<&str> = match key {
        Some(key) => vec![key],
        None => fairway_types::names::KUBECONFIG_KEYS.to_vec(),
    };
    let bytes = keys
        .iter()
        .find_map(|key| data.get(*key))
        .with_context(|| {
            format!(
                "the Secret {namespace}/{name} has no key {}",
                keys.join(" or ")
            )
        })?;
    Ok(String::from_utf8_lossy(&bytes.0).into_owned())
}
