//! What the clusters of a stage would get: their Kustomizations, built at two commits.

use std::collections::BTreeMap;

use fairway_controller::build::tree::CommitTree;
use fairway_controller::build::{finish, spec};
use fairway_git::{Oid, Repository, ViewOptions};
use fairway_types::pipeline::Stage;
use fairway_types::{Cluster, ClusterSelector, Kustomization, ObjectId, names};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use crate::commands::render::variables;
use crate::exit::Hinted;
use crate::output::field_changes;

/// A cluster and one of its Kustomizations.
pub(super) struct Child {
    /// Name of the Cluster.
    pub(super) cluster: String,
    /// What is built.
    pub(super) kustomization: Kustomization,
}

/// The Kustomizations that carry a stage, those of the named clusters and regions only where there are such.
pub(super) async fn children(
    client: &Client,
    namespace: &str,
    stage: &Stage,
    clusters: &[String],
    regions: &[String],
) -> anyhow::Result<Vec<Child>> {
    let matched = matching(client, namespace, stage).await?;
    let wanted = |cluster: &Cluster| {
        let name = cluster.name_any();
        let region = cluster.labels().get("region");
        (clusters.is_empty() && regions.is_empty())
            || clusters.contains(&name)
            || region.is_some_and(|region| regions.contains(region))
    };
    let names: Vec<String> = matched
        .iter()
        .filter(|cluster| wanted(cluster))
        .map(|cluster| cluster.name_any())
        .collect();
    let list = Api::<Kustomization>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels(names::FLEET_NAME))
        .await?;
    let label = |kustomization: &Kustomization, key: &str| {
        kustomization.labels().get(key).cloned().unwrap_or_default()
    };
    let mut found: Vec<Child> = list
        .items
        .into_iter()
        .filter(|child| {
            let fleet = label(child, names::FLEET_NAME);
            stage.fleet_refs.iter().any(|of| of.name == fleet)
        })
        .map(|child| Child {
            cluster: label(&child, names::CLUSTER_NAME),
            kustomization: child,
        })
        .filter(|child| names.contains(&child.cluster))
        .collect();
    found.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    if found.is_empty() {
        return Err(Hinted::new(
            format!(
                "no Kustomization carries the stage {} to a cluster",
                stage.name
            ),
            "`fairway get clusters` and `fairway get fleetkustomizations` show what there is",
        )
        .into());
    }
    Ok(found)
}

async fn matching(client: &Client, namespace: &str, stage: &Stage) -> anyhow::Result<Vec<Cluster>> {
    let inline = stage.cluster_selector.selector();
    let rule = match &stage.cluster_selector.selector_ref {
        Some(reference) => {
            let rules: Api<ClusterSelector> = Api::namespaced(client.clone(), namespace);
            let rule = rules.get(&reference.name).await?;
            Some(rule.spec)
        }
        None => None,
    };
    let clusters = Api::<Cluster>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await?;
    Ok(clusters
        .items
        .into_iter()
        .filter(|cluster| {
            let labels = cluster.labels();
            inline.matches(labels)
                && rule
                    .as_ref()
                    .is_none_or(|rule| rule.selector().matches(labels))
        })
        .collect())
}

/// The objects of a Kustomization at a commit, as the controller would apply them.
pub(super) async fn render(
    client: &Client,
    repository: &Repository,
    commit: Oid,
    kustomization: &Kustomization,
) -> anyhow::Result<BTreeMap<ObjectId, Value>> {
    let view = repository.view(commit, &ViewOptions::default())?;
    let path = kustomization.spec.path.clone().unwrap_or_default();
    let path = path.trim_start_matches("./").trim_matches('/').to_owned();
    let options = spec::options(&kustomization.spec);
    let build = tokio::task::spawn_blocking(move || {
        fairway_kustomize::build(&CommitTree(view), &path, &options)
    })
    .await??;
    let how = finish::Finish {
        variables: variables(kustomization, Some(client)).await?,
        common: kustomization.spec.common_metadata.clone(),
    };
    let objects = build.resources.into_iter().map(|resource| resource.object);
    let objects = finish::finish(objects, &how)?.objects;
    Ok(objects
        .into_iter()
        .filter_map(|object| Some((ObjectId::of(&object)?, object)))
        .collect())
}

/// How two sets of objects differ, for people; values of Secrets are not shown.
pub(super) fn differences(
    before: &BTreeMap<ObjectId, Value>,
    after: &BTreeMap<ObjectId, Value>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, object) in after {
        match before.get(id) {
            None => lines.push(format!("► {} created", id.subject())),
            Some(old) => {
                let changes = field_changes(old, object);
                if !changes.is_empty() {
                    lines.push(format!("► {} changed", id.subject()));
                    lines.extend(changes);
                }
            }
        }
    }
    for id in before.keys().filter(|id| !after.contains_key(*id)) {
        lines.push(format!("► {} deleted", id.subject()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_that_come_change_and_go() {
        let objects = |list: &[Value]| -> BTreeMap<ObjectId, Value> {
            list.iter()
                .map(|object| (ObjectId::of(object).unwrap(), object.clone()))
                .collect()
        };
        let deployment = |image: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "a"}, "spec": {"image": image}});
        let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}});
        let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "a"}, "stringData": {"key": value}});
        let before = objects(&[deployment("1"), map("old"), secret("hush")]);
        let after = objects(&[deployment("2"), map("new"), secret("hush-hush")]);
        let text = differences(&before, &after).join("\n");
        assert!(!text.contains("hush"), "{text}");
        for part in [
            "► ConfigMap/a/new created",
            "► ConfigMap/a/old deleted",
            "► Deployment/a/web changed\n    spec.image",
            "► Secret/a/s changed\n    stringData.key",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(differences(&before, &before).is_empty());
    }
}
