//! Strategic merge patch, as the API server applies it to built-in types.
//!
//! Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/FIELD` and
//! `$deleteFromPrimitiveList/FIELD`. Which lists merge, and by which key, comes from the schema.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::fields::compare::go_plain;
use crate::structural::{Additional, Node, Patch, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

/// Why a patch can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is no JSON object.
    #[error("strategic merge patch format is not supported")]
    NotAnObject,
    /// `$patch` has another value than it may have here.
    #[error("unknown patch type: {found} in map: {map}")]
    Directive {
        /// The value.
        found: String,
        /// Where it stands.
        map: String,
    },
    /// A list item lacks the key that tells items apart.
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item.
        map: String,
        /// The key.
        key: String,
    },
    /// A list of objects is to be merged, and nothing tells items apart.
    #[error("cannot merge lists without merge key for {0}")]
    NoMergeKeyDeclared(String),
    /// Items of one list have different types.
    #[error("list element types are not identical: {0}")]
    MixedList(String),
    /// A list holds lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The schema doesn't have the field.
    #[error("unable to find api field in struct {structure} for the json field {field:?}")]
    UnknownField {
        /// Name of the type.
        structure: String,
        /// Name of the field.
        field: String,
    },
    /// `$deleteFromPrimitiveList` is malformed.
    #[error("invalid patch format of primitive list")]
    DeleteFrom,
    /// `$retainKeys` is malformed, or doesn't name all fields of the patch.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` is malformed.
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    /// `$setElementOrder` contradicts the patch.
    #[error("the order in patch list {patch} doesn't match $setElementOrder list {order}")]
    OrderMismatch {
        /// The list in the patch.
        patch: String,
        /// The order that is asked for.
        order: String,
    },
    /// `$patch: merge` in a list item.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirective,
}

/// Applies a patch to an object of a built-in type.
pub fn apply(schema: &Schema, original: &Value, patch: &Value) -> Result<Value, Error> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(Error::NotAnObject);
    };
    Ok(Value::Object(merge_map(
        schema,
        original.clone(),
        patch.clone(),
    )?))
}

type Object = Map<String, Value>;

fn merge_map(schema: &Schema, mut original: Object, mut patch: Object) -> Result<Object, Error> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(Error::Directive {
                found: go_plain(directive),
                map: go_plain(&Value::Object(patch.clone())),
            }),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    order_lists(schema, &mut original, &mut patch)?;
    for (key, value) in patch {
        let parallel = key.starts_with(DELETE_FROM);
        let key = if parallel {
            named_list(&key, DELETE_FROM)
                .ok_or(Error::DeleteFrom)?
                .to_owned()
        } else {
            key
        };
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let merged = match (original.remove(&key), value) {
            (Some(Value::Object(original)), Value::Object(patch)) => {
                let (inner, _) = lookup(schema, &key)?;
                Some(Value::Object(merge_map(inner, original, patch)?))
            }
            (Some(Value::Array(original)), Value::Array(patch)) => {
                let (inner, place) = lookup(schema, &key)?;
                Some(Value::Array(merge_list(
                    inner, place, original, patch, parallel,
                )?))
            }
            (original, _) if parallel => original,
            (_, patch) => plain(patch, Nulls::Drop),
        };
        if let Some(merged) = merged {
            original.insert(key, merged);
        }
    }
    Ok(original)
}

/// `finalizers` of `$deleteFromPrimitiveList/finalizers`.
fn named_list<'k>(key: &'k str, directive: &str) -> Option<&'k str> {
    key.strip_prefix(directive)?.strip_prefix('/')
}

