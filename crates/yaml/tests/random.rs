//! Random texts and trees: nothing panics or hangs, and edits do what they say.
//!
//! `FAIRWAY_YAML_FUZZ_SECONDS` makes the mutation test run longer than its second, `PROPTEST_CASES` the others
//! try more cases.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::{Duration, Instant};

use fairway_yaml::edit::{
    Error, Step, append_item, get_scalar, insert_key, insert_list, remove, set_or_insert,
    set_scalar,
};
use fairway_yaml::{Dialect, Kind, Node, emit, parse};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Strings that have something to them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        "[0-9xobeE+._:TZ-]{1,10}",
        "[a-z '\"#:\\\\\n\t-]{0,30}",
        prop::sample::select(vec![
            "on",
            "y",
            "null",
            "~",
            "1.10",
            "0644",
            "",
            "<<",
            "-",
            "é😀\u{2028}\u{feff}"
        ])
        .prop_map(str::to_owned),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::String),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => any::<i64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((text(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The paths of all scalars of a value.
fn scalars(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                scalars(item, path, found);
                path.pop();
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                path.push(Step::key(key));
                scalars(value, path, found);
                path.pop();
            }
        }
        _ => found.push(path.clone()),
    }
}

fn put(value: &mut Value, path: &[Step], new: Value) {
    let mut at = value;
    for step in path {
        at = match step {
            Step::Key(key) => &mut at[key.as_str()],
            Step::Index(index) => &mut at[*index],
            Step::Where { .. } | Step::Document(_) => unreachable!("not made here"),
        };
    }
    *at = new;
}

/// Texts that this YAML reader and a YAML 1.1 writer understand differently.
fn has_old_breaks(text: &str) -> bool {
    text.contains(['\u{2028}', '\u{85}']) || text.contains("<<:")
}

proptest! {
    #[test]
    fn what_is_emitted_reads_the_same(value in tree()) {
        let yaml = emit::to_string(&value);
        if has_old_breaks(&yaml) { return Ok(()); }
        let documents = parse(&yaml).map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        for dialect in [Dialect::Kubectl, Dialect::Kustomize] {
            prop_assert_eq!(&documents[0].root.to_json_as(dialect).unwrap(), &value, "{}", yaml);
        }
    }

    #[test]
    fn json_trees_and_nodes_are_the_same(value in tree()) {
        prop_assert_eq!(&Node::from_json(&value).into_json().unwrap(), &value);
        let json = serde_json::to_string_pretty(&value).unwrap();
        if has_old_breaks(&json) { return Ok(()); }
        prop_assert_eq!(&parse(&json).unwrap()[0].root.to_json().unwrap(), &value);
    }

    #[test]
    fn an_edit_sets_one_scalar(value in tree(), new in text(), pick in any::<prop::sample::Index>(), style in 0..3_u8) {
        let source = match style {
            0 => emit::to_string(&value),
            1 => serde_json::to_string(&value).unwrap(),
            _ => serde_json::to_string_pretty(&value).unwrap(),
        };
        if has_old_breaks(&source) { return Ok(()); }
        let mut paths = Vec::new();
        scalars(&value, &mut Vec::new(), &mut paths);
        if paths.is_empty() { return Ok(()); }
        let path = pick.get(&paths);
        let edited = set_scalar(&source, path, &new)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{source}")))?;
        prop_assert_eq!(get_scalar(&edited, path).unwrap(), new.clone());
        let read = parse(&edited).unwrap()[0].root.to_json_as(Dialect::Kubectl).unwrap();
        let mut expected = value.clone();
        let mut typed = value;
        put(&mut expected, path, Value::String(new.clone()));
        put(&mut typed, path, parse(&new).ok().and_then(|d| d.first()?.root.to_json().ok()).unwrap_or_default());
        prop_assert!(read == expected || read == typed, "{}\n{}", source, edited);
    }

    #[test]
    fn an_inserted_key_is_there(value in tree(), key in text(), new in text(), style in 0..3_u8) {
        let source = match style {
            0 => emit::to_string(&value),
            1 => serde_json::to_string(&value).unwrap(),
            _ => serde_json::to_string_pretty(&value).unwrap(),
        };
        if has_old_breaks(&source) { return Ok(()); }
        let Value::Object(mut map) = value else { return Ok(()) };
        if map.contains_key(&key) { return Ok(()); }
        let edited = insert_key(&source, &[], &key, &new)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{source}")))?;
        map.insert(key, Value::String(new));
        let read = parse(&edited).unwrap()[0].root.to_json_as(Dialect::Kubectl).unwrap();
        prop_assert_eq!(read, Value::Object(map), "{}\n{}", source, edited);
    }

    #[test]
    fn any_text_is_read_or_refused(source in "\\PC{0,60}") {
        try_everything(&source);
    }
}

