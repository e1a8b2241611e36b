//! Sets of fields, as `metadata.managedFields[].fieldsV1` has them.
//!
//! A set has *members* (the fields in it) and *children* (fields that hold further members). A field may be a member,
//! have children, or both: owning `metadata.labels.app` doesn't mean owning `metadata.labels`.

pub(crate) mod compare;
mod element;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

pub use element::{Path, PathElement};

use crate::structural::{Schema, Type};

/// Text that is not `fieldsV1`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {text}")]
pub struct ParseError {
    /// The key in question.
    pub text: String,
    /// What is wrong with it.
    pub what: String,
}

/// A set of fields of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSet {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    /// The empty set.
    pub fn new() -> FieldSet {
        FieldSet::default()
    }

    /// Reads `fieldsV1`. Path elements of unknown kinds are ignored.
    pub fn from_json(value: &Value) -> Result<FieldSet, ParseError> {
        let Some(map) = value.as_object() else {
            return Err(ParseError {
                text: value.to_string(),
                what: "fieldsV1 must be an object".into(),
            });
        };
        Ok(read(map)?.0.unwrap_or_default())
    }

    /// Writes `fieldsV1`.
    pub fn to_json(&self) -> Value {
        Value::Object(self.write(false))
    }

    fn write(&self, member: bool) -> Map<String, Value> {
        let mut map = Map::new();
        if member && !self.children.is_empty() | !self.members.is_empty() {
            map.insert(".".into(), json!({}));
        }
        let elements: BTreeSet<&PathElement> =
            self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let children = match self.children.get(element) {
                Some(set) => set.write(self.members.contains(element)),
                None => Map::new(),
            };
            map.insert(element.encode(), Value::Object(children));
        }
        map
    }

    /// Adds one field. The empty path is the object itself, which nobody owns.
    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether the field itself is in the set.
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|set| set.has(rest)),
        }
    }

    /// The set below a field; empty if there is nothing.
    pub fn below(&self, element: &PathElement) -> &FieldSet {
        static EMPTY: FieldSet = FieldSet {
            members: BTreeSet::new(),
            children: BTreeMap::new(),
        };
        self.children.get(element).unwrap_or(&EMPTY)
    }

    /// The fields of this level that are in the set.
    pub fn members(&self) -> impl Iterator<Item = &PathElement> {
        self.members.iter()
    }

    /// The fields of this level that hold further members.
    pub fn children(&self) -> impl Iterator<Item = (&PathElement, &FieldSet)> {
        self.children.iter()
    }

    /// Whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(FieldSet::is_empty)
    }

    /// How many fields are in the set.
    pub fn len(&self) -> usize {
        self.members.len() + self.children.values().map(FieldSet::len).sum::<usize>()
    }

    /// Fields that are in either set.
    #[must_use]
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut set = self.clone();
        set.extend(other);
        set
    }

    /// Adds the fields of another set.
    pub fn extend(&mut self, other: &FieldSet) {
        self.members.extend(other.members.iter().cloned());
        for (element, set) in &other.children {
            self.children
                .entry(element.clone())
                .or_default()
                .extend(set);
        }
    }

    /// Fields that are in both sets.
    #[must_use]
    pub fn intersect(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter_map(|(element, set)| {
                    Some((element.clone(), set.intersect(other.children.get(element)?)))
                })
                .filter(|(_, set)| !set.is_empty())
                .collect(),
        }
    }

    /// Fields that are in this set and not in the other, field by field: children of a removed field stay.
    #[must_use]
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter_map(|(element, set)| match other.children.get(element) {
                    None => Some((element.clone(), set.clone())),
                    Some(other) => Some((element.clone(), set.difference(other)))
                        .filter(|(_, set)| !set.is_empty()),
                })
                .collect(),
        }
    }

    /// As [`FieldSet::difference`], but what is below a removed field goes too.
    #[must_use]
    pub fn recursive_difference(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self
                .children
                .iter()
                .filter(|(element, _)| !other.members.contains(element))
                .filter_map(|(element, set)| match other.children.get(element) {
                    None => Some((element.clone(), set.clone())),
                    Some(other) => Some((element.clone(), set.recursive_difference(other)))
                        .filter(|(_, set)| !set.is_empty()),
                })
                .collect(),
        }
    }

    /// Only fields without members below them.
    #[must_use]
    pub fn leaves(&self) -> FieldSet {
        FieldSet {
            members: self
                .members
                .iter()
                .filter(|member| !self.children.contains_key(member))
                .cloned()
                .collect(),
            children: self
                .children
                .iter()
                .map(|(element, set)| (element.clone(), set.leaves()))
                .collect(),
        }
    }

    /// All fields: the members of a level first, then what is below, each sorted.
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Path>) {
        for member in &self.members {
            let path = prefix.iter().chain([member]).cloned().collect();
            paths.push(Path(path));
        }
        for (element, set) in &self.children {
            prefix.push(element.clone());
            set.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// Adds named fields on the way to members, which sets usually leave out: `spec` where `spec.replicas` is in it.
    #[must_use]
    pub(crate) fn with_named_parents(&self, schema: &Schema) -> FieldSet {
        let mut members = self.members.clone();
        let mut children = BTreeMap::new();
        for (element, set) in &self.children {
            let inner = match element {
                PathElement::Field(name) => {
                    if schema.properties.contains_key(name) {
                        members.insert(element.clone());
                    }
                    schema.field(name)
                }
                PathElement::Key(_) if matches!(schema.kind, Type::Array | Type::Any) => {
                    schema.items.as_ref()
                }
                _ => None,
            };
            let inner = inner.map_or(Schema::unknown(), |node| node);
            children.insert(element.clone(), set.with_named_parents(inner));
        }
        FieldSet { members, children }
    }
}

impl FromIterator<Path> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Path>>(paths: I) -> FieldSet {
        let mut set = FieldSet::new();
        paths.into_iter().for_each(|path| set.insert(&path.0));
        set
    }
}

