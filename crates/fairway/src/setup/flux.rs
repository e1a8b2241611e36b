//! Whether Flux runs on a cluster: its controllers, who holds their Leases, and flux-operator's FluxInstance.

use anyhow::Context as _;
use fairway_types::names;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _};

use super::hub::{FAIRWAY, PART_OF};

/// The controllers of Flux that do what Fairway does; the others go on beside it.
const RIVALS: [&str; 2] = ["source-controller", "kustomize-controller"];
/// The suffix of their Leases.
const ELECTION: &str = "-leader-election";

/// What was found of a running Flux.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RunningFlux {
    /// Deployments with replicas: namespace, name, replicas.
    pub(crate) deployments: Vec<(String, String, i32)>,
    /// All Deployments of these controllers, scaled down ones too: namespace and name.
    pub(crate) installed: Vec<(String, String)>,
    /// Leases that somebody else than Fairway holds: namespace, name, holder.
    pub(crate) leases: Vec<(String, String, String)>,
    /// FluxInstances: namespace and name.
    pub(crate) instances: Vec<(String, String)>,
}

impl RunningFlux {
    /// Looks for it in all namespaces, or where that is forbidden in one.
    pub(crate) async fn find(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for deployment in deployments(client, namespace).await? {
            let (place, name) = (
                deployment.namespace().unwrap_or_default(),
                deployment.name_any(),
            );
            let replicas = deployment.spec.replicas.unwrap_or(1);
            if replicas > 0 {
                found
                    .deployments
                    .push((place.clone(), name.clone(), replicas));
            }
            found.installed.push((place, name));
        }
        for (place, name, holder) in leases(client, namespace).await? {
            if !fairway_controller::lease::is_fairway(&holder) {
                found.leases.push((place, name, holder));
            }
        }
        found.instances = instances(client).await;
        Ok(found)
    }

    /// Whether something runs that would reconcile the same objects.
    pub(crate) fn is_running(&self) -> bool {
        !self.deployments.is_empty() || !self.leases.is_empty()
    }

    /// What runs, in words.
    pub(crate) fn words(&self) -> String {
        let deployments = self.deployments.iter().map(|(namespace, name, replicas)| {
            let unit = if *replicas == 1 {
                "replica"
            } else {
                "replicas"
            };
            format!("Deployment {namespace}/{name} has {replicas} {unit}")
        });
        let leases = self.leases.iter().map(|(namespace, name, holder)| {
            format!("Lease {namespace}/{name} is held by {holder}")
        });
        let instances = self
            .instances
            .iter()
            .map(|(namespace, name)| format!("FluxInstance {namespace}/{name}"));
        let all: Vec<String> = deployments.chain(leases).chain(instances).collect();
        all.join("; ")
    }

    /// How to stop it, so that Fairway can take over with nothing changed.
    pub(crate) fn how_to_stop(&self) -> String {
        let mut commands = Vec::new();
        for (namespace, name) in &self.instances {
            commands.push(format!(
                "kubectl -n {namespace} annotate --overwrite fluxinstance/{name} fluxcd.controlplane.io/reconcile=disabled"
            ));
        }
        let mut namespaces: Vec<&str> = self
            .deployments
            .iter()
            .map(|(namespace, _, _)| namespace.as_str())
            .collect();
        namespaces.dedup();
        for namespace in namespaces {
            let names: Vec<&str> = self
                .deployments
                .iter()
                .filter(|(of, _, _)| of == namespace)
                .map(|(_, name, _)| name.as_str())
                .collect();
            commands.push(format!(
                "kubectl -n {namespace} scale deployment {} --replicas=0",
                names.join(" ")
            ));
        }
        if commands.is_empty() {
            "wait 35 s for the Leases to run out, or stop who holds them".to_owned()
        } else {
            commands.join(" && ")
        }
    }
}

/// Whether an object was made by `fairway install`.
pub(crate) fn is_ours(object: &DynamicObject) -> bool {
    object
        .labels()
        .get(PART_OF)
        .is_some_and(|owner| owner == FAIRWAY)
}

