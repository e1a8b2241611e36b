//! Field specs: which field of which kinds a transformer works on, as `spec/template/metadata/labels` of Deployments.

use fairway_yaml::{Kind, Node};

use crate::error::{Error, Result};
use crate::id::Gvk;
use crate::node;
use crate::resource::Resource;

/// A field of some kinds of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    /// The kinds; empty parts match everything.
    pub(crate) gvk: Gvk,
    /// The field, as written.
    pub(crate) path: String,
    /// Whether to add the field where it is absent.
    pub(crate) create: bool,
    /// The path at its slashes.
    parts: Vec<String>,
}

/// What to add where a field is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Nothing,
    Scalar,
    Map,
}

impl FieldSpec {
    pub(crate) fn new(gvk: Gvk, path: &str, create: bool) -> Self {
        Self {
            gvk,
            path: path.to_owned(),
            create,
            parts: split_path(path, '/'),
        }
    }

    /// Whether the object's apiVersion and kind are among those of the spec.
    pub(crate) fn matches(&self, (group, version, kind): (&str, &str, &str)) -> bool {
        (self.gvk.kind.is_empty() || self.gvk.kind == kind)
            && (self.gvk.group.is_empty() || self.gvk.group == group)
            && (self.gvk.version.is_empty() || self.gvk.version == version)
    }

    /// Whether something of this name, which is null or no scalar, is not what the path expects there: a null list, or a
    /// map or list at its end.
    pub(crate) fn names_odd(&self, name: &str, value: &Node) -> bool {
        let null_list = || {
            let mut parts = self.parts.iter();
            node::is_null(value) && parts.any(|part| part.strip_suffix("[]") == Some(name))
        };
        let at_end = || self.parts.last().is_some_and(|last| last == name);
        null_list() || (!node::is_null(value) && at_end())
    }

    /// Calls `set` with each value of the field, in lists with that of each item.
    pub(crate) fn visit(
        &self,
        object: &mut Node,
        create: Create,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let create = if self.create { create } else { Create::Nothing };
        walk(object, &self.parts, create, set)
            .map_err(|error| error.while_doing(format_args!("field {}", self.path)))
    }

    /// [`FieldSpec::visit`] on a resource of one of the spec's kinds.
    pub(crate) fn apply(
        &self,
        resource: &mut Resource,
        create: Create,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        if !self.matches(resource.type_parts()) {
            return Ok(());
        }
        self.visit(resource.object_mut(), create, set)
            .map_err(|error| error.while_doing(resource.id()))
    }
}

fn walk(
    node: &mut Node,
    path: &[String],
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    let Some((part, rest)) = path.split_first() else {
        return set(node);
    };
    if node::is_null(node) {
        return Ok(());
    }
    match &mut node.kind {
        Kind::Seq(items) => items
            .iter_mut()
            .try_for_each(|item| walk(item, path, create, set)),
        Kind::Scalar(_) => Err(node::wrong_kind("a map or a list", node)),
        Kind::Map(_) => {
            let (name, list) = match part.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (part.as_str(), false),
            };
            if name.is_empty() {
                return Err(Error::invalid("a path with an empty field name"));
            }
            let fresh = match (create, list, rest.is_empty()) {
                (Create::Nothing, false, _) => None,
                (_, true, _) => Some(Kind::Seq(Vec::new())),
                (Create::Scalar, false, true) => Some(node::plain("").kind),
                (Create::Scalar | Create::Map, false, _) => Some(Kind::Map(Vec::new())),
            };
            if node.get(name).is_none() {
                match fresh {
                    Some(kind) if !list => node::insert(node, name, node::node(kind)),
                    _ => return Ok(()),
                }
            } else if let (Some(kind), Some(child)) = (fresh, node::get_mut(node, name))
                && node::is_null(child)
            {
                child.kind = kind;
            }
            match node::get_mut(node, name) {
                Some(child) => walk(child, rest, create, set),
                None => Ok(()),
            }
        }
    }
}

/// Splits at the delimiter, where a backslash before it makes it part of a name. One leading delimiter is dropped.
pub(crate) fn split_path(path: &str, delimiter: char) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut parts = path.split(delimiter).peekable();
    if path.starts_with(delimiter) && path.contains(delimiter) {
        parts.next();
    }
    for part in parts {
        match out.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => out.push(part.to_owned()),
        }
    }
    out
}

/// Adds the specs of `incoming` that are not there yet.
pub(crate) fn merge(specs: &mut Vec<FieldSpec>, incoming: &[FieldSpec]) -> Result<()> {
    incoming
        .iter()
        .try_for_each(|spec| merge_one(specs, spec.clone()))
}

pub(crate) fn merge_one(specs: &mut Vec<FieldSpec>, spec: FieldSpec) -> Result<()> {
    match specs
        .iter()
        .find(|have| have.path == spec.path && have.gvk.is_selected_by(&spec.gvk))
    {
        Some(have) if have.create == spec.create => Ok(()),
        Some(_) => Err(
            Error::conflict(format!("conflicting field specs for {}", spec.path))
                .hint("`create` must be the same in both"),
        ),
        None => {
            specs.push(spec);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_slash_is_part_of_the_name() {
        assert_eq!(
            split_path(r"metadata/annotations/a.io\/b", '/'),
            ["metadata", "annotations", "a.io/b"]
        );
        assert_eq!(split_path("/a/b", '/'), ["a", "b"]);
    }

    #[test]
    fn an_absent_field_is_added_only_where_asked() {
        let mut doc = fairway_yaml::parse("spec: {list: [{a: 1}, {}]}")
            .unwrap()
            .remove(0)
            .root;
        let spec = FieldSpec::new(Gvk::default(), "spec/list/a", true);
        spec.visit(&mut doc, Create::Scalar, &mut |value| {
            node::set_scalar(value, "2", node::Tag::Int)
        })
        .unwrap();
        assert_eq!(
            doc.to_json().unwrap(),
            serde_json::json!({"spec": {"list": [{"a": 2}, {"a": 2}]}})
        );
        let spec = FieldSpec::new(Gvk::default(), "spec/other/deep", false);
        spec.visit(&mut doc, Create::Scalar, &mut |_| {
            panic!("nothing to visit")
        })
        .unwrap();
    }
}
