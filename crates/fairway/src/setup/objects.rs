//! Applying a handful of known objects in order, as the person who runs the command.

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, discovery};
use serde_json::Value;

/// The field manager of what commands write.
const FIELD_MANAGER: &str = "fairway";

/// The objects of a text with YAML documents.
pub(crate) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in fairway_yaml::parse(text)? {
        let value = document.to_json()?;
        if !value.is_null() {
            objects.push(value);
        }
    }
    Ok(objects)
}

/// Server-side applies each object in order; waits until new resource definitions are served.
pub(crate) async fn apply(client: &Client, objects: &[Value]) -> anyhow::Result<()> {
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let api = api_for(client, object).await?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api
            .patch(name, &params, &Patch::Apply(object))
            .await
            .with_context(|| format!("failed to apply {kind}/{name}"))?;
        if kind == "CustomResourceDefinition" {
            wait_established(&api, name, applied).await?;
        }
    }
    Ok(())
}

/// The same for those that are not there yet; the others stay as they are.
pub(crate) async fn apply_missing(client: &Client, objects: &[Value]) -> anyhow::Result<()> {
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let found = api_for(client, object)
            .await?
            .get_metadata_opt(name)
            .await
            .with_context(|| format!("failed to look for {name}"))?;
        if found.is_none() {
            apply(client, std::slice::from_ref(object)).await?;
        }
    }
    Ok(())
}

async fn wait_established(
    api: &Api<DynamicObject>,
    name: &str,
    mut object: DynamicObject,
) -> anyhow::Result<()> {
    for _ in 0..100 {
        let established =
            object.data["status"]["conditions"]
                .as_array()
                .is_some_and(|conditions| {
                    conditions.iter().any(|condition| {
                        condition["type"] == "Established" && condition["status"] == "True"
                    })
                });
        if established {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        object = api.get(name).await?;
    }
    anyhow::bail!("the API server did not establish the resource definition {name} within 10 s")
}

/// The API for the kind and namespace of an object, as the cluster serves it.
pub(crate) async fn api_for(client: &Client, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let mut last = None;
    // A resource definition that was applied a moment ago may not be in discovery yet.
    for _ in 0..20 {
        match discovery::pinned_kind(client, &gvk).await {
            Ok((resource, capabilities)) => {
                return Ok(
                    match (capabilities.scope, object["metadata"]["namespace"].as_str()) {
                        (discovery::Scope::Namespaced, Some(namespace)) => {
                            Api::namespaced_with(client.clone(), namespace, &resource)
                        }
                        (discovery::Scope::Namespaced, None) => {
                            Api::default_namespaced_with(client.clone(), &resource)
                        }
                        (discovery::Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
                    },
                );
            }
            Err(kube::Error::Api(status)) if !status.is_not_found() => {
                return Err(anyhow::Error::new(kube::Error::Api(status))
                    .context(format!("failed to look up {kind}")));
            }
            Err(error @ (kube::Error::Api(_) | kube::Error::Discovery(_))) => last = Some(error),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("failed to look up {kind}")));
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let error = last.map_or_else(
        || anyhow::anyhow!("the cluster doesn't serve it"),
        anyhow::Error::new,
    );
    Err(error.context(format!("failed to look up {kind} in {api_version}")))
}
