//! What a FleetKustomization wants to exist, as a pure function of what is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_types::fleet::{ClusterMatch, OnLeave};
use fairway_types::reference::SourceReference;
use fairway_types::{
    Cluster, ClusterSelector, FleetKustomization, Kustomization, KustomizationSpec, names,
};
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::child_name;
use super::template::{self, ClusterFacts};

/// Why a fleet cannot be fanned out at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// `selectorRef` names nothing.
    #[error("ClusterSelector '{0}' not found in namespace '{1}'")]
    NoSuchSelector(String, String),
}

/// Why one cluster has no Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// The template has no result for it.
    #[error(transparent)]
    Template(#[from] template::Error),
    /// The result is no Kustomization.
    #[error("the rendered template is no valid Kustomization: {0}")]
    Invalid(String),
    /// An object of that name exists and is not ours.
    #[error(
        "Kustomization '{0}' exists and does not belong to this FleetKustomization; it is left alone, hint: rename one of the two"
    )]
    Foreign(String),
}

/// What is to be done with the Kustomization of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is as it should be.
    Keep,
    /// Create or change it: the whole object, for server-side apply.
    Apply(Value),
    /// Point it at another source and leave all else as it is: a merge patch.
    Hold(Value),
    /// Nothing can be done.
    Refuse(ChildError),
}

/// Where a child gets its source from, see [`crate::rollout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// From where the template says.
    Follow,
    /// From a hold.
    Hold {
        /// The hold.
        source: SourceReference,
        /// Whether the rest of the spec stays as it is too.
        keep: bool,
    },
    /// It stays as it is, and is not created.
    Leave,
}

/// One matching cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Name of the Cluster.
    pub cluster: String,
    /// Name of its Kustomization.
    pub name: String,
    /// What to do.
    pub action: Action,
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The matching clusters by name.
    pub children: Vec<Child>,
    /// Kustomizations of clusters that match no more: name, and the `deletionPolicy` to set before the deletion, if any.
    pub leavers: Vec<(String, Option<&'static str>)>,
}

/// The clusters that a fleet selects, by name.
pub fn select<'c>(
    wanted: &ClusterMatch,
    namespace: &str,
    clusters: &'c [Arc<Cluster>],
    selectors: &dyn Fn(&str) -> Option<Arc<ClusterSelector>>,
) -> Result<Vec<&'c Arc<Cluster>>, SelectError> {
    let named = match &wanted.selector_ref {
        None => None,
        Some(reference) => Some(
            selectors(&reference.name)
                .ok_or_else(|| {
                    SelectError::NoSuchSelector(reference.name.clone(), namespace.to_owned())
                })?
                .spec
                .selector(),
        ),
    };
    let inline = wanted.selector();
    Ok(clusters
        .iter()
        .filter(|cluster| cluster.namespace().as_deref() == Some(namespace))
        .filter(|cluster| {
            let labels = cluster.labels();
            inline.matches(labels) && named.as_ref().is_none_or(|rule| rule.matches(labels))
        })
        .collect())
}

/// Whether a Kustomization was made by this fleet: by label and by the uid of the owner.
pub fn is_child(fleet: &FleetKustomization, candidate: &Kustomization) -> bool {
    candidate.labels().get(names::FLEET_NAME) == Some(&fleet.name_any())
        && candidate
            .owner_references()
            .iter()
            .any(|owner| Some(&owner.uid) == fleet.metadata.uid.as_ref())
}

