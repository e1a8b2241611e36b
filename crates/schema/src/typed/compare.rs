//! What changed between two objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Shape, View};
use crate::fields::compare::equal;
use crate::fields::{FieldSet, PathElement};
use crate::structural::Schema;

/// The fields in which two objects differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Only in the old object.
    pub removed: FieldSet,
    /// In both, with different values.
    pub modified: FieldSet,
    /// Only in the new object.
    pub added: FieldSet,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// Without the fields of a set and what is below them.
    #[must_use]
    pub fn without(&self, fields: &FieldSet) -> Comparison {
        Comparison {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

/// Compares two objects of one schema. Items that sets or keyed lists hold twice are compared as a whole.
pub fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    let mut walk = Walk {
        path: Vec::new(),
        found: Comparison::default(),
    };
    walk.value(View::from(schema), Some(old), Some(new));
    walk.found
}

struct Walk {
    path: Vec<PathElement>,
    found: Comparison,
}

impl Walk {
    fn value(&mut self, view: View<'_>, old: Option<&Value>, new: Option<&Value>) {
        let leaf = match (old, new) {
            (None, None) => return,
            (Some(only), None) | (None, Some(only)) => {
                self.shaped(view, view.shape(only), old, new)
            }
            (Some(before), Some(after)) => {
                let (before, after) = (view.shape(before), view.shape(after));
                if before != after {
                    self.shaped(view, before, old, new);
                }
                self.shaped(view, after, old, new)
            }
        };
        if !leaf {
            self.presence(old, new);
        }
    }

    fn presence(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            _ => {}
        }
    }

    /// Compares as one shape; says whether that was as one value.
    fn shaped(
        &mut self,
        view: View<'_>,
        shape: Shape,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> bool {
        let as_one = match shape {
            Shape::Scalar => true,
            Shape::Map => {
                let (old, new) = (
                    old.and_then(Value::as_object),
                    new.and_then(Value::as_object),
                );
                let empty = |map: Option<&Map<String, Value>>| map.is_none_or(Map::is_empty);
                let as_one = view.atomic_map() || empty(old) && empty(new);
                if !as_one {
                    self.maps(view, old, new);
                }
                as_one
            }
            Shape::List => {
                let (old, new) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
                let empty = |list: Option<&Vec<Value>>| list.is_none_or(Vec::is_empty);
                let as_one = view.atomic_list() || empty(old) && empty(new);
                if !as_one {
                    self.lists(
                        view,
                        old.map_or(&[], Vec::as_slice),
                        new.map_or(&[], Vec::as_slice),
                    );
                }
                as_one
            }
        };
        if as_one {
            self.presence(old, new);
            if let (Some(old), Some(new)) = (old, new)
                && !equal(old, new)
            {
                self.found.modified.insert(&self.path);
            }
        }
        as_one
    }

    fn within(&mut self, element: PathElement, visit: impl FnOnce(&mut Self)) {
        self.path.push(element);
        visit(self);
        self.path.pop();
    }

    fn maps(
        &mut self,
        view: View<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        let keys: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
        for key in keys {
            let (old, new) = (
                old.and_then(|map| map.get(key)),
                new.and_then(|map| map.get(key)),
            );
            self.within(PathElement::field(key.as_str()), |walk| {
                walk.value(view.field_or_deduced(key), old, new);
            });
        }
    }

    fn lists(&mut self, view: View<'_>, old: &[Value], new: &[Value]) {
        let mut elements: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in old {
            if let Ok(element) = view.item(item) {
                elements.entry(element).or_default().0.push(item);
            }
        }
        for item in new {
            if let Ok(element) = view.item(item) {
                elements.entry(element).or_default().1.push(item);
            }
        }
        for (element, (old, new)) in elements {
            self.within(element, |walk| match (&old[..], &new[..]) {
                (old @ ([] | [_]), new @ ([] | [_])) => {
                    walk.value(view.items(), old.first().copied(), new.first().copied());
                }
                (old @ [_, _, ..], new @ [_, _, ..]) => {
                    if old.len() != new.len()
                        || old.iter().zip(new).any(|(old, new)| !equal(old, new))
                    {
                        walk.found.modified.insert(&walk.path);
                    }
                }
                ([_, _, ..], new) => {
                    walk.value(view.items(), None, new.first().copied());
                    walk.found.removed.insert(&walk.path);
                }
                (old, _) => {
                    walk.value(view.items(), old.first().copied(), None);
                    walk.found.added.insert(&walk.path);
                }
            });
        }
    }
}
