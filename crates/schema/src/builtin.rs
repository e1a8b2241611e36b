//! Structural schemas of the built-in Kubernetes types.
//!
//! The table is one definition a line; a definition is decoded when it is first used, and references between
//! definitions stay references, so recursive types cost nothing.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::structural::{Node, OBJECT_META, Schema};

static TABLE: &str = include_str!("../data/types.tsv");

struct Definition {
    name: &'static str,
    text: &'static str,
    schema: OnceLock<Schema>,
}

struct Table {
    definitions: Vec<Definition>,
    by_name: HashMap<&'static str, usize>,
    by_kind: HashMap<&'static str, usize>,
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut table = Table {
            definitions: Vec::new(),
            by_name: HashMap::new(),
            by_kind: HashMap::new(),
        };
        for line in TABLE.lines() {
            let mut columns = line.split('\t');
            let mut column = || {
                columns
                    .next()
                    .expect("the generated table has three columns")
            };
            let (name, kinds, text) = (column(), column(), column());
            let index = table.definitions.len();
            table.by_name.insert(name, index);
            table.by_kind.extend(
                kinds
                    .split(',')
                    .filter(|kind| !kind.is_empty())
                    .map(|kind| (kind, index)),
            );
            table.definitions.push(Definition {
                name,
                text,
                schema: OnceLock::new(),
            });
        }
        table
    })
}

/// The schema of a built-in kind. `None` for custom resources, and for versions that no server serves by default.
pub fn schema(group: &str, version: &str, kind: &str) -> Option<&'static Schema> {
    let index = *table()
        .by_kind
        .get(format!("{group}/{version}/{kind}").as_str())?;
    Some(at(index))
}

/// The schema of a definition by its OpenAPI name without `io.k8s.`: `api.core.v1.PodSpec`,
/// `apimachinery.pkg.apis.meta.v1.ObjectMeta`.
pub fn definition(name: &str) -> Option<&'static Schema> {
    index(name).map(at)
}

/// The schema of `metadata` of any object.
pub fn object_meta() -> Node {
    Node::named(index(OBJECT_META).expect("the generated table has ObjectMeta"))
}

/// Where a definition is in the table.
pub(crate) fn index(name: &str) -> Option<usize> {
    table().by_name.get(name).copied()
}

/// The definition at a place that [`index`] gave.
pub(crate) fn at(index: usize) -> &'static Schema {
    let definition = &table().definitions[index];
    definition.schema.get_or_init(|| {
        let value = serde_json::from_str(definition.text).expect("the generated table holds JSON");
        Schema::from_definition(definition.name, &value).expect("the generated table holds schemas")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structural::{ListType, MapType, Type};

    #[test]
    fn every_definition_decodes() {
        for index in 0..table().definitions.len() {
            assert_eq!(at(index).name, Some(table().definitions[index].name));
        }
        assert!(table().definitions.len() > 500);
    }

    #[test]
    fn merge_keys_and_map_keys_are_both_there() {
        let container = definition("api.core.v1.Container").unwrap();
        let ports = &container.properties["ports"];
        assert_eq!(
            ports.list,
            ListType::Map(vec!["containerPort".into(), "protocol".into()])
        );
        assert_eq!(ports.patch().merge_key.as_deref(), Some("containerPort"));
        let port = ports.items.as_ref().unwrap();
        assert_eq!(port.properties["protocol"].default().unwrap(), "TCP");

        let spec = definition("api.apps.v1.DeploymentSpec").unwrap();
        assert!(spec.properties["strategy"].patch().retain_keys);
        assert_eq!(spec.properties["selector"].map_type(), MapType::Atomic);
        let quantity = definition("apimachinery.pkg.api.resource.Quantity").unwrap();
        assert_eq!(quantity.kind, Type::Any);
    }
}
