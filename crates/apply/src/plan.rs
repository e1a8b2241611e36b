//! What an apply is going to do, from the desired objects and the last inventory. Pure.

mod normalise;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::BuildHasher,
};

use fairway_types::{
    Inventory, InventoryEntry, ObjectId,
    inventory::split_api_version,
    names::{self, DISABLED, ENABLED},
};
use serde_json::Value;

use crate::order::{self, Stage};

/// The Kustomization that owns the objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Name of the Kustomization.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl Owner {
    /// The owner that an object's labels name.
    pub fn of(object: &Value) -> Option<Self> {
        let labels = object.pointer("/metadata/labels")?;
        let text = |key: &str| labels.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            name: text(names::OWNER_NAME)?,
            namespace: text(names::OWNER_NAMESPACE)?,
        })
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is wrong with the desired objects; nothing is applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something in the list is no Kubernetes object.
    #[error("object {position} of the build has no {missing}")]
    NoObject {
        /// Place in the list, from one.
        position: usize,
        /// The missing field.
        missing: &'static str,
    },
    /// The same object twice.
    #[error("{0} is declared more than once")]
    Duplicate(String),
    /// A Secret still has its values encrypted.
    #[error(
        "{0} is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
    )]
    Encrypted(String),
    /// Nothing is desired although something was applied.
    #[error(
        "the build is empty but {0} objects were applied before, so that all of them would be deleted\n\
         hint: delete the Kustomization, or set prune to false, if that is what you want"
    )]
    EmptiesInventory(usize),
}

/// How one object is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Applied; fields that others set over kubectl are taken over.
    Override,
    /// Applied; fields that others set stay theirs.
    Merge,
    /// Created where it is missing, else left alone.
    IfNotPresent,
    /// Neither applied nor deleted; it stays in the inventory.
    Skip,
}

/// One object to apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Its identity.
    pub id: ObjectId,
    /// Its API version, without the group.
    pub version: String,
    /// The object as it is sent, with the owner's labels.
    pub object: Value,
    /// How it is applied.
    pub policy: Policy,
    /// Whether it is recreated where an immutable field changes.
    pub force: bool,
}

/// What an apply is going to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The objects of each stage, in order.
    pub stages: BTreeMap<Stage, Vec<Desired>>,
    /// What was applied before and is no longer desired, in the order of deletion.
    pub stale: Vec<InventoryEntry>,
}

impl Plan {
    /// All objects, in the order of application.
    pub fn objects(&self) -> impl Iterator<Item = &Desired> {
        self.stages.values().flatten()
    }

    /// The inventory that the plan leads to.
    pub fn inventory(&self) -> Inventory {
        Inventory {
            entries: self
                .objects()
                .map(|desired| InventoryEntry::new(&desired.id, &*desired.version))
                .collect(),
        }
    }
}

/// Settings of one plan.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Whose objects these are.
    pub owner: &'a Owner,
    /// Recreates any object where an immutable field changes.
    pub force: bool,
    /// Accepts that an empty build deletes everything.
    pub allow_empty: bool,
}

/// Plans an apply.
///
/// Objects lose what belongs to the server (`status`, `managedFields`, `uid` …) and get the owner's labels. Values
/// that server-side apply is known to stumble over are normalised as Flux does it. What is stale is decided by
/// identity without the version, so that moving an object to another API version never deletes it.
pub fn plan(
    desired: Vec<Value>,
    previous: &Inventory,
    settings: Settings<'_>,
) -> Result<Plan, PlanError> {
    let mut plan = Plan::default();
    let mut wanted = HashSet::new();
    for (index, object) in desired.into_iter().enumerate() {
        let desired = prepare(object, index + 1, settings)?;
        if !wanted.insert(desired.id.clone()) {
            return Err(PlanError::Duplicate(desired.id.subject()));
        }
        plan.stages
            .entry(Stage::of(&desired.id))
            .or_default()
            .push(desired);
    }
    if wanted.is_empty() && !previous.entries.is_empty() && !settings.allow_empty {
        return Err(PlanError::EmptiesInventory(previous.entries.len()));
    }
    for stage in plan.stages.values_mut() {
        stage.sort_by(|a, b| order::compare(&a.id, &b.id));
    }
    plan.stale = stale(previous, &wanted);
    Ok(plan)
}

/// What an inventory has and is not wanted, in the order of deletion. An entry that cannot be read is left out: what
/// it meant is unknown, so it must not be deleted.
pub fn stale<S: BuildHasher>(
    previous: &Inventory,
    wanted: &HashSet<ObjectId, S>,
) -> Vec<InventoryEntry> {
    let mut stale: Vec<(ObjectId, InventoryEntry)> = previous
        .entries
        .iter()
        .filter_map(|entry| Some((entry.object().ok()?, entry.clone())))
        .filter(|(id, _)| !wanted.contains(id))
        .collect();
    stale.sort_by(|(a, _), (b, _)| order::compare(b, a));
    stale.dedup_by(|(a, _), (b, _)| a == b);
    stale.into_iter().map(|(_, entry)| entry).collect()
}