/// Compares what should be with what is. `existing` finds a Kustomization of the fleet's namespace by name.
///
/// The plan of a suspended cluster's child is to keep it, whatever it is.
pub fn plan(
    fleet: &FleetKustomization,
    matching: &[&Arc<Cluster>],
    children: &[Arc<Kustomization>],
    existing: &dyn Fn(&str) -> Option<Arc<Kustomization>>,
    placement: &dyn Fn(&str) -> Placement,
) -> Plan {
    let mut plan = Plan {
        children: Vec::new(),
        leavers: Vec::new(),
    };
    for cluster in matching {
        let name = child_name(&fleet.name_any(), &cluster.name_any());
        let found = existing(&name);
        let action = match found.as_deref() {
            Some(other) if !is_child(fleet, other) => {
                Action::Refuse(ChildError::Foreign(name.clone()))
            }
            Some(_) if cluster.spec.suspend => Action::Keep,
            None if cluster.spec.suspend => Action::Keep,
            found => match (placement(&cluster.name_any()), found) {
                (Placement::Leave, _) => Action::Keep,
                (Placement::Hold { source, keep: true }, Some(found)) => {
                    if found.spec.source_ref == source {
                        Action::Keep
                    } else {
                        Action::Hold(hold(&source))
                    }
                }
                (placement, found) => match render(fleet, cluster, &name) {
                    Err(error) => Action::Refuse(error),
                    Ok(mut wanted) => {
                        if let Placement::Hold { source, .. } = placement {
                            wanted["spec"]["sourceRef"] = json!(source);
                        }
                        if found.is_some_and(|found| is_same(found, &wanted)) {
                            Action::Keep
                        } else {
                            Action::Apply(wanted)
                        }
                    }
                },
            },
        };
        plan.children.push(Child {
            cluster: cluster.name_any(),
            name,
            action,
        });
    }
    for child in children.iter().filter(|child| is_child(fleet, child)) {
        let name = child.name_any();
        if plan.children.iter().any(|wanted| wanted.name == name)
            || child.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        let orphans =
            child.spec.deletion_policy() == fairway_types::kustomization::DeletionPolicy::Orphan;
        let policy = match fleet.spec.on_leave {
            OnLeave::Orphan if !orphans => Some("Orphan"),
            OnLeave::Prune if orphans => Some("Delete"),
            _ => None,
        };
        plan.leavers.push((name, policy));
    }
    plan
}

/// The merge patch that points a Kustomization at another source.
fn hold(source: &SourceReference) -> Value {
    json!({"spec": {"sourceRef": {
        "apiVersion": source.api_version,
        "kind": source.kind,
        "name": source.name,
        "namespace": source.namespace,
    }}})
}

/// The Kustomization of one of the matching clusters as its template has it.
pub(crate) fn find(
    fleet: &FleetKustomization,
    matching: &[&Arc<Cluster>],
    name: &str,
) -> Option<Kustomization> {
    let cluster = matching.iter().find(|cluster| cluster.name_any() == name)?;
    let object = render(fleet, cluster, &child_name(&fleet.name_any(), name)).ok()?;
    serde_json::from_value(object).ok()
}

