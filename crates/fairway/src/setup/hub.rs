//! What a management cluster needs.

use kube::Client;
use serde_json::Value;

use super::objects::{apply, documents};

/// The resource definitions of Flux's and Fairway's kinds, the namespace and the accounts, in the order to apply them.
pub(crate) fn hub_objects() -> anyhow::Result<Vec<Value>> {
    let mut objects = fairway_types::crds();
    objects.extend(documents(include_str!("../../manifests/hub.yaml"))?);
    Ok(objects)
}

/// Applies [`hub_objects`]; the same again changes nothing.
pub(crate) async fn install(client: &Client) -> anyhow::Result<()> {
    apply(client, &hub_objects()?).await
}
