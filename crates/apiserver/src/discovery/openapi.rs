//! OpenAPI v3, as far as kubectl looks at it: which operations take which parameters (`apply` asks whether fields are
//! validated by the server), and what fields a kind has (`explain`).

mod schemas;
mod v2;

use serde_json::{Map, Value, json};

use super::groups;
use crate::crd;
use crate::http::{Call, Reply};
use crate::resources::{Origin, Registry, Resource};
use crate::store::GroupResource;
pub(super) use v2::document as v2;

/// The root of a version's paths: `api/v1`, `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

pub(super) fn index(registry: &Registry) -> Reply {
    let mut paths = Map::new();
    for group in groups::all(registry) {
        for version in &group.versions {
            let root = root(&group.name, version);
            paths.insert(
                root.clone(),
                json!({"serverRelativeURL": format!("/openapi/v3/{root}")}),
            );
        }
    }
    // It is JSON, though the API server does not say so.
    let text = json!({"paths": paths}).to_string();
    Reply::text(200, text)
}

/// The schema of a custom resource as its author wrote it, with all descriptions.
fn written(call: &Call, resource: &Resource, version: &str) -> Option<Value> {
    let crds = GroupResource::new(crd::GROUP, crd::RESOURCE);
    let name = format!("{}.{}", resource.id.resource, resource.id.group);
    let definition = call.cluster.store.get(&crds, "", &name)?;
    definition["spec"]["versions"]
        .as_array()?
        .iter()
        .find(|known| known["name"] == version)?
        .pointer("/schema/openAPIV3Schema")
        .cloned()
}

pub(super) fn document(call: &Call, group: &str, version: &str) -> Reply {
    let found = groups::of_version(&call.cluster.registry, group, version);
    if found.is_empty() {
        return Reply::bytes(404, "", bytes::Bytes::new());
    }
    let mut paths = Map::new();
    let mut schemas = schemas::Schemas::default();
    for (resource, served) in &found {
        let plural = &resource.id.resource;
        let base = format!("/{}", root(group, version));
        let base = if resource.namespaced {
            format!("{base}/namespaces/{{namespace}}/{plural}")
        } else {
            format!("{base}/{plural}")
        };
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        schemas.add_kind(&resource.kind, version, group, &kind, &served.schema);
        if resource.origin == Origin::Custom
            && let Some(written) = written(call, resource, version)
        {
            schemas.describe(&resource.kind, version, group, written);
        }
        let operation = |action: &str| {
            let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
                .iter()
                .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
                .collect();
            json!({
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": kind,
                "parameters": parameters,
                "responses": {"200": {"description": "OK"}},
            })
        };
        paths.insert(base.clone(), json!({"post": operation("post")}));
        paths.insert(
            format!("{base}/{{name}}"),
            json!({
                "get": operation("get"),
                "put": operation("put"),
                "patch": operation("patch"),
            }),
        );
    }
    Reply::json(
        200,
        &json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes (simulated by Fairway)", "version": call.cluster.version},
            "paths": paths,
            "components": {"schemas": schemas.into_json()},
        }),
    )
}
