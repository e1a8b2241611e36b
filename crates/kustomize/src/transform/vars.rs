//! `vars`: values of fields, put in where `$(NAME)` stands.

use std::collections::{BTreeMap, BTreeSet};

use fairway_yaml::{Kind, Node, Style};

use crate::error::{Error, Result};
use crate::field_path;
use crate::field_spec::{Create, FieldSpec};
use crate::id::ResId;
use crate::kustomization::Var;
use crate::node::{self, Tag};
use crate::resources::Resources;

/// Marks the resources that the vars read from.
pub(crate) fn note(resources: &mut Resources, vars: &[Var]) -> Result<()> {
    for var in vars {
        let id = ResId::new(var.gvk.clone(), &var.object_name, &var.object_namespace);
        let exact = !id.namespace.is_empty() || id.cluster_scoped;
        let fits = |other: &ResId| {
            if exact {
                other.same(&id)
            } else {
                other.same_gvkn(&id)
            }
        };
        let found: Vec<usize> = resources
            .iter()
            .enumerate()
            .filter(|(_, resource)| !resource.is_gone() && resource.ids().any(|other| fits(&other)))
            .map(|(at, _)| at)
            .collect();
        match found[..] {
            [] => {}
            [at] => resources.items_mut()[at].vars.push(var.name.clone()),
            _ => {
                return Err(Error::conflict(format!(
                    "found {} resId matches for var {} (unable to disambiguate)",
                    found.len(),
                    var.name
                )));
            }
        }
    }
    Ok(())
}

/// Adds vars, whose names must be new.
pub(crate) fn merge(vars: &mut Vec<Var>, more: Vec<Var>) -> Result<()> {
    for var in more {
        if vars.iter().any(|have| have.name == var.name) {
            return Err(Error::conflict(format!(
                "var '{}' already encountered",
                var.name
            )));
        }
        vars.push(var);
    }
    Ok(())
}

/// A value that a var stands for.
#[derive(Debug, Clone)]
enum Value {
    Scalar(String, Tag),
    /// A map or a list: left alone.
    Other,
}

/// Puts the values in. The names of vars that nothing uses come back.
pub(crate) fn resolve(
    resources: &mut Resources,
    vars: &[Var],
    specs: &[FieldSpec],
) -> Result<Vec<String>> {
    if vars.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = BTreeMap::new();
    for var in vars {
        values.insert(var.name.clone(), value_of(resources, var)?);
    }
    let mut used = BTreeSet::new();
    for resource in resources.items_mut() {
        for spec in specs {
            spec.apply(resource, Create::Nothing, &mut |value| {
                set(value, &values, &mut used)
            })?;
        }
        resource.sync_shared();
    }
    Ok(values
        .into_keys()
        .filter(|name| !used.contains(name))
        .collect())
}

fn value_of(resources: &Resources, var: &Var) -> Result<Value> {
    let source = resources
        .iter()
        .find(|resource| resource.vars.contains(&var.name))
        .ok_or_else(|| {
            Error::conflict(format!(
                "var '{}' cannot be mapped to a field in the set of known resources",
                var.name
            ))
        })?;
    let absent = || {
        Error::conflict(format!(
            "field {} specified in var '{}' not found in corresponding resource",
            var.field_path, var.name
        ))
    };
    let found = field_path::lookup(source.object(), &field_path::split_var(&var.field_path))
        .map_err(|_| absent())?;
    let found = found.ok_or_else(absent)?;
    Ok(match &found.kind {
        Kind::Scalar(scalar) => {
            let tag = node::tag_of(found);
            Value::Scalar(
                scalar.text.clone(),
                if matches!(tag, Tag::Int | Tag::Bool | Tag::Float) {
                    tag
                } else {
                    Tag::Str
                },
            )
        }
        _ => Value::Other,
    })
}

fn set(
    value: &mut Node,
    values: &BTreeMap<String, Value>,
    used: &mut BTreeSet<String>,
) -> Result<()> {
    let is_string = |node: &Node| {
        node.scalar().is_some() && matches!(node::tag_of(node), Tag::Str | Tag::Unset)
    };
    match &mut value.kind {
        Kind::Scalar(_) => {
            if is_string(value) {
                replace(value, values, used);
            }
        }
        Kind::Map(entries) => {
            for (key, value) in entries {
                if !is_string(key) {
                    return Err(Error::invalid(format!(
                        "invalid map key: value='{}'",
                        node::text(key)
                    )));
                }
                if is_string(value) {
                    replace(value, values, used);
                }
            }
        }
        Kind::Seq(items) => {
            for item in items {
                if !is_string(item) {
                    return Err(Error::invalid("invalid value type expect a string"));
                }
                replace(item, values, used);
            }
        }
    }
    Ok(())
}

fn replace(value: &mut Node, values: &BTreeMap<String, Value>, used: &mut BTreeSet<String>) {
    let (text, tag) = expand(node::text(value), values, used);
    *value = node::edited(text, Style::Plain, tag, value.span);
}

/// A text that is nothing but one reference takes the value's type.
fn expand(
    input: &str,
    values: &BTreeMap<String, Value>,
    used: &mut BTreeSet<String>,
) -> (String, Tag) {
    let mut out = String::new();
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        match after.chars().next() {
            None => {
                out.push('$');
                return (out, Tag::Str);
            }
            Some('$') => {
                out.push('$');
                rest = &after[1..];
            }
            Some('(') => match after.find(')') {
                Some(end) => {
                    let name = &after[1..end];
                    match values.get(name) {
                        Some(Value::Scalar(text, tag)) => {
                            used.insert(name.to_owned());
                            if input.len() == name.len() + 3 {
                                return (text.clone(), *tag);
                            }
                            out.push_str(text);
                        }
                        _ => {
                            out.push_str("$(");
                            out.push_str(name);
                            out.push(')');
                        }
                    }
                    rest = &after[end + 1..];
                }
                None => {
                    out.push_str("$(");
                    rest = &after[1..];
                }
            },
            Some(other) => {
                out.push('$');
                out.push(other);
                rest = &after[other.len_utf8()..];
            }
        }
    }
    out.push_str(rest);
    (out, Tag::Str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_escapes_kept() {
        let values = BTreeMap::from([
            ("A".to_owned(), Value::Scalar("1".to_owned(), Tag::Int)),
            ("B".to_owned(), Value::Scalar("b".to_owned(), Tag::Str)),
        ]);
        let mut used = BTreeSet::new();
        let mut expanded = |text: &str| expand(text, &values, &mut used).0;
        assert_eq!(expanded("x-$(B)-$(A)"), "x-b-1");
        assert_eq!(expanded("$$(A) $(C) $(A"), "$(A) $(C) $(A");
        assert_eq!(expanded("$A $"), "$A $");
        assert_eq!(
            expand("$(A)", &values, &mut used),
            ("1".to_owned(), Tag::Int)
        );
    }
}
