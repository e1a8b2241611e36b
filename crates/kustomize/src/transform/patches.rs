//! `patches`, `patchesStrategicMerge` and `patchesJson6902`.

use fairway_yaml::{Kind, Node};
use serde_json::Value;

use super::json_patch::JsonPatch;
use super::merge_patch;
use crate::error::{Error, Result};
use crate::merge_keys::MergeKeys;
use crate::node;
use crate::options::Selector;
use crate::read;
use crate::refold::refold;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::selector::Matcher;

/// One entry of `patches`, its text read.
pub(crate) enum Patch {
    /// Strategic merge patches. Comments alone make an empty list, which does nothing.
    Merge(Vec<Resource>),
    Json(JsonPatch),
}

impl Patch {
    /// Finds out what a text is. `file` is where it stands.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        // Most often the start says it all, and one reading is enough: what is a list is no resource.
        let start = text.trim_start();
        if start.starts_with(['[', '-']) && !start.starts_with("---") {
            if let Ok(json) = JsonPatch::parse(text)
                && !json.is_empty()
            {
                return Ok(Self::Json(json));
            }
        } else if let Ok(merge) = read::patches(file, text.as_bytes())
            && !merge.is_empty()
        {
            return Ok(Self::Merge(merge));
        }
        let merge = read::patches(file, text.as_bytes());
        let json = if text.is_empty() {
            Err(Error::invalid("empty json patch operations"))
        } else {
            JsonPatch::parse(text)
        };
        match (merge, json) {
            (Ok(merge), Ok(json)) if !merge.is_empty() && !json.is_empty() => Err(Error::invalid(
                "the patch is both a strategic merge patch and a JSON patch",
            )
            .in_file(file)),
            (Ok(merge), _) => Ok(Self::Merge(merge)),
            (Err(_), Ok(json)) => Ok(Self::Json(json)),
            (Err(merge), Err(json)) => {
                let is_list = text.trim_start().starts_with(['[', '-']);
                Err(if is_list { json } else { merge }
                    .while_doing(format_args!("unable to parse SM or JSON patch from {file}"))
                    .in_file(file))
            }
        }
    }

    /// Lets the patches change names or kinds.
    pub(crate) fn allow(&mut self, name_change: bool, kind_change: bool) {
        if let Self::Merge(patches) = self {
            for patch in patches {
                patch.allow_name_change |= name_change;
                patch.allow_kind_change |= kind_change;
                // Kustomize writes this into the patch's annotations, all of which become strings by that.
                if name_change || kind_change {
                    patch.annotations_to_texts();
                }
            }
        }
    }

    pub(crate) fn transform(
        &self,
        resources: &mut Resources,
        target: Option<&Selector>,
        keys: &MergeKeys,
    ) -> Result<()> {
        match (self, target) {
            (Self::Merge(patches), None) => {
                for patch in patches {
                    let at = resources.one_answering_to(&patch.original_id())?;
                    merge(&mut resources.items_mut()[at], patch, keys)?;
                }
                Ok(())
            }
            (Self::Merge(patches), Some(target)) => match &patches[..] {
                [] => Ok(()),
                [patch] => {
                    let matcher = Matcher::new(target)?;
                    let selected: Vec<bool> = resources.iter().map(|resource| matcher.selects(resource)).collect();
                    merge_selected(resources, &selected, patch, keys)
                }
                _ => Err(Error::invalid("Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set `patches.target` field")
                    .hint("give each an entry of its own")),
            },
            (Self::Json(_), None) => Err(Error::invalid("must specify a target for JSON patch")
                .hint("add `target` with the kind and the name of what to patch")),
            (Self::Json(patch), Some(target)) => json(resources, target, patch, true),
        }
    }
}

/// Applies JSON operations to what the target selects.
pub(crate) fn json(
    resources: &mut Resources,
    target: &Selector,
    patch: &JsonPatch,
    remember: bool,
) -> Result<()> {
    let matcher = Matcher::new(target)?;
    for resource in resources
        .items_mut()
        .iter_mut()
        .filter(|resource| matcher.selects(resource))
    {
        if remember {
            resource.remember_id()?;
        }
        let id = resource.id();
        let doing = |error: Error| error.while_doing(&id);
        let mut object = resource.lend_object();
        // Kustomize keeps its books in annotations, so that to a patch they are there once names were changed.
        if resource.has_books()
            && let Some(metadata) = node::child_map(&mut object, "metadata")
        {
            node::child_map(metadata, "annotations");
        }
        refold(&mut object).map_err(doing)?;
        let mut value = object
            .into_json()
            .map_err(|error| doing(Error::syntax(&error)))?;
        patch.apply(&mut value).map_err(doing)?;
        if !value.is_object() {
            return Err(doing(Error::invalid("the patch leaves no object")));
        }
        resource.set_object(node::placed(from_json(&value)));
    }
    Ok(())
}