/// The schema of a field's value, and how it is patched.
fn lookup<'s>(schema: &'s Schema, key: &str) -> Result<(&'s Schema, &'s Patch), Error> {
    static NONE: Patch = Patch {
        merge: false,
        retain_keys: false,
        merge_key: None,
    };
    if let Some(node) = schema.properties.get(key) {
        return Ok((node, node.patch()));
    }
    match &schema.additional {
        Additional::Schema(node) => Ok((node, &NONE)),
        Additional::Absent if !schema.properties.is_empty() => Err(Error::UnknownField {
            structure: schema
                .name
                .and_then(|name| name.rsplit('.').next())
                .unwrap_or_default()
                .to_owned(),
            field: key.to_owned(),
        }),
        _ => Ok((Schema::unknown(), &NONE)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Drop,
    Keep,
}

/// A patch value as a value of its own, without directives; none if it is only a directive.
fn plain(patch: Value, nulls: Nulls) -> Option<Value> {
    match patch {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let entries = map
                .into_iter()
                .filter(|(_, value)| nulls == Nulls::Keep || !value.is_null());
            Some(
                entries
                    .filter_map(|(key, value)| Some((key, plain(value, nulls)?)))
                    .collect(),
            )
        }
        Value::Array(list) => Some(
            list.into_iter()
                .filter_map(|value| plain(value, nulls))
                .collect(),
        ),
        scalar => Some(scalar),
    }
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys.as_array().ok_or(Error::RetainKeys)?;
    let kept = |key: &str| keys.iter().any(|kept| kept == key);
    let known = patch.iter().all(|(key, value)| {
        value.is_null()
            || key.starts_with(DELETE_FROM)
            || key.starts_with(ELEMENT_ORDER)
            || kept(key)
    });
    if !known {
        return Err(Error::RetainKeys);
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// Merges lists whose order the patch gives, and takes them out of the patch.
fn order_lists(schema: &Schema, original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let key = named_list(&directive, ELEMENT_ORDER).ok_or(Error::ElementOrder)?;
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(Error::ElementOrder);
        };
        let list = |value: Option<&Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list.clone())),
            Some(_) => Err(Error::ElementOrder),
        };
        let (live, patched) = (list(original.get(key))?, list(patch.get(key))?);
        let (inner, place) = lookup(schema, key)?;
        check_order(
            patched.as_deref().unwrap_or_default(),
            &order,
            place.merge_key.as_deref(),
        )?;
        let merged = match (live.clone(), patched) {
            (None, None) => continue,
            (Some(live), None) => live,
            (None, Some(patched)) => match plain(Value::Array(patched), Nulls::Keep) {
                Some(Value::Array(list)) => list,
                _ => continue,
            },
            (Some(live), Some(patched)) => merge_list(inner, place, live, patched, false)?,
        };
        let live = live.unwrap_or_default();
        original.insert(
            key.to_owned(),
            Value::Array(arrange(merged, &order, &live, place.merge_key.as_deref())?),
        );
        patch.remove(key);
    }
    Ok(())
}

/// What tells items apart: the value of the merge key, or the item itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Result<&'v Value, Error> {
    match (item, key) {
        (Value::Object(map), Some(key)) => map.get(key).ok_or_else(|| Error::NoMergeKey {
            map: go_plain(item),
            key: key.to_owned(),
        }),
        _ => Ok(item),
    }
}

fn deletes(item: &Value) -> bool {
    item.get(DIRECTIVE)
        .is_some_and(|directive| directive == "delete")
}

/// The items of the patch must stand in the order that is asked for.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut wanted = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let mut found = false;
        for place in wanted.by_ref() {
            if identity(item, key)? == identity(place, key)? {
                found = true;
                break;
            }
        }
        if !found {
            return Err(Error::OrderMismatch {
                patch: go_plain(&json!(patch)),
                order: go_plain(&json!(order)),
            });
        }
    }
    Ok(())
}

