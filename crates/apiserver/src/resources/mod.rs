//! The kinds that a cluster serves: built-in ones, shared by all clusters, and those that CRDs add.

mod builtin;
mod registry;
mod schemaless;

use std::ops::Deref;
use std::sync::Arc;

use fairway_schema::structural::Schema;

use crate::crd::Rules;
use crate::store::GroupResource;
pub use builtin::builtin;
pub use registry::{Registry, Served};
pub use schemaless::schemaless;

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
    /// JSON pointer of the wished replicas, for example `/spec/replicas`.
    pub spec_replicas: String,
    /// JSON pointer of the actual replicas.
    pub status_replicas: String,
    /// JSON pointer of the selector: a LabelSelector of built-in kinds, serialised text of custom ones.
    pub selector: Option<String>,
}

/// A subresource as discovery lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `token`, …
    pub name: String,
    /// Kind that it takes and gives.
    pub kind: String,
    /// Group and version of that kind, where they are not the resource's own.
    pub group_version: Option<(String, String)>,
    /// Verbs.
    pub verbs: Vec<String>,
}

/// A column of a CRD's `additionalPrinterColumns`.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: String,
    /// OpenAPI format.
    pub format: String,
    /// What it means.
    pub description: String,
    /// Above zero: shown with `-o wide` only.
    pub priority: i64,
    /// Where the value is, for example `.status.phase`.
    pub json_path: String,
}

/// The schema of a version.
#[derive(Clone, Debug)]
pub enum SchemaRef {
    /// A built-in type.
    Builtin(&'static Schema),
    /// A CRD's.
    Custom(Arc<Schema>),
}

impl Deref for SchemaRef {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match self {
            Self::Builtin(schema) => schema,
            Self::Custom(schema) => schema,
        }
    }
}

/// One served version.
#[derive(Clone, Debug)]
pub struct ServedVersion {
    /// Version, for example `v1`.
    pub version: String,
    /// Subresources.
    pub subresources: Vec<Subresource>,
    /// Where its `scale` subresource finds the numbers.
    pub scale: Option<ScalePaths>,
    /// Its schema.
    pub schema: SchemaRef,
    /// Rules in CEL of a custom resource, which may be none.
    pub(crate) rules: Option<Arc<Rules>>,
    /// Columns of tables; built-in kinds have theirs in code.
    pub columns: Vec<Column>,
    /// Fields that field selectors may name besides name and namespace, as JSON paths.
    pub selectable: Vec<String>,
    /// The `Warning` that answers carry when this version is asked for.
    pub deprecation: Option<String>,
}

impl ServedVersion {
    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// A kind as the REST API serves it.
#[derive(Clone, Debug)]
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
            .or(self.versions.first())
            .is_some_and(|v| v.subresource("status").is_some())
    }

    /// Whether a verb is served.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// Whether the resource is of this group and name.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        &*self.id.group == group && &*self.id.resource == resource
    }
}

/// `apiVersion` of a group and version.
pub fn api_version(group: &str, version: &str) -> String {
    fairway_schema::kinds::api_version(group, version)
}

/// A resource that is shared between the clusters that serve it.
pub type SharedResource = Arc<Resource>;
