//! Applying a handful of known objects in order, as the person who runs the command.

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, discovery};
use serde_json::Value;

/// The field manager of what commands write.
pub(super) const FIELD_MANAGER: &str = "fairway";
/// A person with kubectl, whose fields the engine takes over with its first apply: what is in Git belongs to Git alone.
const PERSON: &str = "kubectl";

/// What applying an object came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was not there.
    Created,
    /// It was different.
    Configured,
    /// It was as wanted: nothing was written.
    Unchanged,
    /// It is there and somebody else's, so it stays as it is.
    Kept,
}

impl Change {
    /// As kubectl says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept as it is",
        }
    }
}

/// `Kind/namespace/name`, or `Kind/name`.
pub(crate) fn subject(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let name = text(&object["metadata"]["name"]);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

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
        let api = api_for(client, object).await?;
        write(&api, object, FIELD_MANAGER).await?;
    }
    Ok(())
}

/// Applies objects that are in Git too, as `kubectl apply --server-side` would, where they are not there yet; those of
/// the kind `renewed` in any case.
pub(crate) async fn apply_as_person(
    client: &Client,
    objects: &[Value],
    renewed: &str,
) -> anyhow::Result<()> {
    for object in objects {
        let api = api_for(client, object).await?;
        if object["kind"] == renewed || find(&api, object).await?.is_none() {
            write(&api, object, PERSON).await?;
        }
    }
    Ok(())
}

/// Server-side applies one object, and says what that changed.
pub(crate) async fn apply_one(client: &Client, object: &Value) -> anyhow::Result<Change> {
    let api = api_for(client, object).await?;
    let Some(before) = find(&api, object).await? else {
        write(&api, object, FIELD_MANAGER).await?;
        return Ok(Change::Created);
    };
    // An apply that changes nothing may still write who owns what, and when; so it is tried first.
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let after = api
        .patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("failed to apply {}", subject(object)))?;
    if content(before) == content(after) {
        return Ok(Change::Unchanged);
    }
    write(&api, object, FIELD_MANAGER).await?;
    Ok(Change::Configured)
}

/// The object without what every write changes.
fn content(mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    object.metadata.resource_version = None;
    object.metadata.generation = None;
    object
}

/// What is there of the object.
pub(crate) async fn live(client: &Client, object: &Value) -> anyhow::Result<Option<DynamicObject>> {
    find(&api_for(client, object).await?, object).await
}

async fn find(api: &Api<DynamicObject>, object: &Value) -> anyhow::Result<Option<DynamicObject>> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    api.get_opt(name)
        .await
        .with_context(|| format!("failed to read {}", subject(object)))
}

async fn write(
    api: &Api<DynamicObject>,
    object: &Value,
    manager: &str,
) -> anyhow::Result<DynamicObject> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply(manager).force();
    let applied = api
        .patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("failed to apply {}", subject(object)))?;
    if object["kind"] == "CustomResourceDefinition" {
        return wait_established(api, name, applied).await;
    }
    Ok(applied)
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
) -> anyhow::Result<DynamicObject> {
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
            return Ok(object);
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
