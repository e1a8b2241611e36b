//! What the real libraries answered (`golden/main.go` asks them), and that we answer the same.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use fairway_yaml::{Dialect, emit, parse};
use serde_json::Value;

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn emits_what_sigs_yaml_emits() {
    let mut count = 0;
    for line in lines(include_str!("golden/emit.jsonl")) {
        let expected = line["yaml"].as_str().unwrap();
        assert_eq!(
            emit::to_string(&line["value"]),
            expected,
            "{}",
            line["value"]
        );
        count += 1;
    }
    assert!(count > 500, "{count} cases");
}

#[test]
fn reads_what_it_emits() {
    for line in lines(include_str!("golden/emit.jsonl")) {
        let yaml = line["yaml"].as_str().unwrap();
        // YAML 1.1 breaks lines at these two, YAML 1.2 does not; a plain key `<<` is a merge key.
        if yaml.contains(['\u{2028}', '\u{2029}']) || yaml.contains("<<:") {
            continue;
        }
        let documents = parse(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let value = documents[0].root.to_json_as(Dialect::Kubectl).unwrap();
        assert_eq!(normal(&value), normal(&line["value"]), "{yaml}");
    }
}

#[test]
fn reads_what_yaml_v3_and_sigs_yaml_read() {
    let mut count = 0;
    for line in lines(include_str!("golden/read.jsonl")) {
        let text = line["text"].as_str().unwrap();
        for (name, dialect) in [
            ("kustomize", Dialect::Kustomize),
            ("kubectl", Dialect::Kubectl),
        ] {
            if known_difference(text, dialect) {
                continue;
            }
            let ours = parse(text).and_then(|documents| match documents.into_iter().next() {
                Some(document) => document.root.into_json_as(dialect),
                None => Ok(Value::Null),
            });
            match (ours, line.get(name)) {
                (Ok(ours), Some(theirs)) => {
                    assert_eq!(normal(&ours), normal(theirs), "{name}: {text:?}");
                }
                (Err(_), None) => {}
                (ours, theirs) => panic!("{name}: {text:?}: we {ours:?}, they {theirs:?}"),
            }
            count += 1;
        }
    }
    assert!(count > 1000, "{count} cases");
}

/// Large floats are integers in Go's JSON; after the next reader they are floats again.
fn normal(value: &Value) -> String {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => int.to_string(),
            (None, Some(int)) => int.to_string(),
            (None, None) => (number.as_f64().unwrap() + 0.0).to_string(),
        },
        Value::Array(items) => format!("{:?}", items.iter().map(normal).collect::<Vec<_>>()),
        Value::Object(map) => {
            let map: Vec<_> = map
                .iter()
                .map(|(key, value)| (key, normal(value)))
                .collect();
            format!("{map:?}")
        }
        other => other.to_string(),
    }
}

/// Where we differ on purpose, or because the syntax of YAML 1.2 does.
fn known_difference(text: &str, dialect: Dialect) -> bool {
    let flow = text.starts_with(['[', '{']) || text.contains(": {");
    let yaml_1_2 = flow
        && (text.contains("-]")
            || text.contains("!!str]")
            || text.contains(" :")
            || text.contains(":}"));
    // kubectl lets the last of two equal keys win; here that is a matter of `DuplicateKeys`.
    let twice = dialect == Dialect::Kubectl
        && (text.starts_with("a: 1\na: 2") || text.contains("\"<<\": 2"));
    // In Go the key has a type of its own, and no JSON.
    let tagged_key = text.starts_with("a:\n  !");
    // An offset of a day makes a timestamp that Go cannot write; here it is a string.
    let tab = text.starts_with('\t');
    yaml_1_2 || tab || twice || tagged_key || text.contains("+24:")
}
