//! Bounds of strings and numbers.

use serde_json::Value;

use super::error::{FieldError, Reason};
use super::validate::Outcome;
use super::{Checks, Schema, Type};
use crate::fields::compare::go_number;

/// Length and pattern; the first that fails.
pub(super) fn text_error(checks: &Checks, text: &str, path: &str) -> Option<FieldError> {
    let length = text.chars().count() as u64;
    if let Some(most) = checks.max_length.filter(|most| length > *most) {
        let bytes = if most == 1 { "byte" } else { "bytes" };
        return Some(FieldError::plain(
            path,
            Reason::TooLong,
            &format!("may not be more than {most} {bytes}"),
        ));
    }
    let invalid = |detail: String| {
        Some(FieldError::with_value(
            path,
            Reason::Invalid,
            &text.into(),
            &detail,
        ))
    };
    if let Some(least) = checks.min_length.filter(|least| length < *least) {
        return invalid(format!(
            "{path} in body should be at least {least} chars long"
        ));
    }
    let pattern = checks.pattern.as_ref()?;
    if pattern.regex().is_some_and(|regex| regex.is_match(text)) {
        return None;
    }
    invalid(format!("{path} in body should match '{}'", pattern.text()))
}

/// Range and factor.
pub(super) fn numbers(
    schema: &Schema,
    number: &serde_json::Number,
    path: &str,
    outcome: &mut Outcome,
) {
    let value = number.as_f64().unwrap_or_default();
    if !in_range(schema, number, value) {
        let format = match &schema.format {
            Some(format) => format!("with format {format}"),
            None => "(default format)".to_owned(),
        };
        let kind = schema.kind.word();
        outcome.whole(format!(
            "Checked value must be of type {kind} {format} in {path}"
        ));
    }
    let Some(checks) = schema.checks.as_deref() else {
        return;
    };
    // Bounds of whole numbers are written as whole numbers.
    let bound = |bound: f64| {
        if number.is_f64() {
            go_number(bound)
        } else {
            format!("{}", bound as i64)
        }
    };
    let number = Value::Number(number.clone());
    let invalid = |detail: &str| {
        Some(FieldError::with_value(
            path,
            Reason::Invalid,
            &number,
            detail,
        ))
    };
    if let Some(factor) = checks.multiple_of {
        // Whole numbers are divided as whole numbers, whatever the factor.
        let factor = if number.is_f64() {
            factor
        } else {
            factor.trunc()
        };
        let times = value / factor;
        if factor <= 0.0 {
            let factor = go_number(factor);
            outcome.add(invalid(&format!(
                "factor MultipleOf declared for {path} must be positive: {factor}"
            )));
        } else if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
            outcome.add(invalid(&format!(
                "{path} in body should be a multiple of {}",
                bound(factor)
            )));
        }
    }
    if let Some(most) = checks.maximum {
        let exclusive = checks.exclusive_maximum;
        if value > most || exclusive && value >= most {
            let words = if exclusive {
                "less than"
            } else {
                "less than or equal to"
            };
            outcome.add(invalid(&format!(
                "{path} in body should be {words} {}",
                bound(most)
            )));
        }
    }
    if let Some(least) = checks.minimum {
        let exclusive = checks.exclusive_minimum;
        if value < least || exclusive && value <= least {
            let words = if exclusive {
                "greater than"
            } else {
                "greater than or equal to"
            };
            outcome.add(invalid(&format!(
                "{path} in body should be {words} {}",
                bound(least)
            )));
        }
    }
    outcome.matches += 1;
}

fn in_range(schema: &Schema, number: &serde_json::Number, value: f64) -> bool {
    match (schema.kind, schema.format.as_deref()) {
        (Type::Integer, Some("int32")) => {
            value.fract() == 0.0 && value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX)
        }
        (Type::Integer, _) => number.is_i64() || number.is_f64() && value.fract() == 0.0,
        (_, Some("float")) => value.abs() <= f64::from(f32::MAX),
        _ => true,
    }
}
