//! The values that the API server fills in where a manifest is silent.

use serde_json::Value;

use crate::resources::Resource;

/// Fills in the defaults of an object's kind.
pub(crate) fn fill(resource: &Resource, object: &mut Value) {
    let map = object.as_object_mut();
    if let Some(map) = map {
        map.entry("apiVersion")
            .or_insert_with(|| resource.storage_api_version().into());
        map.entry("kind")
            .or_insert_with(|| resource.kind.clone().into());
    }
}