/// What is below a field, and whether the field is itself a member.
fn read(map: &Map<String, Value>) -> Result<(Option<FieldSet>, bool), ParseError> {
    let mut member = false;
    let mut found: Option<FieldSet> = None;
    for (key, value) in map {
        if key == "." {
            member = true;
            continue;
        }
        let Some(element) = PathElement::parse(key)? else {
            continue;
        };
        let below = match value.as_object() {
            Some(below) => read(below)?,
            None => (None, true),
        };
        let set = found.get_or_insert_default();
        if below.1 {
            set.members.insert(element.clone());
        }
        if let Some(children) = below.0 {
            set.children.insert(element, children);
        }
    }
    let member = member || found.is_none();
    Ok((found, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: Value) -> FieldSet {
        FieldSet::from_json(&value).unwrap()
    }

    #[test]
    fn what_is_read_is_written() {
        let value = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"a<b\"": {}}},
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}, "i:3": {}}},
        });
        let mut expected = value.clone();
        let finalizers = expected
            .pointer_mut("/f:metadata/f:finalizers")
            .unwrap()
            .as_object_mut()
            .unwrap();
        finalizers.remove("v:\"a<b\"");
        finalizers.insert("v:\"a\\u003cb\"".into(), json!({}));
        assert_eq!(set(value).to_json(), expected);
        assert_eq!(
            set(json!({"x:new": {}, "f:a": {}})),
            set(json!({"f:a": {}}))
        );
        assert!(FieldSet::from_json(&json!({"a": {}})).is_err());
    }

    #[test]
    fn differences_by_field_and_by_subtree() {
        let left = set(json!({"f:a": {".": {}, "f:b": {".": {}, "f:c": {}}}}));
        let right = set(json!({"f:a": {"f:b": {}}}));
        assert_eq!(
            left.difference(&right),
            set(json!({"f:a": {".": {}, "f:b": {"f:c": {}}}}))
        );
        assert_eq!(left.recursive_difference(&right), set(json!({"f:a": {}})));
        assert_eq!(left.leaves(), set(json!({"f:a": {"f:b": {"f:c": {}}}})));
        assert_eq!(left.intersect(&right), right);
        assert_eq!(left.len(), 3);
    }

    #[test]
    fn paths_read_as_in_conflicts() {
        let set = set(
            json!({"f:spec": {"k:{\"b\":1,\"a\":\"x\"}": {".": {}, "f:image": {}}, "v:true": {}, "i:0": {}}}),
        );
        let paths: Vec<String> = set.paths().iter().map(Path::to_string).collect();
        assert_eq!(
            paths,
            [
                r#".spec[a="x",b=1]"#,
                ".spec[=true]",
                ".spec[0]",
                r#".spec[a="x",b=1].image"#
            ]
        );
    }
}
