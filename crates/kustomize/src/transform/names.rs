//! `namePrefix` and `nameSuffix`.

use crate::error::Result;
use crate::field_spec::{Create, FieldSpec};
use crate::id::ResId;
use crate::node::{self, Tag};
use crate::resources::Resources;

/// At which end of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affix {
    Prefix,
    Suffix,
}

/// Puts `text` before or after the names that the field specs choose.
pub(crate) fn transform(
    resources: &mut Resources,
    affix: Affix,
    text: &str,
    specs: &[FieldSpec],
) -> Result<()> {
    for resource in resources.items_mut() {
        let original = resource.original_id();
        if keeps_its_name(&original) {
            continue;
        }
        for spec in specs
            .iter()
            .filter(|spec| original.gvk.is_selected_by(&spec.gvk))
        {
            if spec.path == "metadata/name" && !text.is_empty() {
                match affix {
                    Affix::Prefix => resource.prefixes.push(text.to_owned()),
                    Affix::Suffix => resource.suffixes.push(text.to_owned()),
                }
                resource.remember_id()?;
            }
            spec.apply(resource, Create::Scalar, &mut |value| {
                let old = node::text(value);
                let new = match affix {
                    Affix::Prefix => format!("{text}{old}"),
                    Affix::Suffix => format!("{old}{text}"),
                };
                node::set_scalar(value, &new, Tag::Unset)
            })?;
        }
        resource.sync_shared();
    }
    Ok(())
}

/// Kinds whose names mean something outside of the cluster's objects.
fn keeps_its_name(id: &ResId) -> bool {
    match id.gvk.kind.as_str() {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => id.gvk.group == "apiregistration.k8s.io",
        _ => false,
    }
}