/// Whether there are Flux objects that neither Fairway's commands nor its fan-out made.
pub(crate) async fn has_flux_objects(client: &Client) -> Result<bool, kube::Error> {
    for (group, kind, plural) in [
        (names::KUSTOMIZE_GROUP, "Kustomization", "kustomizations"),
        (names::SOURCE_GROUP, "GitRepository", "gitrepositories"),
    ] {
        let gvk = GroupVersionKind::gvk(group, "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        match api.list_metadata(&ListParams::default()).await {
            Ok(list) if list.items.iter().any(|object| !made_here(&object.metadata)) => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn made_here(metadata: &ObjectMeta) -> bool {
    let generated = metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(names::FLEET_NAME));
    let applied = metadata
        .managed_fields
        .iter()
        .flatten()
        .any(|entry| entry.manager.as_deref() == Some(super::objects::FIELD_MANAGER));
    generated || applied
}

async fn deployments(client: &Client, namespace: &str) -> anyhow::Result<Vec<Deployment>> {
    let all = Api::<Deployment>::all(client.clone())
        .list(&ListParams::default())
        .await;
    let mut items = match all {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Api::<Deployment>::namespaced(client.clone(), namespace)
                .list(&ListParams::default())
                .await
                .context("failed to look for Flux's controllers")?
                .items
        }
        Err(error) => {
            return Err(anyhow::Error::new(error).context("failed to look for Flux's controllers"));
        }
    };
    items.retain(|deployment| {
        // Shards are called kustomize-controller-shard1 and carry the label of the kind of controller.
        let component = deployment
            .labels()
            .get("app.kubernetes.io/component")
            .cloned();
        let name = component.unwrap_or_else(|| deployment.name_any());
        RIVALS.contains(&name.as_str())
    });
    items.sort_by_key(|deployment| {
        std::cmp::Reverse((deployment.namespace(), deployment.name_any()))
    });
    Ok(items)
}

/// Leases of controllers that are held now: namespace, name, holder.
pub(crate) async fn leases(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Vec<(String, String, String)>> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let list = api
        .list(&ListParams::default())
        .await
        .context("failed to look at the Leases")?;
    let now = Timestamp::now();
    Ok(list
        .items
        .into_iter()
        .filter(|lease| {
            let name = lease.name_any();
            let ours = name.starts_with(fairway_controller::lease::FLEET);
            ours || (RIVALS.iter().any(|rival| name.starts_with(rival)) && name.contains(ELECTION))
        })
        .filter_map(|lease| {
            let (place, name) = (lease.namespace().unwrap_or_default(), lease.name_any());
            let spec = lease.spec?;
            let holder = spec.holder_identity.filter(|holder| !holder.is_empty())?;
            let seconds = i64::from(spec.lease_duration_seconds.unwrap_or(0));
            let until = spec.renew_time?.0.as_second() + seconds;
            (until > now.as_second()).then_some((place, name, holder))
        })
        .collect())
}

async fn instances(client: &Client) -> Vec<(String, String)> {
    let gvk = GroupVersionKind::gvk("fluxcd.controlplane.io", "v1", "FluxInstance");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "fluxinstances");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    // Most clusters don't know the kind; who may not see it can't be told of it.
    match api.list(&ListParams::default()).await {
        Ok(list) => list
            .items
            .iter()
            .map(|object| (object.namespace().unwrap_or_default(), object.name_any()))
            .collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_to_stop_flux() {
        let flux = RunningFlux {
            deployments: vec![
                ("flux-system".into(), "source-controller".into(), 1),
                ("flux-system".into(), "kustomize-controller".into(), 2),
            ],
            instances: vec![("flux-system".into(), "flux".into())],
            ..RunningFlux::default()
        };
        assert!(flux.is_running());
        assert_eq!(
            flux.how_to_stop(),
            "kubectl -n flux-system annotate --overwrite fluxinstance/flux fluxcd.controlplane.io/reconcile=disabled \
             && kubectl -n flux-system scale deployment source-controller kustomize-controller --replicas=0"
        );
        assert!(flux.words().contains("kustomize-controller has 2 replicas"));
        assert!(!RunningFlux::default().is_running());
    }
}
