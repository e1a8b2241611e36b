//! Where strategic merge patches merge lists, and by which keys.
//!
//! Kustomize decides this by the schema of Kubernetes 1.21.2 that is built into it, or by the one that the field
//! `openapi` names. The table is kustomize's, so newer types (autoscaling/v2) have no keys, and their lists are
//! replaced.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::error::{Error, Result};

/// Merge keys by type.
#[derive(Debug, Clone, Default)]
pub(crate) struct MergeKeys {
    kinds: HashMap<String, HashMap<String, usize>>,
    types: Vec<HashMap<String, Field>>,
}

#[derive(Debug, Clone, Default)]
struct Field {
    shape: Shape,
    /// The type of the field, or of what is in it.
    target: Option<usize>,
    strategy: Option<String>,
    keys: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Shape {
    #[default]
    Object,
    List,
    Map,
}

/// The schema of one value in a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'s> {
    keys: &'s MergeKeys,
    value: AtValue<'s>,
}

#[derive(Debug, Clone, Copy)]
enum AtValue<'s> {
    Object(usize),
    Field(&'s Field),
}

impl MergeKeys {
    /// Those of Kubernetes 1.21.2.
    pub(crate) fn builtin() -> &'static Arc<Self> {
        static TABLE: OnceLock<Arc<MergeKeys>> = OnceLock::new();
        TABLE.get_or_init(|| Arc::new(Self::from_table(include_str!("merge_keys.txt"))))
    }

    fn from_table(table: &str) -> Self {
        let mut out = Self::default();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |text: &str| text.parse::<usize>().ok();
            match words[..] {
                ["kind", api_version, kind, target] => {
                    if let Some(target) = number(target) {
                        out.kinds
                            .entry(api_version.to_owned())
                            .or_default()
                            .insert(kind.to_owned(), target);
                    }
                }
                ["type", _, _, ref fields @ ..] => {
                    out.types
                        .push(fields.iter().map(|field| Field::parse(field)).collect());
                }
                _ => {}
            }
        }
        out
    }

    /// Adds the definitions of an OpenAPI document (`openapi.path`).
    pub(crate) fn add_openapi(&mut self, document: &Value) -> Result<()> {
        let Some(definitions) = document.get("definitions").and_then(Value::as_object) else {
            return Ok(());
        };
        let mut numbers = HashMap::new();
        for name in definitions.keys() {
            numbers.insert(name.as_str(), self.types.len());
            self.types.push(HashMap::new());
        }
        for (name, definition) in definitions {
            let number = numbers[name.as_str()];
            self.types[number] = self.fields(definition, &numbers, 0)?;
            let kinds = definition
                .get("x-kubernetes-group-version-kind")
                .and_then(Value::as_array);
            for gvk in kinds.into_iter().flatten() {
                let part = |part: &str| gvk.get(part).and_then(Value::as_str).unwrap_or_default();
                let api_version = match part("group") {
                    "" => part("version").to_owned(),
                    group => format!("{group}/{}", part("version")),
                };
                self.kinds
                    .entry(api_version)
                    .or_default()
                    .insert(part("kind").to_owned(), number);
            }
        }
        Ok(())
    }

    fn fields(
        &mut self,
        schema: &Value,
        numbers: &HashMap<&str, usize>,
        depth: usize,
    ) -> Result<HashMap<String, Field>> {
        if depth > 64 {
            return Err(Error::new(
                crate::error::ErrorKind::Limit,
                "the OpenAPI schema is nested too deep",
            ));
        }
        let mut out = HashMap::new();
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let is_list = property.get("type").and_then(Value::as_str) == Some("array");
            let (shape, inner) = match (property.get("items"), property.get("additionalProperties"))
            {
                (Some(items), _) if is_list => (Shape::List, items),
                (_, Some(values)) if values.is_object() => (Shape::Map, values),
                _ => (Shape::Object, property),
            };
            let target = match inner.get("$ref").and_then(Value::as_str) {
                Some(reference) => numbers
                    .get(
                        reference
                            .strip_prefix("#/definitions/")
                            .unwrap_or(reference),
                    )
                    .copied(),
                None if inner.get("properties").is_some() => {
                    let fields = self.fields(inner, numbers, depth + 1)?;
                    self.types.push(fields);
                    Some(self.types.len() - 1)
                }
                None => None,
            };
            let text = |key: &str| property.get(key).and_then(Value::as_str).map(str::to_owned);
            let strategy = text("x-kubernetes-patch-strategy");
            let keys = match property
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
            {
                _ if strategy.is_none() => Vec::new(),
                Some(keys) => keys
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                None => text("x-kubernetes-patch-merge-key").into_iter().collect(),
            };
            out.insert(
                name.clone(),
                Field {
                    shape,
                    target,
                    strategy,
                    keys,
                },
            );
        }
        Ok(out)
    }

    /// The schema of a kind.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<At<'_>> {
        let number = *self.kinds.get(api_version)?.get(kind)?;
        Some(At {
            keys: self,
            value: AtValue::Object(number),
        })
    }
}

