//! `Cluster.spec.sync`: the cluster is run from here as if Flux were bootstrapped in it.

use std::sync::Arc;
use std::time::Duration;

use fairway_apply::RequestError;
use fairway_apply::api::ApplyOptions;
use fairway_types::fleet::ClusterSync;
use fairway_types::{Cluster, GitRepository, Kustomization, names};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Target;
use crate::build::spec;
use crate::context::Context;
use crate::follow::follow_home;
use crate::home::{Home, HomeId};

/// What bootstrap calls its objects, and where it puts them.
const BOOTSTRAP: &str = "flux-system";

/// Makes sure that the cluster is a home. Answers the Deployments of Flux controllers that are superseded.
pub(super) async fn ensure(
    context: &Arc<Context>,
    cluster: &Cluster,
    sync: &ClusterSync,
    id: &HomeId,
    target: &Arc<Target>,
) -> Result<Vec<String>, String> {
    let home = match context.homes.get(id) {
        Some(home) if home.target.id == target.id => home,
        _ => {
            definitions(target)
                .await
                .map_err(|error| format!("definitions of Flux's kinds: {error}"))?;
            let home = Home::new(
                id.clone(),
                target.clone(),
                &context.notifier,
                context.stop.child_token(),
            );
            context.homes.set(home.clone());
            follow_home(context, &home);
            home
        }
    };
    let synced = async {
        home.repositories.synced().await;
        home.kustomizations.synced().await;
    };
    tokio::time::timeout(Duration::from_secs(30), synced)
        .await
        .map_err(|_| {
            "the cluster's GitRepositories and Kustomizations cannot be watched".to_owned()
        })?;
    bootstrap(context, cluster, sync, &home).await?;
    Ok(context.superseded(id))
}

/// The definitions of Flux's kinds, where the cluster lacks them.
async fn definitions(target: &Target) -> Result<(), RequestError> {
    let wanted = [
        (names::SOURCE_GROUP, "GitRepository"),
        (names::KUSTOMIZE_GROUP, "Kustomization"),
    ];
    let mut missing = false;
    for (group, kind) in wanted {
        match target.mapper.served(group, "v1", kind).await {
            Ok(_) => {}
            Err(RequestError::UnknownKind { .. }) => missing = true,
            Err(error) => return Err(error),
        }
    }
    if !missing {
        return Ok(());
    }
    let session = target.connection.session();
    let resource = target
        .mapper
        .resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .await?;
    for definition in fairway_types::crds() {
        let group = definition
            .pointer("/spec/group")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if wanted.iter().any(|(wanted, _)| *wanted == group) {
            let options = ApplyOptions {
                manager: names::FLEET_MANAGER,
                dry_run: false,
            };
            session.apply(&resource, &definition, options).await?;
        }
    }
    for (group, kind) in wanted {
        let mut left = 50;
        while let Err(error) = target.mapper.resource(&format!("{group}/v1"), kind).await {
            if left == 0 || !matches!(error, RequestError::UnknownKind { .. }) {
                return Err(error);
            }
            left -= 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            target.mapper.expire();
        }
    }
    Ok(())
}