fn merge_list(
    schema: &Schema,
    place: &Patch,
    live: Vec<Value>,
    patch: Vec<Value>,
    parallel: bool,
) -> Result<Vec<Value>, Error> {
    if !place.merge && !parallel {
        return Ok(patch);
    }
    if live.is_empty() && patch.is_empty() {
        return Ok(live);
    }
    if !of_objects(&live, &patch)? {
        if parallel {
            return Ok(live
                .into_iter()
                .filter(|item| !patch.contains(item))
                .collect());
        }
        let mut merged = live.clone();
        merged.extend(patch.iter().cloned());
        let mut unique: Vec<Value> = Vec::new();
        for item in merged {
            if !unique.contains(&item) {
                unique.push(item);
            }
        }
        return arrange(unique, &patch, &live, None);
    }
    let Some(key) = place.merge_key.as_deref() else {
        return Err(Error::NoMergeKeyDeclared("slice".into()));
    };
    let items: &Schema = schema
        .items
        .as_ref()
        .map_or(Schema::unknown(), |node: &Node| node);
    let (live, patch) = special_items(live, patch, key)?;
    let mut merged = live.clone();
    for item in &patch {
        let wanted = identity(item, Some(key))?;
        let place = merged
            .iter()
            .position(|found| found.get(key) == Some(wanted));
        match (place, item) {
            (Some(place), Value::Object(patch)) => {
                if let Value::Object(original) = &merged[place] {
                    merged[place] =
                        Value::Object(merge_map(items, original.clone(), patch.clone())?);
                }
            }
            _ => merged.push(item.clone()),
        }
    }
    arrange(merged, &patch, &live, Some(key))
}

/// Whether two lists hold objects; all items must be of one type.
fn of_objects(live: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut items = live.iter().chain(patch);
    let Some(first) = items.next() else {
        return Ok(false);
    };
    if first.is_array() {
        return Err(Error::ListOfLists);
    }
    if items.any(|item| std::mem::discriminant(item) != std::mem::discriminant(first)) {
        return Err(Error::MixedList(go_plain(&json!([live, patch]))));
    }
    Ok(first.is_object())
}

/// Carries out `$patch` in list items; gives what is left of both lists.
fn special_items(
    mut live: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut plain = Vec::new();
    let mut replace = false;
    for item in patch {
        match item
            .get(DIRECTIVE)
            .map(|directive| directive.as_str().unwrap_or_default())
        {
            None => plain.push(item),
            Some("delete") => {
                let wanted = identity(&item, Some(key))?;
                live.retain(|found| found.get(key) != Some(wanted));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(Error::MergeDirective),
            Some(other) => {
                return Err(Error::Directive {
                    found: other.to_owned(),
                    map: go_plain(&item),
                });
            }
        }
    }
    Ok(if replace {
        (plain, Vec::new())
    } else {
        (live, plain)
    })
}

/// Puts merged items in order: those of `order` as there, the others as in `live`, interleaved as in `live`.
fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    live: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Error> {
    let index = |list: &[Value], item: &Value| -> Option<usize> {
        let wanted = identity(item, key).ok()?;
        list.iter()
            .position(|found| identity(found, key).is_ok_and(|found| found == wanted))
    };
    for item in merged.iter().chain(order) {
        identity(item, key)?;
    }
    let (mut wanted, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| index(order, item).is_some());
    let by =
        |list: &[Value], left: &Value, right: &Value| match (index(list, left), index(list, right))
        {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => Ordering::Equal,
        };
    let (mut deleted, kept): (Vec<Value>, Vec<Value>) = wanted.into_iter().partition(deletes);
    wanted = kept;
    wanted.sort_by(|left, right| by(order, left, right));
    wanted.append(&mut deleted);
    others.sort_by(|left, right| by(live, left, right));

    let mut arranged = Vec::with_capacity(wanted.len() + others.len());
    let (mut wanted, mut others) = (wanted.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (wanted.peek(), others.peek()) {
            (None, None) => return Ok(arranged),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(other)) => {
                matches!((index(live, other), index(live, wanted)), (Some(other), Some(wanted)) if other < wanted)
            }
        };
        arranged.extend(if other_first {
            others.next()
        } else {
            wanted.next()
        });
    }
}
