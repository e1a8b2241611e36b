//! What parsing makes of anchors, merges, documents and mistakes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fairway_yaml::{Dialect, DuplicateKeys, Kind, Node, Options, parse, parse_bytes, parse_with};
use serde_json::{Value, json};

fn value(text: &str) -> Value {
    let mut documents = parse(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).root.into_json().unwrap()
}

#[track_caller]
fn error(text: &str, message: &str) {
    let error = parse(text).and_then(|documents| {
        documents
            .into_iter()
            .try_for_each(|document| document.root.to_json().map(drop))
    });
    assert_eq!(error.unwrap_err().to_string(), message);
}

#[test]
fn documents_are_separate_and_may_be_empty() {
    let documents = parse("---\na: 1\n---\n# nothing\n---\nnull\n--- \n- b\n...\n").unwrap();
    let empty: Vec<bool> = documents
        .iter()
        .map(|document| document.is_empty())
        .collect();
    assert_eq!(empty, [false, true, false, false]);
    assert_eq!(parse("").unwrap(), []);
    assert_eq!(parse("# comment\n").unwrap(), []);
    assert!(parse("---\n").unwrap()[0].is_empty());
    error(
        "a: &x 1\n---\nb: *x\n",
        "line 3, column 4: alias *x stands for nothing: no anchor of that name comes before it",
    );
}

#[test]
fn json_windows_lines_and_byte_order_marks_are_fine() {
    assert_eq!(
        value("{\"a\": [1, \"x\\u00e9\\/\", {}],\n\t\"b\": null}"),
        json!({"a": [1, "xé/", {}], "b": null})
    );
    assert_eq!(
        value("\u{feff}a: |\r\n  x\r\n  y\r\nb: c\r\n"),
        json!({"a": "x\ny\n", "b": "c"})
    );
}

#[test]
fn merge_keys_do_as_in_yaml_v3() {
    let text =
        "m: &m {a: 1, b: 1}\nn: &n {b: 2, c: 2}\nx:\n  <<: [*n, *m]\n  c: 3\ny:\n  '<<': *m\n";
    let value = value(text);
    assert_eq!(value["x"], json!({"a": 1, "b": 2, "c": 3}));
    assert_eq!(value["y"], json!({"<<": {"a": 1, "b": 1}}));
    error(
        "a:\n  <<: 1\n",
        "line 2, column 7: map merge requires map or sequence of maps as the value",
    );
    error(
        "a:\n  <<: {b: 1}\n  <<: {c: 1}\n",
        "line 3, column 3: mapping key \"<<\" already defined at line 2",
    );
}