/// Kustomize's JSON patches know floating point numbers only, and write them down as Go does: `1e+06` for a million,
/// which is what a name that is made of it gets.
fn from_json(value: &Value) -> Node {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) => node::plain(go_number(float)),
            None => Node::from_json(value),
        },
        Value::Array(items) => node::node(Kind::Seq(items.iter().map(from_json).collect())),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                (
                    Node::from_json(&Value::String(key.clone())),
                    from_json(value),
                )
            };
            node::node(Kind::Map(map.iter().map(entry).collect()))
        }
        value => Node::from_json(value),
    }
}

/// The shortest text of a number: with an exponent below 1e-4 and from a million on.
fn go_number(float: f64) -> String {
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{float}"),
    }
}

/// Merges the patch into the resource that has or had its id.
pub(crate) fn merge_by_id(
    resources: &mut Resources,
    patch: &Resource,
    keys: &MergeKeys,
) -> Result<()> {
    let at = resources.one_answering_to(&patch.original_id())?;
    let mut selected = vec![false; resources.len()];
    selected[at] = true;
    merge_selected(resources, &selected, patch, keys)
}

/// Merges the patch into the selected resources, of which those that it deletes go at once.
pub(crate) fn merge_selected(
    resources: &mut Resources,
    selected: &[bool],
    patch: &Resource,
    keys: &MergeKeys,
) -> Result<()> {
    let mut patch = patch.clone();
    patch.normalise_metadata()?;
    let patch_kind = patch.kind().to_owned();
    let mut items = std::mem::take(resources).into_items();
    for (resource, _) in items
        .iter_mut()
        .zip(selected)
        .filter(|(_, selected)| **selected)
    {
        let mut patch = patch.clone();
        let api_version = resource.api_version().to_owned();
        patch.set_type(&api_version, &patch_kind)?;
        merge(resource, &patch, keys)?;
    }
    items.retain(|resource| !resource.is_gone());
    resources.rebuild(items)
}

/// Whether a patch removes all annotations, and with them what kustomize keeps there for itself.
fn takes_annotations_away(patch: &Node) -> bool {
    let replaces = |node: &Node| {
        node.get("$patch")
            .is_some_and(|directive| matches!(node::text(directive), "replace" | "delete"))
    };
    let Some(metadata) = patch.get("metadata") else {
        return false;
    };
    replaces(metadata)
        || metadata
            .get("annotations")
            .is_some_and(|annotations| node::is_null(annotations) || replaces(annotations))
}

/// Merges a patch into one resource, whose name, namespace and kind stay unless the patch may change them.
pub(crate) fn merge(resource: &mut Resource, patch: &Resource, keys: &MergeKeys) -> Result<()> {
    let (name, namespace, kind) = (
        resource.name().to_owned(),
        resource.namespace().to_owned(),
        resource.kind().to_owned(),
    );
    if patch.allow_name_change || patch.allow_kind_change {
        resource.remember_id()?;
    }
    if takes_annotations_away(patch.object()) {
        resource.forget_books();
    }
    let id = resource.id();
    let object = resource.lend_object();
    let merged =
        merge_patch::merge(object, patch.object(), keys).map_err(|error| error.while_doing(id))?;
    let Some(merged) = merged else { return Ok(()) };
    resource.set_object(merged);
    resource.sync_shared();
    if resource.is_gone() {
        return Ok(());
    }
    if !patch.allow_kind_change {
        resource.set_kind(&kind)?;
    }
    if !patch.allow_name_change {
        resource.set_name(&name)?;
    }
    resource.set_namespace(&namespace)
}

#[cfg(test)]
mod tests {
    use super::go_number;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (12_345_678.0, "1.2345678e+07"),
            (-0.0001, "-0.0001"),
            (0.00001, "1e-05"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(go_number(number), text);
        }
    }
}
