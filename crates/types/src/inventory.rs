//! Inventory ids, exactly as Flux writes them: `<namespace>_<name>_<group>_<kind>`.
//!
//! The names of RBAC objects may contain `:`, which is written `__`. The version is not part of an object's
//! identity; it stands beside the id, as the version to ask the API server for.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Identifies an object in a cluster, whatever the API version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// A text that is no inventory id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId(String);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid inventory id {:?}: expected <namespace>_<name>_<group>_<kind>",
            self.0
        )
    }
}

impl std::error::Error for InvalidId {}

impl ObjectId {
    /// The id of an object, where it has a kind and a name.
    pub fn of(object: &Value) -> Option<Self> {
        let kind = object.get("kind")?.as_str()?;
        let (group, _) = split_api_version(object.get("apiVersion")?.as_str()?);
        let metadata = object.get("metadata")?;
        Some(Self {
            namespace: metadata
                .get("namespace")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            name: metadata.get("name")?.as_str()?.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }

    /// `Kind/namespace/name`, or `Kind/name` where there is no namespace: how Flux names objects in messages.
    pub fn subject(&self) -> String {
        if self.namespace.is_empty() {
            format!("{}/{}", self.kind, self.name)
        } else {
            format!("{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }

    /// The `apiVersion` of this object's kind at `version`.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    fn is_rbac(&self) -> bool {
        self.group == "rbac.authorization.k8s.io"
            && matches!(
                self.kind.as_str(),
                "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding"
            )
    }
}

/// Splits an `apiVersion` into group and version; the core group is empty.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            group,
            kind,
        } = self;
        if self.is_rbac() && name.contains(':') {
            write!(f, "{namespace}_{}_{group}_{kind}", name.replace(':', "__"))
        } else {
            write!(f, "{namespace}_{name}_{group}_{kind}")
        }
    }
}

impl FromStr for ObjectId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (namespace, rest) = text.split_once('_')?;
            let (rest, kind) = rest.rsplit_once('_')?;
            let (name, group) = rest.rsplit_once('_')?;
            Some(Self {
                namespace: namespace.to_owned(),
                name: name.replace("__", ":"),
                group: group.to_owned(),
                kind: kind.to_owned(),
            })
        };
        parse().ok_or_else(|| InvalidId(text.to_owned()))
    }
}

/// One applied object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct InventoryEntry {
    /// The object, as `<namespace>_<name>_<group>_<kind>`.
    pub id: String,
    /// The API version of the object's kind.
    pub v: String,
}

impl InventoryEntry {
    /// The entry of an object at a version.
    pub fn new(id: &ObjectId, version: impl Into<String>) -> Self {
        Self {
            id: id.to_string(),
            v: version.into(),
        }
    }

    /// The id, read.
    pub fn object(&self) -> Result<ObjectId, InvalidId> {
        self.id.parse()
    }
}

/// The objects that a Kustomization has applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// One entry for each object.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub entries: Vec<InventoryEntry>,
}

/// Go writes an empty list that was never made as null.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<InventoryEntry>, D::Error> {
    Ok(Option::<Vec<InventoryEntry>>::deserialize(deserializer)?.unwrap_or_default())
}

impl Inventory {
    /// Whether there is an entry for this object, at any version.
    pub fn contains(&self, id: &ObjectId) -> bool {
        let id = id.to_string();
        self.entries.iter().any(|entry| entry.id == id)
    }

    /// Adds an entry; one of the same object is replaced.
    pub fn insert(&mut self, entry: InventoryEntry) {
        match self.entries.iter_mut().find(|known| known.id == entry.id) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }

    /// Removes the entry of an object; returns whether there was one.
    pub fn remove(&mut self, id: &ObjectId) -> bool {
        let id = id.to_string();
        let before = self.entries.len();
        self.entries.retain(|entry| entry.id != id);
        self.entries.len() != before
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_reads_back(
            namespace in "([a-z][a-z0-9-]{0,8})?",
            name in "[a-z0-9][a-z0-9.-]{0,12}",
            rbac in "[a-z:][a-z:.-]{0,12}",
            group in "([a-z]{1,6}[.][a-z]{1,6})?",
            kind in "[A-Z][A-Za-z]{0,10}",
        ) {
            let plain = ObjectId { namespace: namespace.clone(), name, group, kind };
            prop_assert_eq!(plain.to_string().parse::<ObjectId>(), Ok(plain));
            let role = ObjectId {
                namespace,
                name: rbac,
                group: "rbac.authorization.k8s.io".into(),
                kind: "Role".into(),
            };
            prop_assert_eq!(role.to_string().parse::<ObjectId>(), Ok(role));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(id) = text.parse::<ObjectId>() {
                prop_assert!(text.contains(&id.kind));
            }
        }
    }

    #[test]
    fn ids_read_and_write_as_flux_has_them() {
        for (text, subject) in [
            ("default_podinfo__Service", "Service/default/podinfo"),
            (
                "default_podinfo_apps_Deployment",
                "Deployment/default/podinfo",
            ),
            ("_flux-system__Namespace", "Namespace/flux-system"),
            (
                "_system__node_rbac.authorization.k8s.io_ClusterRole",
                "ClusterRole/system:node",
            ),
            (
                "kube-system_system____leader_rbac.authorization.k8s.io_RoleBinding",
                "RoleBinding/kube-system/system::leader",
            ),
            (
                "_alerts.example.com_apiextensions.k8s.io_CustomResourceDefinition",
                "CustomResourceDefinition/alerts.example.com",
            ),
        ] {
            let id: ObjectId = text.parse().unwrap();
            assert_eq!(id.subject(), subject);
            assert_eq!(id.to_string(), text);
        }
        assert!("a_b".parse::<ObjectId>().is_err());
        assert!("".parse::<ObjectId>().is_err());
    }

    #[test]
    fn the_id_of_an_object_has_no_version() {
        let id = ObjectId::of(&serde_json::json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}
        }))
        .unwrap();
        assert_eq!(id.to_string(), "b_a_apps_Deployment");
        assert_eq!(id.api_version("v1"), "apps/v1");
        assert!(ObjectId::of(&serde_json::json!({"kind": "List"})).is_none());
    }

    #[test]
    fn an_entry_is_replaced_not_doubled() {
        let id: ObjectId = "a_b_c_D".parse().unwrap();
        let mut inventory = Inventory::default();
        inventory.insert(InventoryEntry::new(&id, "v1beta1"));
        inventory.insert(InventoryEntry::new(&id, "v1"));
        assert_eq!(
            inventory.entries,
            [InventoryEntry {
                id: "a_b_c_D".into(),
                v: "v1".into()
            }]
        );
        assert!(inventory.contains(&id));
        assert!(inventory.remove(&id));
        assert!(!inventory.contains(&id));
    }
}