#[test]
fn keys_stand_once() {
    error(
        "a:\n  b: 1\n  c: 2\n  b: 3\n",
        "line 4, column 3: mapping key \"b\" already defined at line 2",
    );
    let mut text = String::new();
    for key in 0..100 {
        writeln!(text, "k{key}: x").unwrap();
    }
    text.push_str("k7: again\n");
    error(
        &text,
        "line 101, column 1: mapping key \"k7\" already defined at line 8",
    );
    let options = Options {
        duplicate_keys: DuplicateKeys::LastWins,
        ..Options::default()
    };
    let documents = parse_with("a: 1\nb: 2\na: 3\n", options).unwrap();
    assert_eq!(
        documents[0].root.to_json().unwrap(),
        json!({"a": 3, "b": 2})
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    error(
        "a: [1\nb: 2\n",
        "line 2, column 2: illegal placement of ':' indicator",
    );
    error(
        "a: b: c\n",
        "line 1, column 5: mapping values are not allowed in this context",
    );
    error(
        "a: &x [*x]\n",
        "line 1, column 8: alias *x stands inside the value that it repeats",
    );
    error(
        "a: .inf\n",
        "line 1, column 4: unsupported value: JSON has no number for `.inf`",
    );
    error(
        "a:\n  1: x\n",
        "line 2, column 3: map key must be a string, but `1` is an integer; hint: put it in quotes",
    );
    error(
        "? [a]\n: b\n",
        "line 1, column 3: map key must be a string, not a list",
    );
    error(
        "a: !!int x\n",
        "line 1, column 10: cannot decode !!str `x` as a !!int",
    );
    let bytes = parse_bytes(b"a: b\nc: \xe9\xff\n").unwrap_err();
    assert_eq!(bytes.to_string(), "line 2, column 4: the text is not UTF-8");
}

#[test]
fn kustomization_files_have_other_rules() {
    let document = &parse("n: 1\nl: {yes: on, 2: 0o17}\nd: 2001-01-01\n").unwrap()[0];
    assert_eq!(
        document.root.to_json_as(Dialect::Kubectl).unwrap(),
        json!({"false": 1, "l": {"true": true, "2": 15}, "d": "2001-01-01"})
    );
}

#[test]
fn spans_point_at_the_source() {
    let text = "a: &x # c\n- b: |\n    t\n- 'c d'\né: [ü, {x: y}]\n";
    let documents = parse(text).unwrap();
    let root = &documents[0].root;
    let source = |node: &Node| &text[node.span.range()];
    let list = root.get("a").unwrap();
    assert_eq!(source(list), "- b: |\n    t\n- 'c d'");
    assert_eq!(source(list.at(1).unwrap()), "'c d'");
    let flow = root.get("é").unwrap();
    assert_eq!(source(flow), "[ü, {x: y}]");
    let inner = flow.at(1).unwrap().get("x").unwrap();
    assert_eq!(
        (source(inner), inner.span.line, inner.span.column),
        ("y", 5, 12)
    );
}

#[test]
fn from_json_keeps_every_value() {
    let value = json!({"a": ["1", 1, 1.5, true, "true", "y", null, "", "<<", "2001-01-01"], "<<": {}, "1": 0});
    assert_eq!(Node::from_json(&value).to_json().unwrap(), value);
}

#[test]
fn bombs_fail_fast() {
    let started = Instant::now();
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..30 {
        let alias = format!("*a{}", level - 1);
        writeln!(
            laughs,
            "a{level}: &a{level} [{}]",
            [alias.as_str(); 9].join(", ")
        )
        .unwrap();
    }
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        ["*a"; 1000].join(", ")
    );
    let mut nested = String::new();
    for level in 0..150 {
        write!(nested, "&n{level} [").unwrap();
    }
    nested.push_str(&"x, ".repeat(50_000));
    nested.push_str(&"]".repeat(150));
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..300 {
        writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    for bomb in [&laughs, &long, &nested] {
        let message = parse(bomb).unwrap_err().message;
        assert_eq!(
            message,
            "aliases make the document too large (excessive aliasing)"
        );
    }
    let message = parse(&chain).unwrap_err().message;
    assert_eq!(message, "values are nested more than 200 deep");
    for deep in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
    ] {
        assert!(parse(&deep).is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn limits_can_be_set() {
    let options = Options {
        bytes: 10,
        ..Options::default()
    };
    let error = parse_with("a: 12345678", options).unwrap_err();
    assert_eq!(
        error.message,
        "the text is 11 bytes long, more than the 10 allowed"
    );
    let options = Options {
        nodes: 3,
        ..Options::default()
    };
    assert!(parse_with("[a, b]", options).is_ok());
    let error = parse_with("[a, b, c]", options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 8: the text holds more than 3 values"
    );
}

#[test]
fn the_tree_is_open_to_look_at() {
    let documents = parse("a: [1, {b: c}]\n").unwrap();
    let root = &documents[0].root;
    assert!(matches!(root.kind, Kind::Map(ref entries) if entries.len() == 1));
    assert_eq!(root.entry("a").unwrap().0.span.column, 1);
    assert_eq!(root.get("a").unwrap().items().unwrap().len(), 2);
    assert_eq!(root.get("x"), None);
    assert_eq!(root.at(0), None);
}

#[test]
fn a_tab_does_not_indent_the_first_line_of_a_block() {
    for text in ["a: |\n  \tx\n", "a: >-\n\n  \tx\n", "- |\n \tx\n"] {
        let error = parse(text).unwrap_err();
        assert!(error.message.contains("tab"), "{error}");
    }
    for text in ["a: |2\n  \tx\n", "a: |\n  x\n  \ty\n", "a: >1-\n \tx\n"] {
        assert!(parse(text).is_ok(), "{text:?}");
    }
}
