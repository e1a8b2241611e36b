//! Validation errors in the API server's field-error form.

use std::fmt::{self, Write as _};

use serde_json::Value;

/// Why a field is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A value must be there.
    Required,
    /// The value is malformed or out of bounds.
    Invalid,
    /// The value has another type.
    TypeInvalid,
    /// The value is not one of those allowed.
    NotSupported,
    /// The same value, or the same keys, twice in a list.
    Duplicate,
    /// A string is too long.
    TooLong,
    /// A list or map has too many entries.
    TooMany,
    /// The value may not be given here.
    Forbidden,
}

impl Reason {
    /// The word in `status.details.causes[].reason`.
    pub fn cause(self) -> &'static str {
        match self {
            Reason::Required => "FieldValueRequired",
            Reason::Invalid => "FieldValueInvalid",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::Forbidden => "FieldValueForbidden",
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Reason::Required => "Required value",
            Reason::Invalid | Reason::TypeInvalid => "Invalid value",
            Reason::NotSupported => "Unsupported value",
            Reason::Duplicate => "Duplicate value",
            Reason::TooLong => "Too long",
            Reason::TooMany => "Too many",
            Reason::Forbidden => "Forbidden",
        }
    }
}

/// One refused field. Displays as `spec.replicas: Invalid value: -1: must be positive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.template.containers[0].name`; `<nil>` for the whole object.
    pub field: String,
    /// What kind of mistake it is.
    pub reason: Reason,
    /// The rest of the sentence, as in `status.details.causes[].message`.
    pub message: String,
}

impl FieldError {
    /// An error about a value that the message shows.
    pub fn with_value(field: &str, reason: Reason, value: &Value, detail: &str) -> FieldError {
        let value = match value {
            Value::String(text) => quote(text),
            other => other.to_string(),
        };
        FieldError::build(field, reason, Some(&value), detail)
    }

    /// An error whose message shows no value.
    pub fn plain(field: &str, reason: Reason, detail: &str) -> FieldError {
        FieldError::build(field, reason, None, detail)
    }

    fn build(field: &str, reason: Reason, value: Option<&str>, detail: &str) -> FieldError {
        let mut message = reason.phrase().to_owned();
        for part in value
            .into_iter()
            .chain(Some(detail).filter(|detail| !detail.is_empty()))
        {
            message.push_str(": ");
            message.push_str(part);
        }
        let field = field.strip_prefix('.').unwrap_or(field);
        FieldError {
            field: if field.is_empty() { "<nil>" } else { field }.to_owned(),
            reason,
            message,
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for FieldError {}

/// A string in double quotes, as Go's `%q` writes it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            control if control.is_control() && (control as u32) < 0x80 => {
                write!(quoted, "\\x{:02x}", control as u32).expect("writing to a string");
            }
            control if control.is_control() => {
                write!(quoted, "\\u{:04x}", control as u32).expect("writing to a string");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
