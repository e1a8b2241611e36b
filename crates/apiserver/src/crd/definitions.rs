//! What makes the rules of a CRD valid.

use fairway_cel::Type;
use fairway_schema::structural::{Additional, ListType, Schema};
use serde_json::Value;

use super::rule::Rule;
use super::{path, shape};
use crate::status::FieldError;

/// Checks all rules of a schema: first how they are written, then the expressions.
pub(super) fn check(at: &str, json: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut found = Found::default();
    walk(at, json, schema, None, &mut found);
    let mut errors = found.written;
    errors.append(&mut found.expressions);
    errors
}

#[derive(Default)]
struct Found {
    written: Vec<FieldError>,
    expressions: Vec<FieldError>,
}

/// `apart`: the place above that tells no old value from a new one, if there is one.
fn walk(at: &str, json: &Value, schema: &Schema, apart: Option<&str>, found: &mut Found) {
    if let (Additional::Schema(schema), json) = (&schema.additional, &json["additionalProperties"])
    {
        walk(
            &format!("{at}.additionalProperties"),
            json,
            schema,
            apart,
            found,
        );
    }
    for (name, json) in json["properties"].as_object().into_iter().flatten() {
        // Metadata is not the author's.
        if let Some(schema) = schema
            .properties
            .get(name)
            .filter(|node| node.name.is_none())
        {
            let at = format!("{at}.properties[{name}]");
            walk(&at, json, schema, apart, found);
        }
    }
    if let Some(items) = &schema.items {
        let keyed = matches!(schema.list, ListType::Map(_));
        let apart = apart.or((!keyed).then_some(at));
        walk(&format!("{at}.items"), &json["items"], items, apart, found);
    }
    let rules = json["x-kubernetes-validations"].as_array();
    let rules = rules.map_or(&[][..], Vec::as_slice);
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{at}.x-kubernetes-validations[{index}]");
        written(&at, rule, schema, &mut found.written);
    }
    let Some(kind) = shape::of(schema).filter(|_| found.written.is_empty()) else {
        return;
    };
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{at}.x-kubernetes-validations[{index}]");
        compiled(&at, rule, schema, &kind, apart, &mut found.expressions);
    }
}

fn written(at: &str, rule: &Value, schema: &Schema, errors: &mut Vec<FieldError>) {
    let text = |key: &str| rule[key].as_str().unwrap_or_default();
    let broken = |text: &str| text.contains(['\n', '\r']);
    let (source, message) = (text("rule"), text("message"));
    if source.trim().is_empty() {
        let field = format!("{at}.rule");
        errors.push(FieldError::required(field, "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(FieldError::invalid(
            format!("{at}.message"),
            &message.into(),
            why,
        ));
    } else if broken(message.trim()) {
        let why = "must not contain line breaks";
        errors.push(FieldError::invalid(
            format!("{at}.message"),
            &message.into(),
            why,
        ));
    } else if broken(source.trim()) && message.trim().is_empty() {
        let why = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(format!("{at}.message"), why));
    }
    let source = text("messageExpression");
    if !source.is_empty() && source.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(format!("{at}.messageExpression"), why));
    }
    const REASONS: [&str; 4] = [
        "FieldValueDuplicate",
        "FieldValueForbidden",
        "FieldValueInvalid",
        "FieldValueRequired",
    ];
    let reason = &rule["reason"];
    if reason
        .as_str()
        .is_some_and(|reason| !REASONS.contains(&reason))
    {
        errors.push(FieldError::unsupported(
            format!("{at}.reason"),
            reason,
            &REASONS,
        ));
    }
    let field = text("fieldPath");
    if field.is_empty() {
        return;
    }
    let mut wrong = |why: &str| {
        errors.push(FieldError::invalid(
            format!("{at}.fieldPath"),
            &field.into(),
            why,
        ));
    };
    if field.trim().is_empty() {
        wrong("must be non-empty if specified");
    }
    if broken(field) {
        wrong("must not contain line breaks");
    }
    if path::normalised(field, schema).is_none() {
        wrong("must be a valid path");
    }
}

fn compiled(
    at: &str,
    rule: &Value,
    schema: &Schema,
    kind: &Type,
    apart: Option<&str>,
    errors: &mut Vec<FieldError>,
) {
    let Some(made) = Rule::new(rule, schema, kind) else {
        return;
    };
    // The message shows the whole rule.
    let whole = |key: &str, why: &str| FieldError {
        field: format!("{at}.{key}"),
        reason: "FieldValueInvalid",
        detail: format!("Invalid value: {}: {why}", shown(rule)),
    };
    if let Err(why) = &made.program {
        errors.push(whole("rule", why));
        return;
    }
    if let Some(Err(why)) = &made.message_program {
        errors.push(whole("messageExpression", why));
    }
    if made.is_transition() {
        if let Some(apart) = apart {
            let why = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}"
            );
            errors.push(FieldError::invalid(
                format!("{at}.rule"),
                &rule["rule"],
                &why,
            ));
        }
    } else if rule["optionalOldSelf"].is_boolean() {
        errors.push(FieldError::invalid(
            format!("{at}.optionalOldSelf"),
            &rule["optionalOldSelf"],
            "may not be set if oldSelf is not used in rule",
        ));
    }
}

/// A rule as Go prints the type that it has inside the API server.
fn shown(rule: &Value) -> String {
    let text = |key: &str| {
        let text = Value::from(rule[key].as_str().unwrap_or_default()).to_string();
        // Go's JSON can stand in HTML.
        text.replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
    };
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        rule["reason"],
        text("fieldPath"),
        rule["optionalOldSelf"],
    )
}
