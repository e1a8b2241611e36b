//! Value validation in the words of the API server.
//!
//! On updates a value that did not change is not judged again ("ratcheting"), as Kubernetes does since 1.33.

use serde_json::{Map, Value};

use super::error::{FieldError, Reason, quote};
use super::format;
use super::scalars::{numbers, text_error};
use super::{Additional, Checks, ListType, OBJECT_META, Schema, Type};
use crate::fields::compare::equal;

/// Validates a value against types, bounds, enums, patterns, formats and alternatives. `old` is the stored object
/// when this is an update. CEL rules are not evaluated.
pub fn validate(schema: &Schema, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    check(schema, value, old, "").errors
}

/// Errors, and how many checks passed: among failed alternatives the best match is reported.
#[derive(Default)]
pub(super) struct Outcome {
    errors: Vec<FieldError>,
    pub(super) matches: usize,
}

impl Outcome {
    fn merge(&mut self, other: Outcome) {
        self.errors.extend(other.errors);
        self.matches += other.matches;
    }

    /// Adds the result of one validator.
    pub(super) fn add(&mut self, error: Option<FieldError>) {
        self.matches += 1;
        self.errors.extend(error);
    }

    /// Adds an error about the whole object, which is how some are reported.
    pub(super) fn whole(&mut self, detail: String) {
        self.errors.push(FieldError::with_value(
            "",
            Reason::Invalid,
            &"".into(),
            &detail,
        ));
    }
}

fn check(schema: &Schema, value: &Value, old: Option<&Value>, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if old == Some(value) || schema.name == Some(OBJECT_META) && !path.is_empty() {
        return outcome;
    }
    outcome.add(wrong_type(schema, value, path));
    let checks = schema.checks.as_deref();
    if !value.is_null()
        && let Some(checks) = checks
    {
        alternatives(checks, value, path, &mut outcome);
    }
    match value {
        Value::String(text) => {
            if let Some(checks) = checks {
                outcome.add(text_error(checks, text, path));
            }
            if let (Some(name), true) = (
                &schema.format,
                matches!(schema.kind, Type::String | Type::Any),
            ) && !format::matches(name, text)
            {
                outcome.add(Some(type_error(path, name, text)));
            }
        }
        Value::Number(number) => numbers(schema, number, path, &mut outcome),
        Value::Array(list) => items(schema, list, old, path, &mut outcome),
        _ => {}
    }
    if let Some(checks) = checks
        && !checks.enumeration.is_empty()
    {
        outcome.add(enum_error(checks, value, path));
    }
    if let Value::Object(map) = value {
        fields(schema, map, old, path, &mut outcome);
    }
    outcome
}

/// The JSON type of a value, as the messages call it.
fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn type_error(path: &str, expected: &str, found: &str) -> FieldError {
    let detail = format!(
        "{path} in body must be of type {expected}: {}",
        quote(found)
    );
    FieldError::with_value(path, Reason::TypeInvalid, &found.into(), &detail)
}

fn wrong_type(schema: &Schema, value: &Value, path: &str) -> Option<FieldError> {
    let expected = match schema.kind {
        Type::Any if schema.int_or_string && schema.name.is_none() => "integer,string",
        Type::Any => return None,
        kind => kind.word(),
    };
    let found = type_word(value);
    let fits = match value {
        Value::Null => schema.nullable,
        Value::Number(number) => {
            let whole =
                !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0);
            expected == "number" || expected.contains("integer") && whole
        }
        // Formats are for the format check, which lets lists pass.
        Value::Array(_) if schema.format.is_some() && !matches!(expected, "number" | "integer") => {
            true
        }
        _ => expected.split(',').any(|word| word == found),
    };
    if fits {
        return None;
    }
    // A format is named instead of its type, except for strings and lists.
    match (&schema.format, value) {
        (Some(format), Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            let found = match value {
                Value::Number(number) if number.is_f64() => "float64",
                Value::Number(_) => "int64",
                _ => "",
            };
            Some(type_error(path, format, found))
        }
        _ => Some(type_error(path, expected, found)),
    }
}

fn alternatives(checks: &Checks, value: &Value, path: &str, outcome: &mut Outcome) {
    let quoted = || quote(path);
    if !checks.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut passed = None;
        for schema in &checks.any_of {
            let result = check(schema, value, None, path);
            if result.errors.is_empty() {
                passed = Some(result);
                break;
            }
            if best
                .as_ref()
                .is_none_or(|best| result.matches > best.matches)
            {
                best = Some(result);
            }
        }
        if passed.is_none() {
            outcome.whole(format!(
                "{} must validate at least one schema (anyOf)",
                quoted()
            ));
        }
        outcome.merge(passed.or(best).unwrap_or_default());
    }
    if !checks.one_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut passed: Vec<Outcome> = Vec::new();
        for schema in &checks.one_of {
            let result = check(schema, value, None, path);
            if result.errors.is_empty() {
                passed.push(result);
            } else if best
                .as_ref()
                .is_none_or(|best| result.matches > best.matches)
            {
                best = Some(result);
            }
        }
        let why = match passed.len() {
            0 => "Found none valid".to_owned(),
            count => format!("Found {count} valid alternatives"),
        };
        if passed.len() == 1 {
            outcome.merge(passed.remove(0));
        } else {
            outcome.whole(format!(
                "{} must validate one and only one schema (oneOf). {why}",
                quoted()
            ));
            if passed.is_empty() {
                outcome.merge(best.unwrap_or_default());
            }
        }
    }
    if !checks.all_of.is_empty() {
        let mut passed = 0;
        for schema in &checks.all_of {
            let result = check(schema, value, None, path);
            passed += usize::from(result.errors.is_empty());
            outcome.merge(result);
        }
        if passed < checks.all_of.len() {
            let none = if passed == 0 { ". None validated" } else { "" };
            outcome.whole(format!(
                "{} must validate all the schemas (allOf){none}",
                quoted()
            ));
        }
    }
    if let Some(not) = &checks.not
        && check(not, value, None, path).errors.is_empty()
    {
        outcome.whole(format!("{} must not validate the schema (not)", quoted()));
    }
    outcome.matches += 1;
}

