//! `replacements`: copies a value out of one resource into others.

use fairway_yaml::{Kind, Node, Span};

use crate::error::{Error, Result};
use crate::field_path;
use crate::id::effective_namespace;
use crate::kustomization::replacement::{FieldOptions, Replacement, Source, Target};
use crate::node::{self, Tag};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::selector::Matcher;

mod places;
mod structured;

const DEFAULT_PATH: &str = "metadata.name";

/// Makes the replacements one after the other.
pub(crate) fn transform(resources: &mut Resources, replacements: &[Replacement]) -> Result<()> {
    for replacement in replacements {
        let value = value(resources, replacement)?;
        for target in replacement.targets.iter().flatten() {
            put(resources, &value, target)?;
        }
    }
    Ok(())
}

fn value(resources: &Resources, replacement: &Replacement) -> Result<Node> {
    if replacement.targets.is_none()
        || (replacement.source.is_none() && replacement.source_value.is_none())
    {
        return Err(Error::invalid(
            "replacements must specify a source and at least one target",
        ));
    }
    let source = match (&replacement.source, &replacement.source_value) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "value and resource selectors are mutually exclusive",
            ));
        }
        (None, value) => return Ok(node::plain(value.as_deref().unwrap_or_default())),
        (Some(source), None) => source,
    };
    let resource = one_source(resources, source)?;
    let path = if source.field_path.is_empty() {
        DEFAULT_PATH
    } else {
        &source.field_path
    };
    let found = field_path::lookup(resource.object(), &field_path::split(path))
        .map_err(|error| error.while_doing("error looking up replacement source"))?
        .filter(|found| !node::is_empty(found))
        .ok_or_else(|| {
            Error::conflict(format!(
                "fieldPath `{path}` is missing for replacement source {}",
                source.id
            ))
        })?;
    let mut value = part_of(found, &source.options)?;
    forget_places(&mut value);
    Ok(value)
}

/// A copy is not shared with the fields that the source is shared with.
fn forget_places(node: &mut Node) {
    if node::shared::number(node.span).is_some() {
        node.span = Span::default();
    }
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::Seq(items) => items.iter_mut().for_each(forget_places),
        Kind::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value)| forget_places(value)),
    }
}

fn one_source<'r>(resources: &'r Resources, source: &Source) -> Result<&'r Resource> {
    let wanted = &source.id;
    let same = wanted.effective_namespace();
    let fits = |resource: &Resource| {
        let (group, version, _) = resource.type_parts();
        (wanted.gvk.group.is_empty() || wanted.gvk.group == group)
            && (wanted.gvk.version.is_empty() || wanted.gvk.version == version)
            && resource.names().any(|(kind, name, namespace)| {
                (wanted.gvk.kind.is_empty() || wanted.gvk.kind == kind)
                    && (wanted.name.is_empty() || wanted.name == name)
                    && (wanted.namespace.is_empty()
                        || same == effective_namespace(false, namespace))
            })
    };
    let mut found = resources.iter().filter(|resource| fits(resource));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Error::conflict(format!(
            "multiple matches for selector {wanted}"
        ))),
        (None, _) => Err(Error::conflict(format!("nothing selected by {wanted}"))),
    }
}

fn part_of(value: &Node, options: &FieldOptions) -> Result<Node> {
    if options.delimiter.is_empty() {
        return Ok(value.clone());
    }
    let Some(text) = value.text() else {
        return Err(Error::invalid(
            "delimiter option can only be used with scalar nodes",
        ));
    };
    let part = usize::try_from(options.index)
        .ok()
        .and_then(|at| text.split(&options.delimiter).nth(at));
    let part = part.ok_or_else(|| {
        Error::invalid(format!(
            "options.index {} is out of bounds for value {text}",
            options.index
        ))
    })?;
    let mut out = value.clone();
    node::set_text(&mut out, part);
    Ok(out)
}

fn put(resources: &mut Resources, value: &Node, target: &Target) -> Result<()> {
    let Some(select) = &target.select else {
        return Err(Error::invalid("target must specify resources to select"));
    };
    let select = Matcher::new(select)?;
    let reject = target
        .reject
        .iter()
        .map(Matcher::new)
        .collect::<Result<Vec<_>>>()?;
    let rejected = |resource: &Resource| {
        reject.iter().any(|matcher| {
            let by_metadata = !(matcher.labels.is_empty() && matcher.annotations.is_empty());
            (by_metadata && matcher.metadata(resource))
                || (!matcher.any_id() && matches(matcher, resource))
        })
    };
    let default = [DEFAULT_PATH.to_owned()];
    let paths = if target.field_paths.is_empty() {
        &default[..]
    } else {
        &target.field_paths
    };
    for resource in resources.items_mut() {
        let chosen = matches(&select, resource) && select.metadata(resource) && !rejected(resource);
        if !chosen {
            continue;
        }
        let mut object = resource.lend_object();
        let done = paths
            .iter()
            .try_for_each(|path| set(&mut object, path, value, &target.options));
        resource.set_object(object);
        resource.sync_shared();
        done.map_err(|error| error.while_doing(resource.id()))?;
    }
    Ok(())
}

/// Whether the current id, as it is written, or an earlier one is chosen.
fn matches(matcher: &Matcher, resource: &Resource) -> bool {
    let (group, version, _) = resource.type_parts();
    resource.names().any(|(kind, name, namespace)| {
        matcher.gvk((group, version, kind)) && matcher.name(name) && matcher.namespace(namespace)
    })
}

fn set(object: &mut Node, path: &str, value: &Node, options: &FieldOptions) -> Result<()> {
    let parts = field_path::split(path);
    if structured::set(object, &parts, value, options.create) {
        return Ok(());
    }
    let what = if options.create {
        "find or create"
    } else {
        "find"
    };
    let unable = || format!("unable to {what} field {path:?} in replacement target");
    let create = options.create.then_some(&value.kind);
    let places =
        places::find(object, &parts, create).map_err(|error| error.while_doing(unable()))?;
    if places.is_empty() {
        return Err(
            Error::conflict(unable()).hint("`options.create` makes a field that is missing")
        );
    }
    for place in places {
        let Some(field) = place.get(object) else {
            continue;
        };
        set_field(field, value, options, place.created)?;
    }
    Ok(())
}

fn set_field(field: &mut Node, value: &Node, options: &FieldOptions, created: bool) -> Result<()> {
    let mut new = value.clone();
    if !options.delimiter.is_empty() {
        let Some(old) = field.text() else {
            return Err(Error::invalid(
                "delimiter option can only be used with scalar nodes",
            ));
        };
        let text = if node::is_null(value) {
            ""
        } else {
            node::text(value)
        };
        let mut parts: Vec<&str> = old.split(&options.delimiter).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, text),
            Ok(at) if at >= parts.len() => parts.push(text),
            Ok(at) => parts[at] = text,
        }
        let joined = parts.join(&options.delimiter);
        if new.scalar().is_some() {
            node::set_text(&mut new, &joined);
        } else {
            new = node::plain(joined);
        }
    }
    match &field.kind {
        Kind::Scalar(_) if created => node::set_scalar(field, node::text(&new), Tag::Unset),
        Kind::Scalar(_) => {
            // The type of the target stays.
            node::set_text(field, node::text(&new));
            Ok(())
        }
        _ => {
            field.kind = new.kind;
            Ok(())
        }
    }
}
