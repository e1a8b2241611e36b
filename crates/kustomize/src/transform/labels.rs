//! `labels` and `commonLabels`.

use crate::config::TransformerConfig;
use crate::error::Result;
use crate::field_spec::{self, Create, FieldSpec};
use crate::id::Gvk;
use crate::kustomization::Label;
use crate::node::{self, Tag};
use crate::resources::Resources;

/// The fields that one entry of `labels` sets.
pub(crate) fn specs(label: &Label, config: &TransformerConfig) -> Result<Vec<FieldSpec>> {
    let mut specs = label.fields.clone();
    field_spec::merge(&mut specs, &config.labels)?;
    if label.include_selectors {
        field_spec::merge(&mut specs, &config.common_labels)?;
    } else {
        if label.include_templates {
            field_spec::merge(&mut specs, &config.template_labels)?;
        }
        field_spec::merge_one(
            &mut specs,
            FieldSpec::new(Gvk::default(), "metadata/labels", true),
        )?;
    }
    Ok(specs)
}

/// Sets each pair in each of the fields; the same for labels, annotations and selectors.
pub(crate) fn transform(
    resources: &mut Resources,
    pairs: &[(String, String)],
    specs: &[FieldSpec],
) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    for resource in resources.contents_mut() {
        let numbers: Vec<u32> = pairs.iter().map(|_| resource.share()).collect();
        for spec in specs {
            spec.apply(resource, Create::Map, &mut |map| {
                pairs
                    .iter()
                    .zip(&numbers)
                    .try_for_each(|((key, value), number)| {
                        node::set_shared_entry(map, key, value, Tag::Str, *number)
                    })
            })?;
        }
        resource.sync_shared();
    }
    Ok(())
}
