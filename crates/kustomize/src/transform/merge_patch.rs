//! Strategic merge patches, as kustomize implements them.
//!
//! Of the directives, only `$patch: replace | delete | merge` works; the others stand in the output. Lists with merge
//! keys are merged item by item, and the patch's new items come first; all others are replaced. A merge walks
//! the whole object, not only where the patch has something: empty nulls go, and items with the same keys become one.

use std::collections::HashMap;

use fairway_yaml::{Kind, Node};

use crate::error::{Error, Result};
use crate::merge_keys::{At, MergeKeys};
use crate::node;

mod lists;

use lists::{Lists, complete, valid};

/// `patch` merged into `object`; `None` where nothing is left of it.
pub(crate) fn merge(object: Node, patch: &Node, keys: &MergeKeys) -> Result<Option<Node>> {
    // Kustomize forgets what comes out where the patch as a whole replaces, and keeps the object as it was.
    if patch
        .get(DIRECTIVE)
        .is_some_and(|value| node::text(value) == "replace")
    {
        return Ok(Some(object));
    }
    let merged = Merge { keys }.walk(Some(object), Some(patch.clone()), None)?;
    Ok(match merged {
        Merged::Own(node) | Merged::Patch(node) => Some(node),
        Merged::Cleared => None,
    })
}

/// What came out of merging one value.
enum Merged {
    /// The object's value, perhaps changed.
    Own(Node),
    /// The patch's value in its place.
    Patch(Node),
    /// Nothing.
    Cleared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

struct Merge<'k> {
    keys: &'k MergeKeys,
}

impl<'k> Merge<'k> {
    fn walk(
        &self,
        own: Option<Node>,
        patch: Option<Node>,
        schema: Option<At<'k>>,
    ) -> Result<Merged> {
        let schema = schema
            .or_else(|| own.as_ref().and_then(|node| self.schema_of(node)))
            .or_else(|| patch.as_ref().and_then(|node| self.schema_of(node)));
        let set = |node: &Option<Node>| {
            node.as_ref()
                .filter(|node| !node::is_null(node))
                .map(node::noun)
        };
        match (set(&own), set(&patch)) {
            (None, None) => Ok(merge_nulls(own, patch)),
            (Some(a), Some(b)) if a != b => Err(Error::invalid(format!(
                "wrong node kind: {a} cannot be merged with {b}"
            ))
            .hint("the patch must have the type that the field has")),
            (Some("a map"), _) | (None, Some("a map")) => self.maps(own, patch, schema),
            (Some("a list"), _) | (None, Some("a list")) => self.lists(own, patch, schema),
            _ => Ok(match (own, patch) {
                (_, Some(patch)) => Merged::Patch(patch),
                (Some(own), None) => Merged::Own(own),
                (None, None) => Merged::Cleared,
            }),
        }
    }

