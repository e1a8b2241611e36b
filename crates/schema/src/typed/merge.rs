//! Merging what is applied into what is live.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Shape, View};
use crate::fields::PathElement;
use crate::structural::Schema;

/// Merges `config` over `live`: nothing is removed, `config` wins where both have a value. Lists keep the order of
/// `live` where `config` adds nothing to it, else that of `config`.
///
/// Both must pass [`validate`](super::validate) first; what doesn't is left out.
pub fn merge(schema: &Schema, live: &Value, config: &Value) -> Value {
    walk(View::from(schema), Some(live), Some(config)).unwrap_or(Value::Null)
}

fn walk(view: View<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let shape = view.shape(config.or(live)?);
    let leaf = || config.or(live).cloned();
    match shape {
        Shape::Scalar => leaf(),
        Shape::Map => {
            let (live, config) = (
                live.and_then(Value::as_object),
                config.and_then(Value::as_object),
            );
            if view.atomic_map() || is_empty_map(live) && is_empty_map(config) {
                return leaf();
            }
            maps(view, live, config)
        }
        Shape::List => {
            let (live, config) = (
                live.and_then(Value::as_array),
                config.and_then(Value::as_array),
            );
            let empty = |list: Option<&Vec<Value>>| list.is_none_or(Vec::is_empty);
            if view.atomic_list() || empty(live) && empty(config) {
                return leaf();
            }
            let out = lists(
                view,
                live.map_or(&[], Vec::as_slice),
                config.map_or(&[], Vec::as_slice),
            );
            (!out.is_empty()).then_some(Value::Array(out))
        }
    }
}

fn is_empty_map(map: Option<&Map<String, Value>>) -> bool {
    map.is_none_or(Map::is_empty)
}

fn maps(
    view: View<'_>,
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
) -> Option<Value> {
    let keys: BTreeSet<&String> = live.into_iter().chain(config).flat_map(Map::keys).collect();
    let mut out = Map::new();
    for key in keys {
        let live = live.and_then(|map| map.get(key));
        let config = config.and_then(|map| map.get(key));
        if let Some(value) = walk(view.field_or_deduced(key), live, config) {
            out.insert(key.clone(), value);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// Items by path element, in order. A path element that occurs twice has no item to merge with, only `null`.
struct Indexed<'v> {
    order: Vec<(PathElement, &'v Value)>,
    items: BTreeMap<PathElement, &'v Value>,
}

static NULL: Value = Value::Null;

impl<'v> Indexed<'v> {
    fn new(view: View<'_>, list: &'v [Value]) -> Indexed<'v> {
        let mut indexed = Indexed {
            order: Vec::new(),
            items: BTreeMap::new(),
        };
        for item in list {
            let Ok(element) = view.item(item) else {
                continue;
            };
            indexed
                .items
                .entry(element.clone())
                .and_modify(|found| *found = &NULL)
                .or_insert(item);
            indexed.order.push((element, item));
        }
        indexed
    }
}

fn lists(view: View<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let (live, config) = (Indexed::new(view, live), Indexed::new(view, config));
    let mut shared = config
        .order
        .iter()
        .map(|(element, _)| element)
        .filter(|element| live.items.contains_key(*element));
    let mut next_shared = shared.next();
    let mut merged = BTreeSet::new();
    let mut out = Vec::new();
    let both = |element: &PathElement| {
        walk(
            view.items(),
            live.items.get(element).copied(),
            config.items.get(element).copied(),
        )
    };
    let (mut l, mut r) = (0, 0);
    while l < live.order.len() || r < config.order.len() {
        if let (Some((element, _)), Some((applied, _))) = (live.order.get(l), config.order.get(r)) {
            if element == applied {
                merged.insert(element);
                out.extend(both(element));
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            if config.items.contains_key(element) && next_shared.is_some_and(|next| next != element)
            {
                // Shared, but its turn comes later.
                l += 1;
                continue;
            }
        }
        if let Some((element, item)) = live.order.get(l) {
            if !config.items.contains_key(element) {
                out.extend(walk(view.items(), Some(item), None));
                l += 1;
                continue;
            }
            if merged.contains(element) {
                l += 1;
            }
        }
        if let Some((element, _)) = config.order.get(r) {
            merged.insert(element);
            out.extend(both(element));
            r += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    out
}
