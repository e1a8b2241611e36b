//! Replacements inside of a text that is JSON or YAML itself, such as a file in a ConfigMap (kustomize 5.8).

use fairway_yaml::edit::set_scalar;
use fairway_yaml::{Kind, Node};
use serde_json::Value;

use super::places::{self, Place};
use crate::field_path;
use crate::node;
use crate::transform::hash::{go_json, go_json_indented};

/// Sets a value inside of the first text on the path; says whether there was one and the rest led somewhere in it.
pub(super) fn set(object: &mut Node, path: &[String], value: &Node, create: bool) -> bool {
    let Some((text_path, inner_path, text)) = text_on(object, path) else {
        return false;
    };
    let Ok(mut documents) = fairway_yaml::parse(&text) else {
        return false;
    };
    let Some(mut root) = (!documents.is_empty()).then(|| documents.remove(0).root) else {
        return false;
    };
    let Ok(found) = places::find(&mut root, inner_path, create.then_some(&value.kind)) else {
        return false;
    };
    if found.is_empty() {
        return false;
    }
    let edited = edited(&text, &root, &found, value);
    for place in &found {
        let Some(field) = place.get(&mut root) else {
            continue;
        };
        match &field.kind {
            Kind::Scalar(_) if place.created => {
                if node::set_scalar(field, node::text(value), node::Tag::Unset).is_err() {
                    return false;
                }
            }
            Kind::Scalar(_) => node::set_text(field, node::text(value)),
            _ => field.kind = value.kind.clone(),
        }
    }
    let Ok(changed) = root.to_json() else {
        return false;
    };
    let new = match edited {
        Some(edited) => edited.trim().to_owned(),
        None => written(&changed, &text),
    };
    let Ok(places) = places::find(object, text_path, None) else {
        return false;
    };
    let Some(field) = places.first().and_then(|place| place.get(object)) else {
        return false;
    };
    node::set_text(field, &new);
    true
}

/// The first scalar on the way, what of the path leads to it and what goes on in its text.
fn text_on<'p>(object: &Node, path: &'p [String]) -> Option<(&'p [String], &'p [String], String)> {
    (1..path.len()).find_map(|end| {
        let found = field_path::lookup(object, &path[..end]).ok()??;
        let text = found.text()?;
        fairway_yaml::parse(text).ok()?;
        Some((&path[..end], &path[end..], text.to_owned()))
    })
}

/// The text of a YAML file with nothing but the values changed, so that comments stay; none for JSON, and where a value
/// cannot be changed in place.
fn edited(text: &str, root: &Node, places: &[Place], value: &Node) -> Option<String> {
    if is_json(text) || value.scalar().is_none() || places.iter().any(|place| place.created) {
        return None;
    }
    places.iter().try_fold(text.to_owned(), |text, place| {
        set_scalar(&text, &place.path(root)?, node::text(value)).ok()
    })
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// In the format that the text had.
fn written(value: &Value, before: &str) -> String {
    if !is_json(before) {
        return fairway_yaml::emit::to_string(value).trim().to_owned();
    }
    if before.contains('\n') && before.contains("  ") {
        return go_json_indented(value);
    }
    go_json(value)
}