/// Namespace, GitRepository and Kustomization `flux-system`, where the cluster lacks them.
async fn bootstrap(
    context: &Arc<Context>,
    cluster: &Cluster,
    sync: &ClusterSync,
    home: &Home,
) -> Result<(), String> {
    let reference = &sync.source_ref;
    if reference.kind != "GitRepository" {
        return Err(format!(
            "spec.sync.sourceRef: kind '{}' has no controller here",
            reference.kind
        ));
    }
    let own = cluster.namespace().unwrap_or_default();
    let namespace = reference.namespace.as_ref().unwrap_or(&own);
    if context.options.no_cross_namespace_refs && *namespace != own {
        return Err(format!(
            "spec.sync.sourceRef: can't access 'GitRepository/{namespace}/{}', cross-namespace references have been \
             blocked\nhint: --no-cross-namespace-refs=false allows them",
            reference.name
        ));
    }
    let source = context
        .hub()
        .and_then(|hub| hub.repositories.get(namespace, &reference.name))
        .ok_or_else(|| {
            format!(
                "spec.sync.sourceRef: GitRepository '{namespace}/{}' not found",
                reference.name
            )
        })?;
    let client = home.connection.client();
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: kube::Error| format!("{what}: {error}")
    };
    if home.repositories.get(BOOTSTRAP, BOOTSTRAP).is_none() {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let wanted =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BOOTSTRAP}});
        let wanted = serde_json::from_value(wanted).map_err(|error| error.to_string())?;
        if namespaces
            .get_opt(BOOTSTRAP)
            .await
            .map_err(failed("namespace flux-system"))?
            .is_none()
        {
            ignore_existing(namespaces.create(&PostParams::default(), &wanted).await)
                .map_err(failed("namespace flux-system"))?;
        }
        let mut spec = source.spec.clone();
        spec.suspend = false;
        let mut wanted = GitRepository::new(BOOTSTRAP, spec);
        wanted.metadata.namespace = Some(BOOTSTRAP.to_owned());
        let api: Api<GitRepository> = Api::namespaced(client.clone(), BOOTSTRAP);
        ignore_existing(api.create(&PostParams::default(), &wanted).await)
            .map_err(failed("GitRepository flux-system"))?;
    }
    let api: Api<Kustomization> = Api::namespaced(client, BOOTSTRAP);
    match home.kustomizations.get(BOOTSTRAP, BOOTSTRAP) {
        None => {
            let wanted = json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": BOOTSTRAP, "namespace": BOOTSTRAP},
                "spec": {"interval": "10m0s", "path": sync.path, "prune": true,
                         "sourceRef": {"kind": "GitRepository", "name": BOOTSTRAP}},
            });
            let wanted = serde_json::from_value(wanted).map_err(|error| error.to_string())?;
            ignore_existing(api.create(&PostParams::default(), &wanted).await)
                .map_err(failed("Kustomization flux-system"))?;
        }
        // One that the repository brings says its path itself.
        Some(found)
            if !found.labels().contains_key(names::OWNER_NAME)
                && spec::path(&found.spec) != path(sync) =>
        {
            let patch = json!({"spec": {"path": sync.path}});
            api.patch(BOOTSTRAP, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .map_err(failed("Kustomization flux-system"))?;
        }
        Some(_) => {}
    }
    Ok(())
}

fn path(sync: &ClusterSync) -> String {
    let spec = fairway_types::KustomizationSpec {
        path: Some(sync.path.clone()),
        ..Default::default()
    };
    spec::path(&spec)
}

fn ignore_existing<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// Flux's own controllers, which this engine stands in for.
const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
];

/// Scales Flux's controllers down to nothing. Answers which.
pub(crate) fn supersede(objects: &mut [Value]) -> Vec<String> {
    let mut superseded = Vec::new();
    for object in objects
        .iter_mut()
        .filter(|object| object["kind"] == "Deployment")
    {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let part_of = object
            .pointer("/metadata/labels/app.kubernetes.io~1part-of")
            .and_then(Value::as_str);
        if part_of == Some("flux") && CONTROLLERS.contains(&name) {
            let namespace = object
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .unwrap_or_default();
            superseded.push(format!("Deployment/{namespace}/{name}"));
            object["spec"]["replicas"] = json!(0);
        }
    }
    superseded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flux_controllers_are_superseded() {
        let deployment = |name: &str, part_of: &str| {
            json!({"kind": "Deployment", "metadata": {"name": name, "namespace": "flux-system",
                   "labels": {"app.kubernetes.io/part-of": part_of}}, "spec": {"replicas": 1}})
        };
        let mut objects = [
            deployment("kustomize-controller", "flux"),
            deployment("web", "flux"),
            deployment("source-controller", "me"),
        ];
        assert_eq!(
            supersede(&mut objects),
            ["Deployment/flux-system/kustomize-controller"]
        );
        assert_eq!(objects[0]["spec"]["replicas"], 0);
        assert_eq!(objects[1]["spec"]["replicas"], 1);
        assert_eq!(objects[2]["spec"]["replicas"], 1);
    }
}
