//! Field paths of replacements and vars: `spec.template.spec.containers.[name=app].env.0.value`, with
//! `[a.b/c]` for a key with dots in it.

use fairway_yaml::{Kind, Node};

use crate::error::{Error, Result};
use crate::field_spec::split_path;
use crate::node;

/// Splits at dots that stand outside of brackets.
pub(crate) fn split(path: &str) -> Vec<String> {
    let parts = split_path(path, '.');
    let mut out = Vec::with_capacity(parts.len());
    let mut parts = parts.into_iter();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            out.push(part);
            continue;
        }
        let mut joined = part;
        for part in parts.by_ref() {
            joined.push('.');
            joined.push_str(&part);
            if part.ends_with(']') {
                break;
            }
        }
        out.push(if joined.contains('=') {
            joined
        } else {
            joined.trim_matches(['[', ']']).to_owned()
        });
    }
    out
}

/// `containers[0]` as two parts, as vars write it.
pub(crate) fn split_var(path: &str) -> Vec<String> {
    let mut out = Vec::new();
    for part in split(path) {
        let index = part
            .strip_suffix(']')
            .and_then(|rest| rest.rsplit_once('['));
        match index {
            Some((name, number))
                if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                if !name.is_empty() {
                    out.push(name.to_owned());
                }
                out.push(number.to_owned());
            }
            _ => out.push(part),
        }
    }
    out
}

/// The number of a list item.
pub(crate) fn index(part: &str) -> Option<usize> {
    part.parse::<usize>()
        .ok()
        .filter(|_| !part.starts_with('+'))
}

/// `[key=value]`; a bare `[value]` is an error.
pub(crate) fn condition(part: &str) -> Option<Result<(&str, &str)>> {
    let inner = part.strip_prefix('[')?.strip_suffix(']')?;
    Some(
        inner.split_once('=').ok_or_else(|| {
            Error::invalid(format!("the path element {part} must be [field=value]"))
        }),
    )
}

/// The value at a path, if there is one.
pub(crate) fn lookup<'n>(node: &'n Node, path: &[String]) -> Result<Option<&'n Node>> {
    let mut at = node;
    for part in path
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
    {
        let next = if part.parse::<i64>().is_ok_and(|number| number < 0) {
            return Err(Error::invalid(format!(
                "array index {part} cannot be negative"
            )));
        } else if let Some(number) = index(part) {
            list(at)?.get(number)
        } else if part == "-" {
            list(at)?.last()
        } else if part == "*" {
            return Err(Error::invalid("a wildcard cannot be used here"));
        } else if let Some(condition) = condition(part) {
            let (key, value) = condition?;
            list(at)?.iter().find(|item| has(item, key, value))
        } else {
            if node::is_null(at) {
                return Ok(None);
            }
            if at.entries().is_none() {
                return Err(node::wrong_kind("a map", at).while_doing(part));
            }
            at.get(part)
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn has(item: &Node, key: &str, value: &str) -> bool {
    if key.is_empty() {
        return item.text() == Some(value);
    }
    item.get(key).is_some_and(|have| node::text(have) == value)
}

fn list(node: &Node) -> Result<&[Node]> {
    match &node.kind {
        Kind::Seq(items) => Ok(items),
        _ if node::is_null(node) => Ok(&[]),
        _ => Err(node::wrong_kind("a list", node)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_dots_together() {
        assert_eq!(
            split("metadata.annotations.[a.b/c]"),
            ["metadata", "annotations", "a.b/c"]
        );
        assert_eq!(
            split("spec.c.[name=a.b].image"),
            ["spec", "c", "[name=a.b]", "image"]
        );
        assert_eq!(split(r"a.b\.c"), ["a", "b.c"]);
        assert_eq!(
            split_var("spec.ports[0].port"),
            ["spec", "ports", "0", "port"]
        );
    }

    #[test]
    fn lookup_follows_names_numbers_and_conditions() {
        let doc = fairway_yaml::parse("a: [{n: x, v: 1}, {n: y, v: 2}]")
            .unwrap()
            .remove(0)
            .root;
        let at = |path: &str| lookup(&doc, &split(path)).unwrap().map(node::text);
        assert_eq!(at("a.1.v"), Some("2"));
        assert_eq!(at("a.[n=x].v"), Some("1"));
        assert_eq!(at("a.-.n"), Some("y"));
        assert_eq!(at("a.[n=z].v"), None);
        assert!(lookup(&doc, &split("a.b")).is_err());
    }
}