impl Field {
    /// `name[]>12=merge:key+key`
    fn parse(text: &str) -> (String, Self) {
        let mut out = Self::default();
        let (text, strategy) = text
            .split_once('=')
            .map_or((text, None), |(text, rest)| (text, Some(rest)));
        if let Some(rest) = strategy {
            let (strategy, keys) = rest.split_once(':').unwrap_or((rest, ""));
            out.strategy = Some(strategy.to_owned());
            out.keys = keys
                .split('+')
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect();
        }
        let (text, target) = text
            .split_once('>')
            .map_or((text, None), |(text, rest)| (text, Some(rest)));
        out.target = target.and_then(|target| target.parse().ok());
        for (mark, shape) in [("[]", Shape::List), ("{}", Shape::Map)] {
            if let Some(name) = text.strip_suffix(mark) {
                out.shape = shape;
                return (name.to_owned(), out);
            }
        }
        (text.to_owned(), out)
    }
}

impl<'s> At<'s> {
    fn object(self) -> Option<usize> {
        match self.value {
            AtValue::Object(number) => Some(number),
            AtValue::Field(field) => field.target.filter(|_| field.shape == Shape::Object),
        }
    }

    /// The schema of a field of this map.
    pub(crate) fn field(self, name: &str) -> Option<Self> {
        if let AtValue::Field(field) = self.value
            && field.shape == Shape::Map
        {
            return field.target.map(|number| Self {
                keys: self.keys,
                value: AtValue::Object(number),
            });
        }
        let field = self.keys.types.get(self.object()?)?.get(name)?;
        Some(Self {
            keys: self.keys,
            value: AtValue::Field(field),
        })
    }

    /// The schema of the items of this list.
    pub(crate) fn items(self) -> Option<Self> {
        match self.value {
            AtValue::Field(Field {
                shape: Shape::List,
                target: Some(number),
                ..
            }) => Some(Self {
                keys: self.keys,
                value: AtValue::Object(*number),
            }),
            _ => None,
        }
    }

    /// The merge keys of this list: none where it is replaced, an empty list for one of plain values.
    pub(crate) fn merge_keys(self) -> Option<&'s [String]> {
        let AtValue::Field(field) = self.value else {
            return None;
        };
        let merges = field
            .strategy
            .as_ref()?
            .split(',')
            .any(|strategy| strategy == "merge");
        merges.then_some(&field.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_containers_have_two_keys() {
        let pod = MergeKeys::builtin()
            .of_kind("apps/v1", "Deployment")
            .unwrap();
        let containers = ["spec", "template", "spec", "containers"]
            .iter()
            .try_fold(pod, |at, f| at.field(f))
            .unwrap();
        assert_eq!(containers.merge_keys().unwrap(), ["name"]);
        let ports = containers.items().unwrap().field("ports").unwrap();
        assert_eq!(ports.merge_keys().unwrap(), ["containerPort", "protocol"]);
        let finalizers = pod.field("metadata").unwrap().field("finalizers").unwrap();
        assert!(finalizers.merge_keys().unwrap().is_empty());
    }

    #[test]
    fn newer_kinds_have_none() {
        assert!(
            MergeKeys::builtin()
                .of_kind("autoscaling/v2", "HorizontalPodAutoscaler")
                .is_none()
        );
    }
}
