//! Server-side apply against what `k8s.io/apimachinery`'s field manager (0.37) did with the same steps.

use fairway_schema::fields::{FieldSet, Path};
use fairway_schema::merge::{self, Error, Request};
use fairway_schema::{builtin, kinds, structural::Schema};
use serde_json::{Value, json};

static GOLDEN: &str = include_str!("golden/apply.json");

/// Go structs can't hold the difference between an absent and an empty field.
fn normalise(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                (
                    key.clone(),
                    if key == "fieldsV1" {
                        value.clone()
                    } else {
                        normalise(value)
                    },
                )
            })
            .filter(|(key, value)| {
                key == "fieldsV1"
                    || !(value.is_null() || *value == json!({}) || *value == json!([]))
            })
            .filter(|(key, value)| !(key == "annotations" && *value == json!({})))
            .collect(),
        Value::Array(list) => list.iter().map(normalise).collect(),
        other => other.clone(),
    }
}

/// Entries in an order that doesn't depend on the second in which they were recorded.
fn without_times(object: &Value) -> Value {
    let mut object = object.clone();
    let entries = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten() {
        if let Some(time) = entry.get_mut("time") {
            *time = "T".into();
        }
    }
    if let Some(list) = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut)
    {
        list.sort_by_key(|entry| {
            [
                &entry["manager"],
                &entry["operation"],
                &entry["subresource"],
            ]
            .map(Value::to_string)
        });
    }
    object
}

#[test]
fn steps_end_as_they_do_in_kubernetes() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let schema = golden.pointer("/crd/spec/versions/0/schema/openAPIV3Schema");
    let widget = Schema::for_custom_resource(schema).unwrap();
    let mut failures = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let mut live: Option<Value> = None;
        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let object = &step["object"];
            let api_version = object["apiVersion"].as_str().unwrap();
            let (group, version) = kinds::split_api_version(api_version);
            let schema = match case["kind"].as_str().unwrap() {
                "builtin" => {
                    builtin::schema(group, version, object["kind"].as_str().unwrap()).unwrap()
                }
                "crd" => &widget,
                _ => Schema::unknown(),
            };
            let words = |key: &str| step[key].as_array().cloned().unwrap_or_default();
            let reset: FieldSet = words("reset")
                .iter()
                .map(|path| Path::fields(&[path.as_str().unwrap()]))
                .collect();
            let request = Request {
                schema,
                manager: step["manager"].as_str().unwrap(),
                api_version,
                subresource: step["subresource"].as_str().unwrap_or_default(),
                reset: Some(&reset),
                // Later steps are later, as far as whole seconds tell in the recording: not at all.
                now: "2024-05-06T07:08:09Z".parse().unwrap(),
            };
            let result = match step["op"].as_str().unwrap() {
                "apply" => merge::apply(&request, live.as_ref(), object, step["force"] == true),
                _ => Ok(merge::update(&request, live.as_ref(), object.clone())),
            };
            let place = format!("{} step {index}", case["name"].as_str().unwrap());
            match result {
                Ok(object) => {
                    let (found, expected) = (
                        normalise(&without_times(&object)),
                        normalise(&without_times(&step["result"])),
                    );
                    if found != expected {
                        failures.push(format!("{place}: {}", difference(&expected, &found)));
                    }
                    live = Some(object);
                    live.as_mut().unwrap()["metadata"]["uid"] = "u".into();
                }
                Err(error) => {
                    let expected = step["error"].as_str().unwrap_or("no error");
                    if !same_message(&error.to_string(), expected) {
                        failures.push(format!(
                            "{place}: expected error\n    {expected}\n  found\n    {error}"
                        ));
                    }
                    if let Error::Conflicts(conflicts) = &error {
                        let mut found: Vec<Value> = conflicts
                            .0
                            .iter()
                            .map(|conflict| {
                                json!({"reason": "FieldManagerConflict", "message": conflict.message(), "field": conflict.path.to_string()})
                            })
                            .collect();
                        let mut expected = words("causes");
                        found.sort_by_key(Value::to_string);
                        expected.sort_by_key(Value::to_string);
                        assert_eq!(found, expected, "{place}");
                    }
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Go walks maps in random order, so only the lines have to agree.
fn same_message(found: &str, expected: &str) -> bool {
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    lines(found) == lines(expected)
}

/// The parts that differ, as lines.
fn difference(expected: &Value, found: &Value) -> String {
    let mut lines = Vec::new();
    compare("", expected, found, &mut lines);
    lines.join("\n    ")
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<&String> =
                left.keys().chain(right.keys()).collect();
            for key in keys {
                compare(&format!("{path}/{key}"), &expected[key], &found[key], lines);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{path}/{index}"), left, right, lines);
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("{path}: expected {expected}, found {found}")),
    }
}
