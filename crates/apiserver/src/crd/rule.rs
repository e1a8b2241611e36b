//! One rule of `x-kubernetes-validations`.

use fairway_cel::{Answer, Budget, Environment, Program, Type, Variables};
use fairway_schema::structural::Schema;
use serde_json::Value;

use super::path;
use crate::status::FieldError;

/// Longest message that an expression may make.
const MESSAGE: usize = 5 * 1024;

/// A rule and what compiling it came to.
#[derive(Debug)]
pub(super) struct Rule {
    /// The expression; else why it cannot be used, in Kubernetes' words.
    pub(super) program: Result<Program, String>,
    pub(super) message_program: Option<Result<Program, String>>,
    text: String,
    message: String,
    reason: Option<String>,
    field: Option<String>,
    /// May be asked without an old value.
    pub(super) optional: bool,
}

impl Rule {
    /// Compiles a rule about values of a type; nothing where there is no expression.
    pub(super) fn new(rule: &Value, schema: &Schema, kind: &Type) -> Option<Self> {
        let text = |key: &str| rule[key].as_str().unwrap_or_default();
        let source = text("rule");
        if source.trim().is_empty() {
            return None;
        }
        let optional = rule["optionalOldSelf"] == true;
        let old = if optional {
            Type::optional(kind.clone())
        } else {
            kind.clone()
        };
        let environment = Environment::default()
            .with("self", kind.clone())
            .with("oldSelf", old);
        let program = environment
            .compile(source)
            .map_err(|why| format!("compilation failed: {why}"))
            .and_then(|program| match program.output() {
                Type::Bool => Ok(program),
                _ => Err("cel expression must evaluate to a bool".to_owned()),
            });
        let message_program = Some(text("messageExpression"))
            .filter(|source| !source.is_empty())
            .map(|source| {
                environment
                    .compile(source)
                    .map_err(|why| format!("messageExpression compilation failed: {why}"))
                    .and_then(|program| match program.output() {
                        Type::String => Ok(program),
                        _ => Err("messageExpression must evaluate to a string".to_owned()),
                    })
            });
        Some(Self {
            program,
            message_program,
            text: source.trim().to_owned(),
            message: text("message").trim().to_owned(),
            reason: rule["reason"].as_str().map(str::to_owned),
            field: path::normalised(text("fieldPath"), schema),
            optional,
        })
    }

    /// Whether it compares with the old value.
    pub(super) fn is_transition(&self) -> bool {
        self.program
            .as_ref()
            .is_ok_and(|program| program.uses("oldSelf"))
    }

    /// How messages name it.
    pub(super) fn shown(&self) -> &str {
        if self.message.is_empty() {
            &self.text
        } else {
            &self.message
        }
    }

    pub(super) fn violation(
        &self,
        schema: &Schema,
        value: &Value,
        path: &str,
        detail: &str,
    ) -> FieldError {
        let field = match &self.field {
            Some(field) => join(path, field),
            None => rooted(path),
        };
        // Of what has parts the message does not show the value.
        let shown = (!matches!(schema.kind.word(), "object" | "array")).then_some(value);
        match (self.reason.as_deref(), shown) {
            (Some("FieldValueForbidden"), _) => FieldError::forbidden(field, detail),
            (Some("FieldValueRequired"), _) => FieldError::required(field, detail),
            (Some("FieldValueDuplicate"), Some(value)) => FieldError::duplicate(field, value),
            (Some("FieldValueDuplicate"), None) => FieldError {
                field,
                reason: "FieldValueDuplicate",
                detail: "Duplicate value".to_owned(),
            },
            (_, Some(value)) => FieldError::invalid(field, value, detail),
            (_, None) => FieldError {
                field,
                reason: "FieldValueInvalid",
                detail: format!("Invalid value: {detail}"),
            },
        }
    }

    /// What is told of a value that breaks it.
    pub(super) fn detail(&self, variables: &Variables, budget: &mut Budget) -> String {
        let made = self
            .message_program
            .as_ref()
            .and_then(|program| program.as_ref().ok()?.run(variables, budget).ok());
        if let Some(Answer::Text(text)) = made {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MESSAGE && !text.contains('\n') {
                return text.to_owned();
            }
        }
        if self.message.is_empty() {
            format!("failed rule: {}", self.text)
        } else {
            self.message.clone()
        }
    }
}

/// A field below a path.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A path, or what stands for the whole object.
pub(super) fn rooted(path: &str) -> String {
    let path = if path.is_empty() { "<nil>" } else { path };
    path.to_owned()
}