/// Whether an object's label or annotation has this value.
pub fn marked(object: &Value, key: &str, value: &str) -> bool {
    ["labels", "annotations"].iter().any(|place| {
        let found = object
            .get("metadata")
            .and_then(|metadata| metadata.get(place))
            .and_then(|map| map.get(key));
        found
            .and_then(Value::as_str)
            .is_some_and(|text| text.eq_ignore_ascii_case(value))
    })
}

/// Whether an object says that it is neither applied nor deleted.
pub fn excluded(object: &Value) -> bool {
    marked(object, names::RECONCILE, DISABLED) || marked(object, names::SSA, names::SSA_IGNORE)
}

fn prepare(
    mut object: Value,
    position: usize,
    settings: Settings<'_>,
) -> Result<Desired, PlanError> {
    let missing = |missing| PlanError::NoObject { position, missing };
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let api_version = text("/apiVersion").ok_or(missing("apiVersion"))?.to_owned();
    text("/kind").ok_or(missing("kind"))?;
    text("/metadata/name").ok_or(missing("metadata.name"))?;
    let id = ObjectId::of(&object).ok_or(missing("metadata"))?;
    if is_encrypted(&object) && !marked(&object, names::DECRYPT, DISABLED) {
        return Err(PlanError::Encrypted(id.subject()));
    }
    let policy = if excluded(&object) {
        Policy::Skip
    } else if marked(&object, names::SSA, names::SSA_IF_NOT_PRESENT) {
        Policy::IfNotPresent
    } else if marked(&object, names::SSA, names::SSA_MERGE) {
        Policy::Merge
    } else {
        Policy::Override
    };
    let force = settings.force || marked(&object, names::FORCE, ENABLED);
    normalise::normalise(&mut object, &id, settings.owner);
    let (_, version) = split_api_version(&api_version);
    Ok(Desired {
        version: version.to_owned(),
        id,
        object,
        policy,
        force,
    })
}

/// Whether a Secret holds SOPS-encrypted values.
fn is_encrypted(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("sops").is_some_and(Value::is_object)
}