    /// The schema of an object that says what it is.
    fn schema_of(&self, node: &Node) -> Option<At<'k>> {
        let api_version = node.get("apiVersion")?.text()?;
        self.keys.of_kind(api_version, node.get("kind")?.text()?)
    }

    fn maps(
        &self,
        own: Option<Node>,
        patch: Option<Node>,
        schema: Option<At<'k>>,
    ) -> Result<Merged> {
        let Some(mut own) = own.filter(|own| !node::is_null(own)) else {
            let Some(mut patch) = patch else {
                return Ok(Merged::Cleared);
            };
            // An unknown directive on something new is not an error to kustomize.
            if matches!(take_directive(&mut patch), Ok(Directive::Delete)) {
                return Ok(Merged::Cleared);
            }
            return self.fresh_map(patch, schema).map(Merged::Patch);
        };
        let Some(mut patch) = patch else {
            self.fields(&mut own, None, schema)?;
            return Ok(Merged::Own(own));
        };
        if node::is_null(&patch) {
            return Ok(Merged::Cleared);
        }
        match take_directive(&mut patch)? {
            Directive::Delete => Ok(Merged::Cleared),
            Directive::Replace => self.fresh_map(patch, schema).map(Merged::Patch),
            Directive::Merge => {
                self.fields(&mut own, Some(patch), schema)?;
                Ok(Merged::Own(own))
            }
        }
    }

    fn fields(&self, own: &mut Node, patch: Option<Node>, schema: Option<At<'k>>) -> Result<()> {
        let Kind::Map(own) = &mut own.kind else {
            return Ok(());
        };
        let mut patch = match patch.map(|patch| patch.kind) {
            Some(Kind::Map(entries)) => entries,
            _ => Vec::new(),
        };
        let mut kept = Vec::with_capacity(own.len() + patch.len());
        for (key, value) in own.drain(..) {
            let name = node::text(&key).to_owned();
            let at = patch.iter().position(|(key, _)| key.text() == Some(&name));
            let new = at.map(|at| patch.swap_remove(at).1);
            let field = schema.and_then(|schema| schema.field(&name));
            let (style, span) = (value.scalar().map(|scalar| scalar.style), value.span);
            match self
                .walk(Some(value), new, field)
                .map_err(|error| error.in_field(name))?
            {
                Merged::Cleared => {}
                Merged::Own(merged) => kept.push((key, node::settled(merged))),
                Merged::Patch(merged) if node::is_null(&merged) => {}
                Merged::Patch(merged) => kept.push((key, node::styled(merged, style, span))),
            }
        }
        for (key, new) in patch {
            let name = node::text(&key).to_owned();
            let field = schema.and_then(|schema| schema.field(&name));
            match self
                .walk(None, Some(new), field)
                .map_err(|error| error.in_field(name))?
            {
                Merged::Own(value) | Merged::Patch(value) if !node::is_null(&value) => {
                    kept.push((key, node::settled(value)));
                }
                _ => {}
            }
        }
        *own = kept;
        Ok(())
    }

    /// A map that the patch brings anew: merged with itself, so that its nulls and directives go.
    fn fresh_map(&self, mut patch: Node, schema: Option<At<'k>>) -> Result<Node> {
        let schema = schema.or_else(|| self.schema_of(&patch));
        let Kind::Map(entries) = &mut patch.kind else {
            return Ok(patch);
        };
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries.drain(..) {
            let field = schema.and_then(|schema| schema.field(node::text(&key)));
            if let Some(value) = self.fresh(value, field)? {
                kept.push((key, node::settled(value)));
            }
        }
        *entries = kept;
        Ok(patch)
    }

    fn fresh(&self, mut value: Node, schema: Option<At<'k>>) -> Result<Option<Node>> {
        if node::is_null(&value) {
            return Ok(None);
        }
        match &value.kind {
            Kind::Scalar(_) => Ok(Some(value)),
            Kind::Map(_) => match take_directive(&mut value)? {
                Directive::Delete => Ok(None),
                Directive::Merge | Directive::Replace => self.fresh_map(value, schema).map(Some),
            },
            Kind::Seq(_) => {
                let Some(keys) = schema.and_then(At::merge_keys) else {
                    return Ok(Some(value));
                };
                match take_list_directive(&mut value)? {
                    Directive::Delete => Ok(None),
                    Directive::Merge | Directive::Replace => {
                        self.fresh_list(value, schema, keys).map(Some)
                    }
                }
            }
        }
    }

    fn fresh_list(&self, value: Node, schema: Option<At<'k>>, keys: &[String]) -> Result<Node> {
        let Kind::Seq(items) = value.kind else {
            return Ok(value);
        };
        let mut lists = Lists::new(items.clone(), items, true);
        let items = self.merge_items(&mut lists, schema, keys)?;
        Ok(Node {
            kind: Kind::Seq(items),
            span: value.span,
        })
    }

    fn lists(
        &self,
        own: Option<Node>,
        patch: Option<Node>,
        schema: Option<At<'k>>,
    ) -> Result<Merged> {
        let Some(keys) = schema.and_then(At::merge_keys) else {
            return Ok(match (own, patch) {
                (_, Some(patch)) => Merged::Patch(patch),
                (Some(own), None) => Merged::Own(own),
                (None, None) => Merged::Cleared,
            });
        };
        let Some(own) = own.filter(|own| !node::is_null(own)) else {
            // The list is taken as it is and then merged with itself; its directive counts as one of its items.
            return match patch {
                Some(patch) => self.fresh_list(patch, schema, keys).map(Merged::Patch),
                None => Ok(Merged::Cleared),
            };
        };
        let Some(mut patch) = patch else {
            return self.own_list(own, Vec::new(), schema, keys);
        };
        if node::is_null(&patch) {
            return Ok(Merged::Cleared);
        }
        match take_list_directive(&mut patch)? {
            Directive::Delete => Ok(Merged::Cleared),
            Directive::Replace => self.fresh_list(patch, schema, keys).map(Merged::Patch),
            Directive::Merge => {
                let Kind::Seq(items) = patch.kind else {
                    return Ok(Merged::Own(own));
                };
                self.own_list(own, items, schema, keys)
            }
        }
    }

    fn own_list(
        &self,
        own: Node,
        patch: Vec<Node>,
        schema: Option<At<'k>>,
        keys: &[String],
    ) -> Result<Merged> {
        let span = own.span;
        let Kind::Seq(items) = own.kind else {
            return Ok(Merged::Own(own));
        };
        let mut lists = Lists::new(items, patch, false);
        let items = self.merge_items(&mut lists, schema, keys)?;
        Ok(Merged::Own(Node {
            kind: Kind::Seq(items),
            span,
        }))
    }

    fn merge_items(
        &self,
        lists: &mut Lists,
        schema: Option<At<'k>>,
        keys: &[String],
    ) -> Result<Vec<Node>> {
        let items = schema.and_then(At::items);
        if let [key] = keys
            && lists.is_plain(key)
        {
            return self.by_one_key(lists, items, key);
        }
        let primitive = [String::new()];
        let mut values = lists.values(keys);
        let keys = if values.is_empty() && keys.is_empty() {
            values = lists.primitive_values();
            &primitive[..]
        } else {
            keys
        };
        if keys.len() > 1 {
            complete(&mut values);
        }
        let mut new = Vec::new();
        let (mut valid_keys, mut valid_values);
        let mut last_keys = Vec::new();
        for at in 0..values.len() {
            (valid_keys, valid_values) = valid(&values, &values[at], keys);
            last_keys.clone_from(&valid_keys);
            let (find_keys, find_values) = valid(
                std::slice::from_ref(&valid_values),
                &valid_values,
                &valid_keys,
            );
            let own = lists.find(&lists.own, &find_keys, &find_values);
            let from_patch = lists.find(&lists.patch, &find_keys, &find_values);
            let merged = if lists.fresh {
                match own {
                    Some(at) => {
                        let value = lists.pool[at].clone();
                        match self.fresh(value, items)? {
                            Some(value) => {
                                lists.pool[at] = value;
                                Some(at)
                            }
                            None => None,
                        }
                    }
                    None => None,
                }
            } else {
                self.merge_item(lists, own, from_patch, items)?
            };
            let gone = |at: usize| node::is_null(&lists.pool[at]) || is_empty_map(&lists.pool[at]);
            let Some(merged) = merged.filter(|at| !gone(*at)) else {
                let mut own = std::mem::take(&mut lists.own);
                lists.set(&mut own, None, &valid_keys, &valid_values)?;
                lists.own = own;
                continue;
            };
            for (key, value) in valid_keys.iter().zip(&valid_values) {
                let item = &mut lists.pool[merged];
                if !value.is_empty() && !key.is_empty() && item.get(key).is_none() {
                    node::set_entry(item, key, value, node::Tag::Unset)?;
                }
            }
            lists.set(&mut new, Some(merged), &valid_keys, &valid_values)?;
        }
        if values.is_empty() {
            return Ok(lists.take(&lists.own.clone()));
        }
        let own = lists.own.clone();
        for at in own {
            lists.append(&mut new, at, &last_keys)?;
        }
        Ok(lists.take(&new))
    }

    /// What the steps come to where each item has a value for the only key, and no value stands twice in a list: the
    /// patch's items first, each merged with the object's, then the object's others. It takes no time to speak of,
    /// however long the lists are.
    fn by_one_key(
        &self,
        lists: &mut Lists,
        schema: Option<At<'k>>,
        key: &str,
    ) -> Result<Vec<Node>> {
        let mut out = Vec::with_capacity(lists.pool.len());
        let keep = |out: &mut Vec<Node>, item: Node| {
            if !is_empty_map(&item) {
                out.push(item);
            }
        };
        let mut pool: Vec<Option<Node>> = std::mem::take(&mut lists.pool)
            .into_iter()
            .map(Some)
            .collect();
        if lists.fresh {
            for item in pool.into_iter().flatten() {
                if let Some(item) = self.fresh(item, schema)? {
                    keep(&mut out, item);
                }
            }
            return Ok(out);
        }
        let name = |item: &Node| item.get(key).map(node::text).unwrap_or_default().to_owned();
        let own: HashMap<String, usize> = lists
            .own
            .iter()
            .filter_map(|at| Some((name(pool[*at].as_ref()?), *at)))
            .collect();
        for at in &lists.patch {
            let Some(patch) = pool[*at].take() else {
                continue;
            };
            let old = own.get(&name(&patch)).and_then(|at| pool[*at].take());
            // Where the patch's item replaces the object's, kustomize puts the object's back.
            let back = old.clone().filter(|_| patch.get(DIRECTIVE).is_some());
            let had_one = old.is_some();
            match self.walk(old, Some(patch), schema)? {
                Merged::Cleared => {}
                Merged::Patch(item) if had_one => keep(&mut out, back.unwrap_or(item)),
                Merged::Own(item) | Merged::Patch(item) => keep(&mut out, item),
            }
        }
        for at in &lists.own {
            let Some(item) = pool[*at].take() else {
                continue;
            };
            if let Merged::Own(item) | Merged::Patch(item) = self.walk(Some(item), None, schema)? {
                keep(&mut out, item);
            }
        }
        Ok(out)
    }

    /// Merges two items of the pool; where the result lies there.
    fn merge_item(
        &self,
        lists: &mut Lists,
        own: Option<usize>,
        patch: Option<usize>,
        schema: Option<At<'k>>,
    ) -> Result<Option<usize>> {
        let before = own.map(|at| lists.pool[at].clone());
        let patch = patch.map(|at| lists.pool[at].clone());
        match (self.walk(before, patch, schema)?, own) {
            (Merged::Cleared, _) => Ok(None),
            (Merged::Own(value), Some(at)) => {
                lists.pool[at] = value;
                Ok(Some(at))
            }
            (Merged::Own(value) | Merged::Patch(value), _) => {
                lists.pool.push(value);
                Ok(Some(lists.pool.len() - 1))
            }
        }
    }
}

