//! What a management cluster needs.

use kube::Client;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::objects::{apply, documents};
use super::workload;

/// The resource definitions of Flux's and Fairway's kinds, the namespace and the accounts, in the order to apply them.
pub(crate) fn hub_objects() -> anyhow::Result<Vec<Value>> {
    let mut objects = fairway_types::crds();
    objects.iter_mut().for_each(serve_older);
    objects.extend(documents(include_str!("../../manifests/hub.yaml"))?);
    Ok(objects)
}

/// The resource definitions of Flux's kinds, as a cluster needs them in which such objects live.
pub(crate) fn flux_definitions() -> Vec<Value> {
    let mut definitions = fairway_types::crds();
    definitions.retain(is_of_flux);
    definitions.iter_mut().for_each(serve_older);
    definitions
}

fn is_of_flux(definition: &Value) -> bool {
    definition["spec"]["group"]
        .as_str()
        .is_some_and(|group| group.ends_with(".toolkit.fluxcd.io"))
}

/// Serves Flux's kinds in the version before `v1` too, as Flux does: its fields are the same.
fn serve_older(definition: &mut Value) {
    if !is_of_flux(definition) {
        return;
    }
    if let Some(versions) = definition["spec"]["versions"].as_array_mut()
        && let [newest] = versions.as_slice()
    {
        let mut older = newest.clone();
        older["name"] = json!("v1beta2");
        older["storage"] = json!(false);
        older["deprecated"] = json!(true);
        versions.push(older);
    }
}

/// Applies [`hub_objects`]; the same again changes nothing.
pub(crate) async fn install(client: &Client) -> anyhow::Result<()> {
    apply(client, &hub_objects()?).await
}

/// A kubeconfig with the token of the account that [`install`] makes for the controller. A controller that runs in the cluster
/// gets its token from its pod and needs none of this.
pub(crate) async fn controller_access(
    client: &Client,
    kubeconfig: &Kubeconfig,
) -> anyhow::Result<String> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": workload::TOKEN,
            "namespace": fairway_types::names::SYSTEM_NAMESPACE,
            "annotations": {"kubernetes.io/service-account.name": "fairway"},
        },
        "type": "kubernetes.io/service-account-token",
    });
    apply(client, &[secret]).await?;
    let token = workload::token(client).await?;
    workload::with_user(kubeconfig, None, &json!({ "token": token }))
}
