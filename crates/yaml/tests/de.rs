//! Typed values: what the errors say, and where.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    name: String,
    #[serde(default)]
    replicas: u32,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    mode: u16,
}

fn error(text: &str) -> String {
    fairway_yaml::from_str::<Settings>(text)
        .unwrap_err()
        .to_string()
}

#[test]
fn values_are_read_as_kubectl_reads_them() {
    let settings: Settings =
        fairway_yaml::from_str("---\nname: a\nitems: [{mode: 0644}]\nlabels: {1: x}\n---\n")
            .unwrap();
    assert_eq!(settings.items, [Item { mode: 420 }]);
    assert_eq!(settings.labels["1"], "x");
}

#[test]
fn errors_name_the_line_and_the_field() {
    assert_eq!(
        error("name: a\nitems:\n- mode: 1\n- mode: many\n"),
        "line 4, column 9: items[1].mode: invalid type: string \"many\", expected u16"
    );
    assert_eq!(
        error("name: a\nreplica: 3\n"),
        "line 2, column 1: replica: unknown field `replica`, expected one of `name`, `replicas`, `items`, `labels`"
    );
    assert_eq!(
        error("name: a\nitems:\n- mode: 1\n  mod: 2\n"),
        "line 4, column 3: items[0].mod: unknown field `mod`, expected `mode`"
    );
    assert_eq!(
        error("# c\n\nreplicas: 3\n"),
        "line 3, column 1: missing field `name`"
    );
    assert_eq!(
        error("name: yes\n"),
        "line 1, column 7: name: invalid type: boolean `true`, expected a string"
    );
    assert_eq!(
        error("name: a\nname: b\n"),
        "line 2, column 1: mapping key \"name\" already defined at line 1"
    );
    assert_eq!(
        error("name: a\n---\nname: b\n"),
        "line 3, column 1: only one document is expected here"
    );
    assert_eq!(
        error(""),
        "the text is empty: invalid type: null, expected struct Settings"
    );
}

#[test]
fn nothing_is_null() {
    let nothing: Option<Settings> = fairway_yaml::from_str("# only a comment\n").unwrap();
    assert_eq!(nothing, None);
}
