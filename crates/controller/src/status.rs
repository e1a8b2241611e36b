//! Writing a status: as one merge patch that holds what differs, or nothing at all where nothing does.

use std::sync::Arc;

use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::objects::{Change, Objects};

/// The merge patch (RFC 7386) that makes `new` of `old`; none where they are equal.
pub fn difference(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (key, value) in new {
                match old.get(key) {
                    Some(before) => {
                        if let Some(change) = difference(before, value) {
                            patch.insert(key.clone(), change);
                        }
                    }
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) if old == new => None,
        (_, new) => Some(new.clone()),
    }
}

/// Whether the object that a request was about is not there.
pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Patches the status of `object` from `old` to `new` and tells `objects` what the server answered. Returns the object as
/// the server has it then, and what changed by that; nothing where there was nothing to write.
pub async fn write<K, S>(
    api: &Api<K>,
    objects: &Objects<K>,
    name: &str,
    old: &S,
    new: &S,
    manager: &str,
) -> Result<Option<(Arc<K>, Option<Change<K>>)>, kube::Error>
where
    K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
    S: Serialize,
{
    let json = |status: &S| serde_json::to_value(status).map_err(kube::Error::SerdeError);
    let Some(change) = difference(&json(old)?, &json(new)?) else {
        return Ok(None);
    };
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let answer = api
        .patch_status(name, &params, &Patch::Merge(&json!({"status": change})))
        .await?;
    Ok(Some(objects.wrote(answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_sent() {
        let old = json!({"a": 1, "list": [1, 2], "gone": "x", "deep": {"same": true, "other": 1}});
        let new = json!({"a": 1, "list": [1, 3], "deep": {"same": true, "other": 2}});
        assert_eq!(
            difference(&old, &new),
            Some(json!({"list": [1, 3], "gone": null, "deep": {"other": 2}}))
        );
        assert_eq!(difference(&new, &new), None);
    }
}
