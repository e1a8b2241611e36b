//! Objects that a typed apply stumbles over, and what Flux does with them.

use std::sync::PoisonError;

use fairway_schema::{
    builtin,
    structural::{Unknown, prune},
};
use fairway_types::{ObjectId, names::FIELD_MANAGER};
use serde_json::Value;

use super::Run;
use crate::{error::RequestError, managed, mapper::Resource};

impl Run<'_> {
    /// A dry-run apply. Where it fails on a field that is not declared, the two causes that Flux knows are removed first.
    pub(super) async fn validate(
        &self,
        resource: &Resource,
        id: &ObjectId,
        object: &mut Value,
    ) -> Result<Value, RequestError> {
        let mut error = match self.dry_run(resource, object).await {
            Err(error) if error.is_undeclared_field() => error,
            answer => return answer,
        };
        // Owners' entries of an older version do not know fields that the new one defaults.
        if let Ok(Some(live)) = self.session.get(resource, &id.namespace, &id.name).await
            && let Some(operations) = managed::migration(&live, &resource.api_version())
        {
            let (session, namespace, name) = (self.session, &id.namespace, &id.name);
            let patched = session
                .json_patch(resource, namespace, name, &operations, FIELD_MANAGER)
                .await;
            if patched.is_ok() {
                match self.dry_run(resource, object).await {
                    Err(again) if again.is_undeclared_field() => error = again,
                    answer => return answer,
                }
            }
        }
        // Flux reads built-in kinds into Go's types, which drops what they do not have.
        let schema = builtin::schema(&resource.group, &resource.version, &resource.kind);
        let Some(schema) = schema else {
            return Err(error);
        };
        let unknown = prune(schema, object, Unknown::Remove);
        if unknown.is_empty() {
            return Err(error);
        }
        let answer = self.dry_run(resource, object).await;
        if answer.is_ok() {
            tracing::warn!(
                object = id.subject(),
                fields = unknown.join(", "),
                "fields that the kind does not have are left out"
            );
            let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
            left_out.push((id.clone(), unknown));
        }
        answer
    }
}
