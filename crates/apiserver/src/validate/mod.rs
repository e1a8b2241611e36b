//! The rules that built-in kinds add to their schemas.

mod immutable;
mod kinds;
mod metadata;
mod policies;

use serde_json::Value;

pub(crate) use metadata::{label_key_error, label_value_error};

use crate::crd;
use crate::resources::{Origin, Resource};
use crate::status::FieldError;

/// Everything that is wrong with an object; `old` is what it replaces.
pub(crate) fn object(resource: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = metadata::check(resource, object, old);
    if old.is_some() && resource.origin == Origin::Builtin {
        // Looked at as metadata and as part of the object.
        errors.extend(errors.clone());
        errors.extend(errors.clone());
    }
    if resource.origin == Origin::Builtin {
        errors.extend(kinds::check(resource, object));
        if let Some(old) = old {
            errors.extend(immutable::check(resource, object, old));
        }
        if resource.is(crd::GROUP, crd::RESOURCE) {
            errors.extend(crd::validate(object, old));
        }
    }
    errors
}