/// Looks for objects that two owners claim: those of `plans` that another owner's inventory has too. The answer
/// names both, so that a cluster with two engines is refused instead of fought over.
pub fn claimed_twice<'a, S: BuildHasher>(
    wanted: impl IntoIterator<Item = &'a ObjectId>,
    others: &HashMap<Owner, Inventory, S>,
) -> Vec<(&'a ObjectId, Owner)> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut claims = Vec::new();
    for (owner, inventory) in others {
        claims.extend(
            wanted
                .iter()
                .filter(|id| inventory.contains(id))
                .map(|id| (*id, owner.clone())),
        );
    }
    claims.sort();
    claims
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn owner() -> Owner {
        Owner {
            name: "apps".into(),
            namespace: "flux-system".into(),
        }
    }

    fn settings(owner: &Owner) -> Settings<'_> {
        Settings {
            owner,
            force: false,
            allow_empty: false,
        }
    }

    fn inventory(ids: &[&str]) -> Inventory {
        Inventory {
            entries: ids
                .iter()
                .map(|id| InventoryEntry {
                    id: (*id).to_owned(),
                    v: "v1".into(),
                })
                .collect(),
        }
    }

    fn config_map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}})
    }

    #[test]
    fn objects_are_staged_ordered_and_labelled() {
        let objects = vec![
            config_map("b"),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "status": {"phase": "Active"}}),
            config_map("a"),
        ];
        let plan = plan(objects, &Inventory::default(), settings(&owner())).unwrap();
        let order: Vec<_> = plan.objects().map(|desired| desired.id.subject()).collect();
        assert_eq!(order, ["Namespace/a", "ConfigMap/a/a", "ConfigMap/a/b"]);
        assert_eq!(plan.stages[&Stage::Definitions].len(), 1);
        for desired in plan.objects() {
            assert_eq!(Owner::of(&desired.object), Some(owner()));
            assert!(desired.object.get("status").is_none());
        }
    }

    #[test]
    fn stale_objects_go_in_reverse_order() {
        let previous = inventory(&[
            "_a__Namespace",
            "a_b__ConfigMap",
            "a_web_apps_Deployment",
            "a_a__ConfigMap",
            "nonsense",
        ]);
        let plan = plan(vec![config_map("a")], &previous, settings(&owner())).unwrap();
        let stale: Vec<_> = plan.stale.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(
            stale,
            ["a_web_apps_Deployment", "a_b__ConfigMap", "_a__Namespace"]
        );
    }

    #[test]
    fn another_version_of_an_object_is_the_same_object() {
        let previous = Inventory {
            entries: vec![InventoryEntry {
                id: "a_w_example.com_Widget".into(),
                v: "v1beta1".into(),
            }],
        };
        let object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "a"}});
        let plan = plan(vec![object], &previous, settings(&owner())).unwrap();
        assert!(plan.stale.is_empty());
        assert_eq!(plan.inventory().entries[0].v, "v1");
    }

    #[test]
    fn an_empty_build_does_not_empty_a_cluster() {
        let previous = inventory(&["a_a__ConfigMap"]);
        let error = plan(Vec::new(), &previous, settings(&owner())).unwrap_err();
        assert_eq!(error, PlanError::EmptiesInventory(1));
        let owner = owner();
        let allowed = Settings {
            allow_empty: true,
            ..settings(&owner)
        };
        assert_eq!(plan(Vec::new(), &previous, allowed).unwrap().stale.len(), 1);
    }

    #[test]
    fn what_is_no_object_is_refused_by_its_place() {
        let refused = |object| {
            plan(
                vec![config_map("a"), object],
                &Inventory::default(),
                settings(&owner()),
            )
            .unwrap_err()
        };
        assert_eq!(
            refused(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})),
            PlanError::NoObject {
                position: 2,
                missing: "metadata.name"
            }
        );
        assert_eq!(
            refused(config_map("a")),
            PlanError::Duplicate("ConfigMap/a/a".into())
        );
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "a"}, "sops": {"mac": "x"}});
        assert_eq!(refused(secret), PlanError::Encrypted("Secret/a/s".into()));
    }

    #[test]
    fn markers_decide_how_an_object_is_applied() {
        let policy = |key: &str, value: &str| {
            let mut object = config_map("a");
            object["metadata"]["annotations"] = json!({key: value});
            let plan = plan(vec![object], &Inventory::default(), settings(&owner())).unwrap();
            plan.objects()
                .next()
                .map(|desired| (desired.policy, desired.force))
                .unwrap()
        };
        assert_eq!(policy(names::RECONCILE, "disabled"), (Policy::Skip, false));
        assert_eq!(policy(names::SSA, "Ignore"), (Policy::Skip, false));
        assert_eq!(
            policy(names::SSA, "IfNotPresent"),
            (Policy::IfNotPresent, false)
        );
        assert_eq!(policy(names::SSA, "Merge"), (Policy::Merge, false));
        assert_eq!(policy(names::FORCE, "enabled"), (Policy::Override, true));
        assert_eq!(policy("other", "Ignore"), (Policy::Override, false));
    }

    #[test]
    fn values_that_apply_stumbles_over_are_normalised() {
        let objects = vec![
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "a"},
                   "data": {"a": "YQ=="}, "stringData": {"b": "b"}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "a"},
                   "spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}}),
        ];
        let plan = plan(objects, &Inventory::default(), settings(&owner())).unwrap();
        let objects: Vec<_> = plan.objects().map(|desired| &desired.object).collect();
        assert_eq!(objects[0]["data"], json!({"a": "YQ==", "b": "Yg=="}));
        assert!(objects[0].get("stringData").is_none());
        assert_eq!(objects[1]["spec"]["ports"][0]["protocol"], "TCP");
        assert_eq!(objects[1]["spec"]["ports"][1]["protocol"], "UDP");
    }

    fn names() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::hash_set(0_u8..20, 0..12).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        /// The one thing that must never happen: deleting what is desired.
        #[test]
        fn nothing_desired_is_ever_stale(desired in names(), previous in names(), versions in "v[1-2]") {
            let name = |n: &u8| format!("n{n}");
            let objects: Vec<_> = desired.iter().map(|n| config_map(&name(n))).collect();
            let previous = Inventory {
                entries: previous
                    .iter()
                    .map(|n| InventoryEntry { id: format!("a_{}__ConfigMap", name(n)), v: versions.clone() })
                    .collect(),
            };
            let owner = owner();
            let plan = plan(objects, &previous, Settings { allow_empty: true, ..settings(&owner) }).unwrap();
            let inventory = plan.inventory();
            for entry in &plan.stale {
                prop_assert!(!inventory.entries.iter().any(|kept| kept.id == entry.id));
                prop_assert!(previous.entries.iter().any(|known| known.id == entry.id));
            }
            let covered = previous.entries.iter().all(|entry| {
                plan.stale.iter().chain(&inventory.entries).any(|found| found.id == entry.id)
            });
            prop_assert!(covered, "every previous object is either kept or stale");
        }
    }
}