fn is_empty_map(value: &Node) -> bool {
    matches!(&value.kind, Kind::Map(entries) if entries.is_empty())
}

/// Two values of which none is more than null: an explicit null of the object stays, everything else goes.
fn merge_nulls(own: Option<Node>, patch: Option<Node>) -> Merged {
    match (own, patch) {
        (Some(own), None) if !node::text(&own).is_empty() => Merged::Own(own),
        _ => Merged::Cleared,
    }
}

const DIRECTIVE: &str = "$patch";

fn take_directive(patch: &mut Node) -> Result<Directive> {
    let Some(value) = patch.get(DIRECTIVE) else {
        return Ok(Directive::Merge);
    };
    let directive = directive(node::text(value))?;
    node::remove(patch, DIRECTIVE);
    Ok(directive)
}

fn directive(text: &str) -> Result<Directive> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(Error::invalid(format!("unknown patch strategy '{other}'"))
            .hint("$patch may be merge, replace or delete")),
    }
}

/// The directive of a list is an item with nothing else in it.
fn take_list_directive(patch: &mut Node) -> Result<Directive> {
    let Kind::Seq(items) = &mut patch.kind else {
        return Ok(Directive::Merge);
    };
    let Some(item) = items.iter().find(|item| item.get(DIRECTIVE).is_some()) else {
        return Ok(Directive::Merge);
    };
    if item.entries().is_some_and(|entries| entries.len() > 1) {
        return Ok(Directive::Merge);
    }
    let text = item
        .get(DIRECTIVE)
        .map(node::text)
        .unwrap_or_default()
        .to_owned();
    let directive = directive(&text)?;
    items.retain(|item| {
        !node::is_null(item)
            && !is_empty_map(item)
            && item
                .get(DIRECTIVE)
                .is_none_or(|value| node::text(value) != text)
    });
    Ok(directive)
}