/// Reads, converts, emits and edits a text that may be anything.
fn try_everything(source: &str) {
    let Ok(documents) = parse(source) else { return };
    for document in &documents {
        for dialect in [Dialect::Kustomize, Dialect::Kubectl] {
            if let Ok(value) = document.root.to_json_as(dialect) {
                assert_eq!(document.root.clone().into_json_as(dialect).unwrap(), value);
                let yaml = emit::to_string(&value);
                if !has_old_breaks(&yaml) {
                    let again = parse(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
                    assert_eq!(again[0].root.to_json_as(dialect).unwrap(), value, "{yaml}");
                }
            }
        }
    }
    let mut paths = Vec::new();
    if let Some(document) = documents.first() {
        node_paths(&document.root, &mut Vec::new(), &mut paths);
    }
    for path in paths.iter().take(20) {
        for new in ["v2", "1.10", "two\nlines\n"] {
            if let Ok(edited) = set_scalar(source, path, new) {
                assert_eq!(get_scalar(&edited, path).unwrap(), new, "{source:?}");
            }
            let mut below = path.clone();
            below.push(Step::key("inserted"));
            if let Ok(edited) = set_or_insert(source, &below, new) {
                assert_eq!(get_scalar(&edited, &below).unwrap(), new, "{source:?}");
            }
        }
        appended_and_removed(source, path);
        let mut below = path.clone();
        below.push(Step::key("inserted"));
        if let Ok(edited) = insert_list(
            source,
            path,
            "inserted",
            &[("name", "x"), ("newTag", "1.10")],
        ) {
            match remove(&edited, &below) {
                Ok(back) => assert_eq!(values(&back), values(source), "{edited:?}"),
                // A text that no person writes.
                Err(error) => assert!(
                    matches!(error, Error::Refused { .. }),
                    "{error} in {edited:?}"
                ),
            }
        }
        if let Ok(edited) = remove(source, path) {
            let before = values(source);
            assert!(
                before.contains(&None) || values(&edited) != before,
                "{source:?}"
            );
        }
    }
}

/// An item that was added can be taken away again; then the values are those of before.
fn appended_and_removed(source: &str, path: &[Step]) {
    let item = [("name", "inserted"), ("newTag", "1.10")];
    let Ok(edited) = append_item(source, path, &item) else {
        return;
    };
    let mut added = path.to_vec();
    added.push(Step::matching("name", "inserted"));
    let mut tag = added.clone();
    tag.push(Step::key("newTag"));
    match get_scalar(&edited, &tag) {
        Ok(text) => assert_eq!(text, "1.10", "{source:?}"),
        Err(error) => assert!(
            matches!(error, Error::Ambiguous { .. }),
            "{error}: {source:?}"
        ),
    }
    if get_scalar(source, path).is_ok() {
        // Nothing was there, and no list that could be empty again.
        return;
    }
    match remove(&edited, &added) {
        Ok(back) => assert_eq!(values(&back), values(source), "{edited:?}"),
        // It was the first one, or a text that no person writes.
        Err(error) => assert!(
            matches!(error, Error::Refused { .. } | Error::Ambiguous { .. }),
            "{error} in {edited:?}"
        ),
    }
}

/// What the text says, if it can be said in JSON.
fn values(source: &str) -> Vec<Option<serde_json::Value>> {
    let documents = parse(source).unwrap();
    documents
        .iter()
        .map(|document| document.root.to_json().ok())
        .collect()
}

fn node_paths(node: &Node, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    found.push(path.clone());
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::Seq(items) => {
            for (index, item) in items.iter().enumerate().take(5) {
                path.push(Step::Index(index));
                node_paths(item, path, found);
                path.pop();
            }
        }
        Kind::Map(entries) => {
            for (key, value) in entries.iter().take(5) {
                path.push(Step::key(key.text().unwrap_or_default()));
                node_paths(value, path, found);
                path.pop();
            }
        }
    }
}

const SEEDS: [&str; 5] = [
    "# c\nimages:\n- name: a # x\n  newTag: \"1.10\"\n- {name: b, newTag: 'v2'}\nlist: [a, {b: c}]\n",
    "a: &x\n  b: |-\n    text\n      more\n\n  c: >+\n    f\n\n\nd:\n  <<: *x\n  e: !!str 1\n? k\n: v\n",
    "---\n{\"a\": [1, 2.5, \"x\\u00e9\\n\"], \"b\": {}}\n---\n- - a\n  - b\n-\n...\n",
    "a:\r\n  b: 'it''s'\r\n  c: \"x\r\n    y\"\r\nd: |2+\r\n   x\r\n\r\n",
    "%YAML 1.2\n---\n&a *b : *a\n!t key: ~\n? - x\n: {y: , z}\n",
];

#[test]
fn mutated_texts_are_read_or_refused() {
    let seconds = std::env::var("FAIRWAY_YAML_FUZZ_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    // xorshift, so that a failure comes again.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let pieces = [
        "\n", "  ", "- ", ": ", "? ", "|", ">", "|+\n", "'", "\"", "[", "]", "{", "}", ",", "&a ",
        "*a", "!!int ", "!", "#", " #", "\t", "\r\n", "---\n", "...\n", "<<: ", "%", "\\",
        "\u{feff}", "\u{2028}", "é", "0x1", "~",
    ];
    while Instant::now() < end {
        let mut text: Vec<char> = SEEDS[random(SEEDS.len())].chars().collect();
        for _ in 0..=random(6) {
            let at = random(text.len() + 1);
            match random(4) {
                0 => text.truncate(at),
                1 => drop(text.drain(at..(at + random(8)).min(text.len()))),
                2 => drop(text.splice(at..at, pieces[random(pieces.len())].chars())),
                _ => {
                    let to = (at + random(20)).min(text.len());
                    let copy: Vec<char> = text[at..to].to_vec();
                    let there = random(text.len() + 1);
                    drop(text.splice(there..there, copy));
                }
            }
        }
        try_everything(&text.into_iter().collect::<String>());
    }
}
