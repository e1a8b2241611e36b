//! Lists with merge keys, step by step as kustomize merges them, with all that comes of keys that are missing, stand
//! twice or are only partly there.

use fairway_yaml::{Kind, Node};

use super::is_empty_map;
use crate::error::Result;
use crate::node;

/// Two lists that are being merged. Items lie in a pool, so that one item can stand in several lists.
pub(super) struct Lists {
    pub(super) pool: Vec<Node>,
    pub(super) own: Vec<usize>,
    pub(super) patch: Vec<usize>,
    /// Both are the same list.
    pub(super) fresh: bool,
}

impl Lists {
    pub(super) fn new(own: Vec<Node>, patch: Vec<Node>, fresh: bool) -> Self {
        let split = own.len();
        let mut pool = own;
        if fresh {
            let all: Vec<usize> = (0..split).collect();
            return Self {
                pool,
                own: all.clone(),
                patch: all,
                fresh,
            };
        }
        pool.extend(patch);
        let end = pool.len();
        Self {
            pool,
            own: (0..split).collect(),
            patch: (split..end).collect(),
            fresh,
        }
    }

    pub(super) fn take(&mut self, list: &[usize]) -> Vec<Node> {
        let mut uses = vec![0_usize; self.pool.len()];
        for at in list {
            uses[*at] += 1;
        }
        let one = |at: &usize| {
            uses[*at] -= 1;
            if uses[*at] == 0 {
                std::mem::replace(&mut self.pool[*at], node::plain(""))
            } else {
                self.pool[*at].clone()
            }
        };
        list.iter().map(one).collect()
    }

    /// Whether all items are maps with a value for the key, and none of a list's values stands twice.
    pub(super) fn is_plain(&self, key: &str) -> bool {
        if key.is_empty() {
            return false;
        }
        [&self.own, &self.patch].iter().all(|list| {
            let mut seen = std::collections::HashSet::new();
            let value = |at: &usize| {
                self.pool[*at]
                    .get(key)
                    .filter(|value| !node::is_null(value))
            };
            list.iter().all(|at| match value(at).and_then(Node::text) {
                Some(value) if !value.is_empty() => seen.insert(value),
                _ => false,
            })
        })
    }

    /// The merge key values of all items, the patch's first, each once.
    pub(super) fn values(&self, keys: &[String]) -> Vec<Vec<String>> {
        let mut seen = std::collections::HashSet::new();
        let mut out = Vec::new();
        if keys.is_empty() {
            return out;
        }
        for at in self.patch.iter().chain(&self.own) {
            let of = |key: &String| {
                let value = self.pool[*at]
                    .get(key)
                    .filter(|value| !node::is_empty(value));
                value.map_or("", node::text).to_owned()
            };
            let values: Vec<String> = keys.iter().map(of).collect();
            if seen.insert(values.clone()) {
                out.push(values);
            }
        }
        out
    }

    pub(super) fn primitive_values(&self) -> Vec<Vec<String>> {
        let mut seen = std::collections::HashSet::new();
        let all = self
            .patch
            .iter()
            .chain(&self.own)
            .map(|at| node::text(&self.pool[*at]).to_owned());
        all.filter(|value| seen.insert(value.clone()))
            .map(|value| vec![value])
            .collect()
    }

    /// The first item of a list that has the values.
    pub(super) fn find(&self, list: &[usize], keys: &[String], values: &[String]) -> Option<usize> {
        if keys.first().is_none_or(String::is_empty) {
            let value = values.first().map_or("", String::as_str);
            return list
                .iter()
                .copied()
                .find(|at| node::text(&self.pool[*at]) == value);
        }
        if keys.len() != values.len() {
            return None;
        }
        list.iter().copied().find(|at| {
            let item = &self.pool[*at];
            keys.iter()
                .zip(values)
                .all(|(key, value)| item.get(key).is_some_and(|have| node::text(have) == value))
        })
    }

    /// Puts an item where those with its values are, or at the end; without an item, takes them away. Empty items go.
    pub(super) fn set(
        &self,
        list: &mut Vec<usize>,
        item: Option<usize>,
        keys: &[String],
        values: &[String],
    ) -> Result<()> {
        let by_map = keys.first().is_some_and(|key| !key.is_empty())
            && values.first().is_some_and(|v| !v.is_empty());
        let mut out = Vec::with_capacity(list.len() + 1);
        let mut matched = false;
        for at in list.iter().copied() {
            let have = &self.pool[at];
            if node::is_null(have) || is_empty_map(have) {
                continue;
            }
            if !matches!(have.kind, Kind::Map(_)) && by_map {
                out.push(at);
                continue;
            }
            if !has(have, keys, values)? {
                if !values.is_empty() {
                    out.push(at);
                }
                continue;
            }
            matched = true;
            out.extend(item);
        }
        if let Some(item) = item
            && !matched
            && !node::is_null(&self.pool[item])
        {
            out.push(item);
        }
        *list = out;
        Ok(())
    }

    /// Puts one of the object's own items behind the new ones, or in the place of the one with its values.
    pub(super) fn append(&self, list: &mut Vec<usize>, at: usize, keys: &[String]) -> Result<()> {
        let item = &self.pool[at];
        if keys.first().is_none_or(String::is_empty) {
            let value = [node::text(item).to_owned()];
            return self.set(list, Some(at), &[String::new()], &value);
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match item.get(key) {
                Some(value) => values.push(node::text(value).to_owned()),
                None => list.push(at),
            }
        }
        if keys.len() > 1 {
            self.set(list, None, keys, &values)?;
        }
        self.set(list, Some(at), keys, &values)
    }
}

/// Whether an item has the values. Keys without one follow what was found before.
fn has(item: &Node, keys: &[String], values: &[String]) -> Result<bool> {
    let mut found = false;
    for (at, key) in keys.iter().enumerate() {
        let Some(value) = values.get(at) else {
            if !found {
                return Ok(false);
            }
            continue;
        };
        found = if key.is_empty() {
            if item.scalar().is_none() {
                return Err(node::wrong_kind("a scalar", item));
            }
            node::text(item) == value
        } else {
            if item.entries().is_none() {
                return Err(node::wrong_kind("a map", item));
            }
            item.get(key)
                .is_some_and(|have| value.is_empty() || node::text(have) == value)
        };
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fills in what one item's keys leave open and another's say, where the rest agrees.
pub(super) fn complete(values: &mut [Vec<String>]) {
    for i in 0..values.len() {
        for j in 0..values.len() {
            if let Some(full) = agreed(&values[i], &values[j]) {
                values[i].clone_from(&full);
                values[j] = full;
            }
        }
    }
}

fn agreed(a: &[String], b: &[String]) -> Option<Vec<String>> {
    let mut common = false;
    let mut out = Vec::with_capacity(a.len());
    for (a, b) in a.iter().zip(b) {
        if a == b {
            common = true;
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        }
        out.push(if a.is_empty() { b.clone() } else { a.clone() });
    }
    common.then_some(out)
}

/// The keys that any item has a value for, and this item's values of them.
pub(super) fn valid(
    all: &[Vec<String>],
    values: &[String],
    keys: &[String],
) -> (Vec<String>, Vec<String>) {
    let used = |at: usize| {
        all.iter()
            .any(|values| values.get(at).is_some_and(|value| !value.is_empty()))
    };
    if !(0..keys.len()).any(used) {
        return (keys.to_vec(), values.to_vec());
    }
    let pick = |list: &[String]| {
        list.iter()
            .enumerate()
            .filter(|(at, _)| used(*at))
            .map(|(_, value)| value.clone())
            .collect()
    };
    (pick(keys), pick(values))
}
