//! `replicas`.

use crate::error::{Error, Result};
use crate::field_spec::{Create, FieldSpec};
use crate::kustomization::Replica;
use crate::node::{self, Tag};
use crate::resources::Resources;

/// Sets the count where a resource of the name has one of the fields' kinds.
pub(crate) fn transform(
    resources: &mut Resources,
    replica: &Replica,
    specs: &[FieldSpec],
) -> Result<()> {
    let mut found = false;
    let count = replica.count.to_string();
    for spec in specs {
        for resource in resources.contents_mut() {
            let fits =
                |id: crate::id::ResId| id.name == replica.name && id.gvk.is_selected_by(&spec.gvk);
            if resource.is_gone() || !resource.ids().any(fits) {
                continue;
            }
            found = true;
            spec.apply(resource, Create::Scalar, &mut |value| {
                node::set_scalar(value, &count, Tag::Int)
            })?;
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<String> = specs.iter().map(|spec| spec.gvk.to_string()).collect();
    Err(Error::conflict(format!(
        "resource with name {} does not match a config with the following GVK [{}]",
        replica.name,
        kinds.join(" ")
    )))
}
