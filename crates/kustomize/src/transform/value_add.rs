//! The built-in transformer ValueAddTransformer, which has no field of its own: writes a text into fields.

use fairway_yaml::Node;

use super::namespace::NamespaceTransformer;
use crate::error::{Error, Result};
use crate::field_spec::split_path;
use crate::node::{self, Tag};
use crate::options::Selector;
use crate::resources::Resources;
use crate::selector::Matcher;

/// Where the text goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ValueTarget {
    pub(crate) selector: Option<Selector>,
    /// Parts separated by slashes.
    pub(crate) field_path: String,
    /// Above zero: insert the text as that part of the path that stands in the field.
    pub(crate) position: i64,
}

/// Writes `value` into all targets.
pub(crate) fn transform(
    resources: &mut Resources,
    value: &str,
    targets: &[ValueTarget],
) -> Result<()> {
    for target in targets {
        let matcher = target.selector.as_ref().map(Matcher::new).transpose()?;
        let chosen = |resource: &crate::resource::Resource| {
            matcher
                .as_ref()
                .is_none_or(|matcher| matcher.selects(resource))
        };
        for resource in resources
            .items_mut()
            .iter_mut()
            .filter(|resource| chosen(resource))
        {
            if target.field_path == "metadata/namespace" {
                let namespace = NamespaceTransformer {
                    namespace: value.to_owned(),
                    ..NamespaceTransformer::default()
                };
                namespace.one(resource)?;
                continue;
            }
            let path = split_path(&target.field_path, '/');
            let field = field(resource.object_mut(), &path)
                .map_err(|error| error.in_field(target.field_path.clone()))?;
            let new = match usize::try_from(target.position) {
                Ok(position) if position > 0 => insert_part(node::text(field), position - 1, value),
                _ => value.to_owned(),
            };
            node::set_scalar(field, &new, Tag::Unset)?;
        }
    }
    Ok(())
}

fn field<'n>(object: &'n mut Node, path: &[String]) -> Result<&'n mut Node> {
    let mut at = object;
    for (depth, part) in path.iter().enumerate() {
        if at.entries().is_none() {
            return Err(node::wrong_kind("a map", at));
        }
        if at.get(part).is_none() {
            node::insert(
                at,
                part,
                if depth + 1 == path.len() {
                    node::plain("")
                } else {
                    node::map()
                },
            );
        }
        at = node::get_mut(at, part).ok_or_else(|| Error::invalid("the field cannot be made"))?;
    }
    Ok(at)
}

/// `part` put into a path at a position; at the end where the path is shorter.
fn insert_part(path: &str, position: usize, part: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(position.min(parts.len()), part);
    format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
}
