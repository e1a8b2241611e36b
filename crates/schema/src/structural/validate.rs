//! Value validation in the words of the API server.
//!
//! On updates a value that did not change is not judged again ("ratcheting"), as Kubernetes does since 1.33.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::error::{FieldError, Reason, quote};
use super::format;
use super::{Additional, Checks, ListType, Schema, Type};
use crate::fields::compare::{equal, go_number};

/// Validates a value against types, bounds, enums, patterns, formats and alternatives. `old` is the stored object
/// when this is an update. CEL rules are not evaluated.
pub fn validate(schema: &Schema, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    check(schema, value, old, "").errors
}

/// Validates that list-type sets and maps hold each item once.
pub fn validate_lists(schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    lists(schema, value, "", &mut errors);
    errors
}

/// Errors, and how many checks passed: among failed alternatives the best match is reported.
#[derive(Default)]
struct Outcome {
    errors: Vec<FieldError>,
    matches: usize,
}

impl Outcome {
    fn merge(&mut self, other: Outcome) {
        self.errors.extend(other.errors);
        self.matches += other.matches;
    }

    /// Adds the result of one validator.
    fn add(&mut self, error: Option<FieldError>) {
        self.matches += 1;
        self.errors.extend(error);
    }

    fn whole(&mut self, detail: String) {
        self.errors.push(FieldError::with_value(
            "",
            Reason::Invalid,
            &"".into(),
            &detail,
        ));
    }
}

const OBJECT_META: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";

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

fn text_error(checks: &Checks, text: &str, path: &str) -> Option<FieldError> {
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

fn numbers(schema: &Schema, number: &serde_json::Number, path: &str, outcome: &mut Outcome) {
    let value = number.as_f64().unwrap_or_default();
    let in_range = match (schema.kind, schema.format.as_deref()) {
        (Type::Integer, Some("int32")) => {
            value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX)
        }
        (_, Some("float")) => value.abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if !in_range {
        let (kind, format) = (
            schema.kind.word(),
            schema.format.as_deref().unwrap_or_default(),
        );
        outcome.whole(format!(
            "Checked value must be of type {kind} with format {format} in {path}"
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
    if let Some(factor) = checks.multiple_of
        && factor > 0.0
    {
        let times = value / factor;
        if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
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
    for name in schema
        .required
        .iter()
        .filter(|name| !map.contains_key(*name))
    {
        outcome
            .errors
            .push(FieldError::plain(&join(name), Reason::Required, ""));
    }
    outcome.matches += 1;
}

fn lists(schema: &Schema, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(node) = schema
                    .field(name)
                    .filter(|node| node.name != Some(OBJECT_META))
                else {
                    continue;
                };
                let step = match (schema.properties.contains_key(name), path.is_empty()) {
                    (true, true) => name.clone(),
                    (true, false) => format!("{path}.{name}"),
                    (false, _) => format!("{path}[{name}]"),
                };
                lists(node, value, &step, errors);
            }
        }
        Value::Array(list) => {
            match &schema.list {
                ListType::Atomic => {}
                ListType::Set => duplicates(list.clone(), path, errors),
                ListType::Map(keys) => match list
                    .iter()
                    .position(|item| !item.is_object() && !item.is_null())
                {
                    Some(index) => {
                        let detail = "must be an object for an array of list-type map";
                        let path = format!("{path}[{index}]");
                        errors.push(FieldError::with_value(
                            &path,
                            Reason::Invalid,
                            &list[index],
                            detail,
                        ));
                    }
                    None => duplicates(
                        list.iter().map(|item| key_of(item, keys)).collect(),
                        path,
                        errors,
                    ),
                },
            }
            if let Some(items) = &schema.items {
                for (index, item) in list.iter().enumerate() {
                    lists(items, item, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let mut key = json!({});
    for name in keys {
        if let Some(value) = item.get(name) {
            key[name] = value.clone();
        }
    }
    key
}

/// Reports the second occurrence of each value that is there more than once.
fn duplicates(values: Vec<Value>, path: &str, errors: &mut Vec<FieldError>) {
    let (mut seen, mut reported) = (HashSet::new(), HashSet::new());
    for (index, value) in values.into_iter().enumerate() {
        let text = value.to_string();
        if !seen.insert(text.clone()) && reported.insert(text) {
            errors.push(FieldError::with_value(
                &format!("{path}[{index}]"),
                Reason::Duplicate,
                &value,
                "",
            ));
        }
    }
}
