//! Strategic merge patch against what `k8s.io/apimachinery` 0.37 did with the same patches.

use fairway_schema::{builtin, kinds, strategic};
use serde_json::Value;

static GOLDEN: &str = include_str!("golden/strategic.json");

#[test]
fn patches_end_as_they_do_in_kubernetes() {
    let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    let mut failures = Vec::new();
    for case in cases {
        let (original, name) = (&case["original"], case["name"].as_str().unwrap());
        let (group, version) = kinds::split_api_version(original["apiVersion"].as_str().unwrap());
        let schema = builtin::schema(group, version, original["kind"].as_str().unwrap()).unwrap();
        match strategic::apply(schema, original, &case["patch"]) {
            Ok(found) if found == case["result"] => {}
            Ok(found) => failures.push(format!(
                "{name}: expected {}\n  found {found}",
                case["result"]
            )),
            Err(error) => {
                let expected = case["error"].as_str().unwrap_or("no error");
                let same = match error {
                    // Worded on one line here.
                    strategic::Error::OrderMismatch { .. } => {
                        expected.starts_with("The order in patch list")
                    }
                    ref error => error.to_string() == expected,
                };
                if !same {
                    failures.push(format!("{name}: expected {expected}\n  found {error}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
