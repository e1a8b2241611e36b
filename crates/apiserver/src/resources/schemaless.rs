//! Kinds that nobody defined, accepted as they are.

use fairway_schema::structural::Schema;

use super::{Origin, Resource, SchemaRef, ServedVersion};
use crate::store::GroupResource;

/// All that can be done with an object.
pub(crate) const ALL_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// A resource without a schema: any field is kept, maps merge by key, lists as one value.
pub fn schemaless(
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
    namespaced: bool,
) -> Resource {
    Resource {
        id: GroupResource::new(group, plural),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        versions: vec![ServedVersion {
            version: version.to_owned(),
            subresources: Vec::new(),
            scale: None,
            schema: SchemaRef::Builtin(Schema::unknown()),
            rules: None,
            columns: Vec::new(),
            selectable: Vec::new(),
            deprecation: None,
        }],
        storage_version: version.to_owned(),
        generation: true,
        verbs: ALL_VERBS.iter().map(|verb| (*verb).to_owned()).collect(),
        origin: Origin::Schemaless,
    }
}
