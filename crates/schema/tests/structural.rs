//! Validation, pruning, defaulting and strict decoding against what Kubernetes' own code (0.37) said.

#![expect(clippy::unwrap_used, reason = "in tests, helpers may too")]

use fairway_schema::structural::{self, FieldError, Schema, Unknown};
use fairway_schema::{builtin, kinds};
use serde_json::{Value, json};

static GOLDEN: &str = include_str!("golden/structural.json");

fn sorted(errors: &[FieldError]) -> Vec<String> {
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

fn words(case: &Value, key: &str) -> Vec<String> {
    let list = case[key].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

fn expect<T: std::fmt::Debug + PartialEq>(
    failures: &mut Vec<String>,
    place: &str,
    found: T,
    expected: T,
) {
    if found != expected {
        failures.push(format!(
            "{place}:\n  expected {expected:?}\n  found    {found:?}"
        ));
    }
}

#[test]
fn answers_are_those_of_kubernetes() {
    let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        if case.get("crd").is_some() {
            custom_definition(name, case, &mut failures);
        } else if case.get("schema").is_some() {
            custom_resource(name, case, &mut failures);
        } else {
            built_in(name, case, &mut failures);
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Go writes `2.0` as `2`.
fn whole(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
            json!(number.as_f64().unwrap() as i64)
        }
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), whole(value)))
            .collect(),
        Value::Array(list) => list.iter().map(whole).collect(),
        other => other.clone(),
    }
}

fn custom_resource(name: &str, case: &Value, failures: &mut Vec<String>) {
    let schema = Schema::for_custom_resource(case.get("schema")).unwrap();
    let object = &case["object"];
    let errors = structural::validate(&schema, object, case.get("old"));
    expect(
        failures,
        &format!("{name}: errors"),
        sorted(&errors),
        words(case, "errors"),
    );
    let mut reasons: Vec<String> = errors
        .iter()
        .map(|error| error.reason.cause().to_owned())
        .collect();
    reasons.sort();
    expect(
        failures,
        &format!("{name}: reasons"),
        reasons,
        words(case, "reasons"),
    );
    let lists = structural::validate_lists(&schema, object);
    expect(
        failures,
        &format!("{name}: lists"),
        sorted(&lists),
        words(case, "lists"),
    );

    let mut pruned = object.clone();
    let unknown = structural::prune(&schema, &mut pruned, Unknown::Remove);
    expect(
        failures,
        &format!("{name}: unknown"),
        unknown,
        words(case, "unknown"),
    );
    expect(
        failures,
        &format!("{name}: pruned"),
        &whole(&pruned),
        &case["pruned"],
    );
    structural::drop_nulls(&schema, &mut pruned);
    structural::default(&schema, &mut pruned);
    expect(
        failures,
        &format!("{name}: defaulted"),
        &whole(&pruned),
        &case["defaulted"],
    );
}

fn built_in(name: &str, case: &Value, failures: &mut Vec<String>) {
    let object = &case["object"];
    let (group, version) = kinds::split_api_version(object["apiVersion"].as_str().unwrap());
    let schema = builtin::schema(group, version, object["kind"].as_str().unwrap()).unwrap();
    let found = structural::decode_error(schema, object)
        .map(|error| error.to_string())
        .unwrap_or_default();
    expect(
        failures,
        &format!("{name}: decode"),
        found.as_str(),
        case["decode"].as_str().unwrap_or_default(),
    );
    if found.is_empty() {
        let unknown = structural::unknown_fields(schema, object);
        let unknown: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        expect(
            failures,
            &format!("{name}: unknown"),
            unknown,
            words(case, "unknown"),
        );
    }
}

fn custom_definition(name: &str, case: &Value, failures: &mut Vec<String>) {
    let schema = case
        .pointer("/crd/spec/versions/0/schema/openAPIV3Schema")
        .unwrap();
    let found = sorted(&structural::check_crd_schema(
        "spec.validation.openAPIV3Schema",
        schema,
    ));
    let expected = words(case, "crdErrors");
    // Two regular expression engines, two reasons.
    let start = |texts: &[String]| -> Vec<String> {
        texts
            .iter()
            .map(|text| text.split("isn't: ").next().unwrap().to_owned())
            .collect()
    };
    expect(failures, name, start(&found), start(&expected));
}

#[test]
fn built_in_defaults_are_only_those_that_say_something() {
    let schema = builtin::definition("api.core.v1.Container").unwrap();
    let mut container = json!({"name": "web", "ports": [{"containerPort": 80}]});
    structural::default(schema, &mut container);
    assert_eq!(
        container,
        json!({"name": "web", "ports": [{"containerPort": 80, "protocol": "TCP"}]})
    );
}
