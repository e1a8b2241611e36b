//! Parameters of writes.

use http::header;
use serde_json::json;

use crate::http::Call;
use crate::status::{ApiError, FieldError};

/// What to do with unknown and duplicate fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Parameters of a create, update or patch.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    /// Who owns the fields: `fieldManager`, else the first part of the user agent.
    pub(crate) manager: String,
    pub(crate) manager_given: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) force: bool,
}

impl WriteOptions {
    /// What the API server writes itself.
    pub(super) fn of_server() -> Self {
        Self {
            dry_run: false,
            manager: "kube-apiserver".into(),
            manager_given: true,
            validation: FieldValidation::Ignore,
            force: false,
        }
    }

    pub(crate) fn parse(call: &Call) -> Result<Self, ApiError> {
        let query = &call.query;
        let mut dry_run = false;
        for value in query.all("dryRun").filter(|value| !value.is_empty()) {
            if value != "All" {
                return Err(invalid(
                    call,
                    &FieldError::unsupported("dryRun", &json!([value]), &["All"]),
                ));
            }
            dry_run = true;
        }
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(invalid(
                    call,
                    &FieldError::unsupported(
                        "fieldValidation",
                        &json!(other),
                        &["", "Ignore", "Strict", "Warn"],
                    ),
                ));
            }
        };
        let given = query.get("fieldManager");
        if given.is_some_and(|name| name.len() > 128) {
            return Err(invalid(
                call,
                &FieldError {
                    field: "fieldManager".into(),
                    reason: "FieldValueTooLong",
                    detail: "Too long: may not be more than 128 bytes".into(),
                },
            ));
        }
        if let Some((at, c)) = given
            .into_iter()
            .flat_map(|name| name.chars().enumerate())
            .find(|(_, c)| c.is_control())
        {
            return Err(invalid(
                call,
                &FieldError::invalid(
                    "fieldManager",
                    &json!(given),
                    &format!(
                        "invalid character U+{:04X} (at position {at})",
                        u32::from(c)
                    ),
                ),
            ));
        }
        if query.get("force").is_some() && call.content_type() != "application/apply-patch+yaml" {
            return Err(invalid(
                call,
                &FieldError::forbidden("force", "may not be specified for non-apply patch"),
            ));
        }
        let manager = given.map_or_else(|| from_user_agent(call), str::to_owned);
        Ok(Self {
            dry_run,
            manager,
            manager_given: given.is_some(),
            validation,
            force: query.flag("force"),
        })
    }
}

/// A refused parameter, under the name that the verb's parameters have.
fn invalid(call: &Call, error: &FieldError) -> ApiError {
    let kind = match call.target.verb.as_str() {
        "create" => "CreateOptions",
        "patch" => "PatchOptions",
        _ => "UpdateOptions",
    };
    ApiError::invalid("meta.k8s.io", kind, "", std::slice::from_ref(error))
}

fn from_user_agent(call: &Call) -> String {
    let agent = call.header(header::USER_AGENT).unwrap_or_default();
    let name: String = agent
        .split('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(128)
        .collect();
    if name.is_empty() {
        "unknown".into()
    } else {
        name
    }
}