/// The Kustomization of one cluster.
pub fn render(
    fleet: &FleetKustomization,
    cluster: &Cluster,
    name: &str,
) -> Result<Value, ChildError> {
    let facts = ClusterFacts {
        name: cluster.name_any(),
        namespace: cluster.namespace().unwrap_or_default(),
        labels: cluster.labels().clone(),
    };
    let template = &fleet.spec.template;
    let mut spec = match template::render(&Value::Object(template.spec.clone()), &facts)? {
        Value::Object(spec) => spec,
        _ => Map::new(),
    };
    if let Some(reference) = &cluster.spec.kube_config {
        spec.insert("kubeConfig".into(), json!(reference));
    }
    if !fleet.spec.depends_on.is_empty() {
        let siblings = fleet
            .spec
            .depends_on
            .iter()
            .map(|dependency| json!({"name": child_name(&dependency.name, &facts.name)}));
        match spec.entry("dependsOn").or_insert_with(|| json!([])) {
            Value::Array(list) => list.extend(siblings),
            _ => return Err(ChildError::Invalid("spec.dependsOn: must be a list".into())),
        }
    }
    if let Some(post_build) = spec.get_mut("postBuild").and_then(Value::as_object_mut) {
        add_variables(post_build, &facts);
    }
    if fleet.spec.rollout.is_some()
        && !spec.contains_key("wait")
        && !spec.contains_key("healthChecks")
    {
        // A wave is as good as what is known of its health.
        spec.insert("wait".into(), json!(true));
    }
    if fleet.spec.on_leave == OnLeave::Orphan {
        // On the object itself, so that the workloads outlive it whoever deletes it, and however.
        spec.insert("deletionPolicy".into(), json!("Orphan"));
    }
    let typed: KustomizationSpec = serde_json::from_value(Value::Object(spec.clone()))
        .map_err(|error| ChildError::Invalid(format!("spec: {error}")))?;
    drop(typed);

    let mut labels = BTreeMap::new();
    for key in names::CLUSTER_LABELS {
        if let Some(value) = facts.labels.get(key) {
            labels.insert(key.to_owned(), value.clone());
        }
    }
    for (key, value) in &template.metadata.labels {
        labels.insert(
            key.clone(),
            template::render_text(value, &facts, "template.metadata.labels")?,
        );
    }
    labels.insert(names::FLEET_NAME.to_owned(), fleet.name_any());
    labels.insert(names::CLUSTER_NAME.to_owned(), label_value(&facts.name));
    let mut annotations = BTreeMap::new();
    for (key, value) in &template.metadata.annotations {
        annotations.insert(
            key.clone(),
            template::render_text(value, &facts, "template.metadata.annotations")?,
        );
    }
    let mut metadata = json!({
        "name": name,
        "namespace": facts.namespace,
        "labels": labels,
        "ownerReferences": [{
            "apiVersion": "fleet.fairway.dev/v1alpha1",
            "kind": "FleetKustomization",
            "name": fleet.name_any(),
            "uid": fleet.metadata.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    Ok(json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": metadata,
        "spec": spec,
    }))
}

/// Names of Clusters may be longer than label values.
fn label_value(name: &str) -> String {
    if name.len() <= super::child::MAX_NAME {
        name.to_owned()
    } else {
        child_name("", name)
    }
}

fn add_variables(post_build: &mut Map<String, Value>, facts: &ClusterFacts) {
    let Some(variables) = post_build
        .entry("substitute")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    else {
        return;
    };
    let label = |key: &str| facts.labels.get(key).filter(|value| !value.is_empty());
    let known = [
        ("CLUSTER_NAME", Some(&facts.name)),
        ("ENVIRONMENT", label("environment")),
        ("REGION", label("region")),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            variables.entry(name).or_insert_with(|| json!(value));
        }
    }
}

/// Whether the live child already says what is wanted. Specs are compared in their typed form, so that a default that
/// the API server filled in is no difference.
fn is_same(live: &Kustomization, wanted: &Value) -> bool {
    let Ok(wanted) = serde_json::from_value::<Kustomization>(wanted.clone()) else {
        return false;
    };
    let covers = |live: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(key, value)| live.get(key) == Some(value))
    };
    live.spec == wanted.spec
        && covers(live.labels(), wanted.labels())
        && covers(live.annotations(), wanted.annotations())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(
        fleet: &FleetKustomization,
        matching: &[&Arc<Cluster>],
        children: &[Arc<Kustomization>],
        existing: &dyn Fn(&str) -> Option<Arc<Kustomization>>,
    ) -> Plan {
        super::plan(fleet, matching, children, existing, &|_| Placement::Follow)
    }

    fn fleet(spec: Value) -> FleetKustomization {
        let mut fleet: FleetKustomization = serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
            "metadata": {"name": "apps", "namespace": "fs", "uid": "u-1"}, "spec": spec,
        }))
        .unwrap();
        fleet.metadata.generation = Some(1);
        fleet
    }

    fn cluster(name: &str, labels: Value) -> Arc<Cluster> {
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
                "metadata": {"name": name, "namespace": "fs", "labels": labels},
                "spec": {"kubeConfig": {"secretRef": {"name": format!("{name}-kubeconfig")}}},
            }))
            .unwrap(),
        )
    }

    fn template() -> Value {
        json!({
            "clusterSelector": {"matchLabels": {"environment": "dev"}},
            "dependsOn": [{"name": "platform"}],
            "template": {"spec": {
                "interval": "10m", "prune": true, "path": "clusters/{{ cluster.labels.environment }}/{{ cluster.labels.region }}",
                "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
                "postBuild": {"substitute": {"REGION": "mine"}},
            }},
        })
    }

    fn labels() -> Value {
        json!({"environment": "dev", "region": "eu", "team": "t", "other": "x"})
    }

    fn applied(action: &Action) -> Kustomization {
        let Action::Apply(object) = action else {
            panic!("{action:?}")
        };
        serde_json::from_value(object.clone()).unwrap()
    }

    #[test]
    fn a_child_is_an_ordinary_kustomization() {
        let (fleet, cluster) = (fleet(template()), cluster("dev-eu", labels()));
        let plan = plan(&fleet, &[&cluster], &[], &|_| None);
        let child = applied(&plan.children[0].action);
        assert_eq!(child.name_any(), "apps-dev-eu");
        assert_eq!(child.spec.path.as_deref(), Some("clusters/dev/eu"));
        assert_eq!(child.spec.depends_on[0].name, "platform-dev-eu");
        let secret = child
            .spec
            .kube_config
            .as_ref()
            .unwrap()
            .secret_ref
            .as_ref()
            .unwrap();
        assert_eq!(secret.name, "dev-eu-kubeconfig");
        let variables = &child.spec.post_build.as_ref().unwrap().substitute;
        assert_eq!(variables["CLUSTER_NAME"], "dev-eu");
        assert_eq!(variables["ENVIRONMENT"], "dev");
        assert_eq!(variables["REGION"], "mine", "what the template says wins");
        assert_eq!(child.labels()["team"], "t");
        assert!(!child.labels().contains_key("other"));
        assert!(is_child(&fleet, &child));
    }

    #[test]
    fn a_child_that_is_as_it_should_be_is_kept() {
        let (fleet, cluster) = (fleet(template()), cluster("dev-eu", labels()));
        let first = plan(&fleet, &[&cluster], &[], &|_| None);
        let child = Arc::new(applied(&first.children[0].action));
        let again = plan(&fleet, &[&cluster], std::slice::from_ref(&child), &|_| {
            Some(child.clone())
        });
        assert_eq!(again.children[0].action, Action::Keep);
        let mut edited = (*child).clone();
        edited.spec.prune = false;
        let edited = Arc::new(edited);
        let repaired = plan(&fleet, &[&cluster], std::slice::from_ref(&edited), &|_| {
            Some(edited.clone())
        });
        assert!(applied(&repaired.children[0].action).spec.prune);
    }

    #[test]
    fn a_foreign_object_is_never_adopted() {
        let (fleet, cluster) = (fleet(template()), cluster("dev-eu", labels()));
        let first = plan(&fleet, &[&cluster], &[], &|_| None);
        let mut foreign = applied(&first.children[0].action);
        foreign.metadata.owner_references = None;
        let foreign = Arc::new(foreign);
        let plan = plan(&fleet, &[&cluster], std::slice::from_ref(&foreign), &|_| {
            Some(foreign.clone())
        });
        assert_eq!(
            plan.children[0].action,
            Action::Refuse(ChildError::Foreign("apps-dev-eu".into()))
        );
        assert!(plan.leavers.is_empty());
    }

    #[test]
    fn a_missing_label_fails_that_cluster_alone() {
        let fleet = fleet(template());
        let (good, bad) = (
            cluster("good", labels()),
            cluster("bad", json!({"environment": "dev"})),
        );
        let plan = plan(&fleet, &[&bad, &good], &[], &|_| None);
        assert!(matches!(
            plan.children[0].action,
            Action::Refuse(ChildError::Template(_))
        ));
        assert!(matches!(plan.children[1].action, Action::Apply(_)));
    }

    #[test]
    fn who_leaves_keeps_the_workloads_unless_prune_is_asked_for() {
        let (stay, cluster) = (fleet(template()), cluster("dev-eu", labels()));
        let first = plan(&stay, &[&cluster], &[], &|_| None);
        let child = Arc::new(applied(&first.children[0].action));
        assert_eq!(
            child.spec.deletion_policy(),
            fairway_types::kustomization::DeletionPolicy::Orphan,
            "said on the object itself"
        );
        let left = plan(&stay, &[], std::slice::from_ref(&child), &|_| None);
        assert_eq!(left.leavers, [("apps-dev-eu".to_owned(), None)]);
        let mut spec = template();
        spec["onLeave"] = json!("Prune");
        let prune = fleet(spec);
        let left = plan(&prune, &[], std::slice::from_ref(&child), &|_| None);
        assert_eq!(left.leavers, [("apps-dev-eu".to_owned(), Some("Delete"))]);
    }

    #[test]
    fn selects_by_labels_and_by_a_named_rule() {
        let clusters = [
            cluster("a", json!({"environment": "dev"})),
            cluster("b", json!({"environment": "dev", "region": "eu"})),
        ];
        let rule: ClusterSelector = serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "ClusterSelector", "metadata": {"name": "eu"},
            "spec": {"matchLabels": {"region": "eu"}},
        }))
        .unwrap();
        let rule = Arc::new(rule);
        let wanted: ClusterMatch = serde_json::from_value(
            json!({"matchLabels": {"environment": "dev"}, "selectorRef": {"name": "eu"}}),
        )
        .unwrap();
        let found = select(&wanted, "fs", &clusters, &|name| {
            (name == "eu").then(|| rule.clone())
        })
        .unwrap();
        assert_eq!(
            found.iter().map(|c| c.name_any()).collect::<Vec<_>>(),
            ["b"]
        );
        assert!(select(&wanted, "fs", &clusters, &|_| None).is_err());
        assert!(
            select(&wanted, "elsewhere", &clusters, &|_| Some(rule.clone()))
                .unwrap()
                .is_empty()
        );
    }
}
