//! The kinds that a cluster serves: built-in ones, shared by all clusters, and those that CRDs add.

mod registry;

use std::sync::Arc;

use crate::store::GroupResource;
pub use registry::Registry;

/// Where a resource comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Part of Kubernetes.
    Builtin,
    /// Added by a CustomResourceDefinition.
    Custom,
    /// Accepted without a schema, as `fairway demo --repo` needs it for kinds it doesn't know.
    Schemaless,
}

/// Where a `scale` subresource finds its numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScalePaths {
    /// Field path of the wished replicas, for example `.spec.replicas`.
    pub spec_replicas: String,
    /// Field path of the actual replicas.
    pub status_replicas: String,
    /// Field path of the selector (in serialised form, or a LabelSelector for built-in kinds).
    pub selector: Option<String>,
}

/// One served version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServedVersion {
    /// Version, for example `v1`.
    pub version: String,
    /// Whether it has a `status` subresource.
    pub status: bool,
    /// Its `scale` subresource.
    pub scale: Option<ScalePaths>,
}

/// A kind as the REST API serves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// Group and plural name: the key in the store.
    pub id: GroupResource,
    /// Kind, for example `Deployment`.
    pub kind: String,
    /// Kind of lists, usually with `List` appended.
    pub list_kind: String,
    /// Singular name.
    pub singular: String,
    /// Short names, for example `deploy`.
    pub short_names: Vec<String>,
    /// Categories, for example `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Served versions, preferred first.
    pub versions: Vec<ServedVersion>,
    /// The version that objects are stored in.
    pub storage_version: String,
    /// Whether `metadata.generation` counts changes of the wished state.
    pub generation: bool,
    /// Verbs, in the order that discovery lists them.
    pub verbs: Vec<String>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Resource {
    /// `group/version` of the storage version, as in `apiVersion`.
    pub fn storage_api_version(&self) -> String {
        api_version(&self.id.group, &self.storage_version)
    }

    /// The served version of that name.
    pub fn version(&self, version: &str) -> Option<&ServedVersion> {
        self.versions.iter().find(|v| v.version == version)
    }

    /// Whether the stored version has a `status` subresource, so that writes of the object leave it alone.
    pub fn has_status(&self) -> bool {
        self.version(&self.storage_version)
            .is_some_and(|v| v.status)
    }
}

/// `apiVersion` of a group and version.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// A resource that is shared between the clusters that serve it.
pub type SharedResource = Arc<Resource>;