fn items(schema: &Schema, list: &[Value], old: Option<&Value>, path: &str, outcome: &mut Outcome) {
    if let Some(items) = &schema.items {
        for (index, item) in list.iter().enumerate() {
            outcome.merge(check(
                items,
                item,
                correlated(schema, item, old),
                &format!("{path}[{index}]"),
            ));
        }
    }
    let Some(checks) = schema.checks.as_deref() else {
        return;
    };
    let size = list.len() as u64;
    if let Some(least) = checks.min_items.filter(|least| size < *least) {
        let detail = format!("{path} in body should have at least {least} items");
        outcome.add(Some(FieldError::with_value(
            path,
            Reason::Invalid,
            &size.into(),
            &detail,
        )));
    }
    if let Some(most) = checks.max_items.filter(|most| size > *most) {
        outcome.add(Some(too_many(path, size, most)));
    }
    if checks.unique_items
        && list
            .iter()
            .enumerate()
            .any(|(index, item)| list[..index].iter().any(|e| equal(e, item)))
    {
        let detail = format!("{path} in body shouldn't contain duplicates");
        outcome.add(Some(FieldError::with_value(
            path,
            Reason::Invalid,
            &"".into(),
            &detail,
        )));
    }
}

/// The stored item with the same keys.
fn correlated<'v>(schema: &Schema, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
    let ListType::Map(keys) = &schema.list else {
        return None;
    };
    old?.as_array()?
        .iter()
        .find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

fn too_many(path: &str, size: u64, most: u64) -> FieldError {
    let items = if most == 1 { "item" } else { "items" };
    FieldError::with_value(
        path,
        Reason::TooMany,
        &size.into(),
        &format!("must have at most {most} {items}"),
    )
}

fn enum_error(checks: &Checks, value: &Value, path: &str) -> Option<FieldError> {
    if checks
        .enumeration
        .iter()
        .any(|allowed| equal(allowed, value))
    {
        return None;
    }
    let allowed: Vec<String> = checks
        .enumeration
        .iter()
        .map(|allowed| match allowed {
            Value::String(text) => quote(text),
            other => quote(&other.to_string()),
        })
        .collect();
    let detail = format!("supported values: {}", allowed.join(", "));
    Some(FieldError::with_value(
        path,
        Reason::NotSupported,
        value,
        &detail,
    ))
}

fn fields(
    schema: &Schema,
    map: &Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    outcome: &mut Outcome,
) {
    let size = map.len() as u64;
    if let Some(checks) = schema.checks.as_deref() {
        if let Some(least) = checks.min_properties.filter(|least| size < *least) {
            let detail = format!("{path} in body should have at least {least} properties");
            outcome.add(Some(FieldError::with_value(
                path,
                Reason::Invalid,
                &size.into(),
                &detail,
            )));
        }
        if let Some(most) = checks.max_properties.filter(|most| size > *most) {
            outcome.add(Some(too_many(path, size, most)));
        }
    }
    let join = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    for (name, value) in map {
        let Some(node) = schema.field(name) else {
            if schema.additional == Additional::Denied {
                let detail = format!("{path}.{name} in body is a forbidden property");
                outcome.add(Some(FieldError::with_value(
                    path,
                    Reason::Invalid,
                    &name.as_str().into(),
                    &detail,
                )));
            }
            continue;
        };
        outcome.merge(check(
            node,
            value,
            old.and_then(|old| old.get(name)),
            &join(name),
        ));
    }
    for name in &schema.required {
        if !map.contains_key(name) && must_be_given(schema, name) {
            let error = FieldError::plain(&join(name), Reason::Required, "");
            outcome.errors.push(error);
        }
    }
    outcome.matches += 1;
}

/// Built-in types call all fields required that are always written; of numbers and booleans zero is meant, and a
/// status is completed by whoever writes it.
fn must_be_given(schema: &Schema, name: &str) -> bool {
    let Some(owner) = schema.name else {
        return true;
    };
    let zero = schema
        .properties
        .get(name)
        .is_some_and(|node| matches!(node.kind, Type::Integer | Type::Number | Type::Boolean));
    !zero && !owner.ends_with("Status")
}
