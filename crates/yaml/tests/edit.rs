//! Edits, each compared with the whole text that must come out.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use fairway_yaml::edit::{
    Error, Step, append_item, get_scalar, insert_key, insert_list, insert_map, remove,
    set_or_insert, set_scalar, set_string,
};
use fairway_yaml::parse;

/// `images[name=podinfo].newTag`, `args[1]`
fn path(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in text
        .split_inclusive([']', '.'])
        .flat_map(|part| part.split('['))
    {
        let part = part.trim_end_matches('.');
        if let Some(inside) = part.strip_suffix(']') {
            match inside.split_once('=') {
                Some((key, value)) => steps.push(Step::matching(key, value)),
                None => steps.push(Step::Index(inside.parse().unwrap())),
            }
        } else if !part.is_empty() {
            steps.push(Step::key(part));
        }
    }
    steps
}

#[track_caller]
fn set(source: &str, at: &str, new: &str, expected: &str) {
    let edited = set_scalar(source, &path(at), new).unwrap();
    assert_eq!(edited, expected);
    assert_eq!(get_scalar(&edited, &path(at)).unwrap(), new);
}

#[track_caller]
fn insert(source: &str, at: &str, key: &str, new: &str, expected: &str) {
    assert_eq!(insert_key(source, &path(at), key, new).unwrap(), expected);
}

const KUSTOMIZATION: &str = "# podinfo in dev
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../base]   # shared
images:
  # promoted
  - name: other
    newTag: '1.0.0'
  - name: podinfo   # the app
    newTag: 6.5.0   # stage dev
";

#[test]
fn only_the_value_changes() {
    set(
        KUSTOMIZATION,
        "images[name=podinfo].newTag",
        "6.5.1",
        &KUSTOMIZATION.replace("6.5.0", "6.5.1"),
    );
    set(
        KUSTOMIZATION,
        "images[0].newTag",
        "1.10",
        &KUSTOMIZATION.replace("'1.0.0'", "'1.10'"),
    );
    set(
        KUSTOMIZATION,
        "resources[0]",
        "a, b",
        &KUSTOMIZATION.replace("../base", "\"a, b\""),
    );
}

#[test]
fn a_value_that_would_be_read_as_something_else_is_quoted() {
    for new in [
        "1.10",
        "on",
        "y",
        "0644",
        "2024-01-01",
        "null",
        "",
        "1:20",
        "a: b",
        "#1",
        "*x",
        "1e3",
    ] {
        set(
            "tag: v1 # c\n",
            "tag",
            new,
            &format!("tag: \"{new}\" # c\n"),
        );
    }
}

#[test]
fn numbers_and_booleans_keep_their_type() {
    set("replicas: 3 # c\n", "replicas", "5", "replicas: 5 # c\n");
    set("suspend: false\n", "suspend", "true", "suspend: true\n");
    set("tag: 1.1\n", "tag", "1.10", "tag: \"1.10\"\n");
    set("replicas: 3\n", "replicas", "03", "replicas: \"03\"\n");
    set("replicas: 3\n", "replicas", "many", "replicas: many\n");
    set("tag: \"3\"\n", "tag", "5", "tag: \"5\"\n");
    set("tag: !!str 3\n", "tag", "v5", "tag: !!str v5\n");
}

#[test]
fn quotes_stay_where_the_text_can_stand_in_them() {
    set("a: 'x'\n", "a", "it's", "a: 'it''s'\n");
    set("a: 'x'\n", "a", "two\nlines", "a: \"two\\nlines\"\n");
    set("a: \"x\"\n", "a", "q\"\\\té", "a: \"q\\\"\\\\\\té\"\n");
    set("a: \"long\n  text\"\nb: 1\n", "a", "x", "a: \"x\"\nb: 1\n");
    set("a: long\n  text # c\nb: 1\n", "a", "x", "a: x # c\nb: 1\n");
}

#[test]
fn line_endings_and_byte_order_mark_stay() {
    set(
        "\u{feff}a: x\r\nb: y\r\n",
        "b",
        "z",
        "\u{feff}a: x\r\nb: z\r\n",
    );
    set(
        "a: |\r\n  x\r\n  y\r\nb: 1\r\n",
        "a",
        "p\nq\n",
        "a: |\r\n  p\r\n  q\r\nb: 1\r\n",
    );
    insert(
        "a:\r\n  x: 1\r\n",
        "a",
        "w",
        "z",
        "a:\r\n  x: 1\r\n  w: z\r\n",
    );
    insert("a:\r\n  x: 1", "a", "w", "z", "a:\r\n  x: 1\r\n  w: z");
}

#[test]
fn json_stays_json() {
    let source = "{\"images\": [{\"name\": \"x\", \"newTag\": \"1\"}], \"n\": 1}";
    set(
        source,
        "images[name=x].newTag",
        "2.0",
        "{\"images\": [{\"name\": \"x\", \"newTag\": \"2.0\"}], \"n\": 1}",
    );
    insert(
        source,
        "images[name=x]",
        "digest",
        "sha256:0",
        "{\"images\": [{\"name\": \"x\", \"newTag\": \"1\", \"digest\": \"sha256:0\"}], \"n\": 1}",
    );
    let pretty = "{\n  \"a\": 1,\n  \"b\": 2\n}\n";
    insert(
        pretty,
        "",
        "c",
        "3",
        "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": \"3\"\n}\n",
    );
    let edited = set_scalar(source, &path("images[0].newTag"), "\u{7f}\u{1}").unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&edited).is_ok());
}

#[test]
fn block_scalars_keep_their_shape() {
    set(
        "a: |- # why\n    x\n    y\n\n# next\nb: 1\n",
        "a",
        "p\n\nq",
        "a: |- # why\n    p\n\n    q\n\n# next\nb: 1\n",
    );
    set("a: |\n  x\nb: 1\n", "a", "p", "a: |-\n  p\nb: 1\n");
    set(
        "a: >-\n  x\n  y\nb: 1\n",
        "a",
        "p q",
        "a: >-\n  p q\nb: 1\n",
    );
    set(
        "a: >-\n  x\nb: 1\n",
        "a",
        "p\nq\n",
        "a: |\n  p\n  q\nb: 1\n",
    );
    set("a: |\n  x\nb: 1\n", "a", "p\n\n", "a: |+\n  p\n\nb: 1\n");
    set("a: |+\n  x\n\nb: 1\n", "a", "p\n", "a: |\n  p\nb: 1\n");
    set("a: |\n  x\nb: 1\n", "a", " p", "a: \" p\"\nb: 1\n");
    set("a: |\nb: 1\n", "a", "p\n", "a: |\n  p\nb: 1\n");
    set("- |\n  x\n- 1\n", "[0]", "p\n", "- |\n  p\n- 1\n");
    set("- a: &k |\n    x\n", "[0].a", "p\n", "- a: &k |\n    p\n");
}

#[test]
fn a_missing_value_is_filled_in() {
    set("a:\nb: 1\n", "a", "x", "a: x\nb: 1\n");
    set("a: # c\nb: 1\n", "a", "x", "a: x # c\nb: 1\n");
    set("a:", "a", "x", "a: x");
    set("l:\n- \n- b\n", "l[0]", "x", "l:\n- x\n- b\n");
    set("{a: , b: 1}", "a", "x", "{a: x , b: 1}");
    set("{a, b: 1}", "a", "x", "{a: x, b: 1}");
    set("a: ~\n", "a", "x", "a: x\n");
    set("a: null\n", "a", "1", "a: \"1\"\n");
}

#[test]
fn keys_are_added_behind_the_last() {
    insert(
        "images:\n  - name: a\n    newName: b # c\n  # end\n  - name: c\n",
        "images[name=a]",
        "newTag",
        "1.10",
        "images:\n  - name: a\n    newName: b # c\n    newTag: \"1.10\"\n  # end\n  - name: c\n",
    );
    insert(
        "images:\n- name: a",
        "images[0]",
        "newTag",
        "v1",
        "images:\n- name: a\n  newTag: v1",
    );
    insert(
        "images: [{name: a}] # c\n",
        "images[0]",
        "newTag",
        "v1",
        "images: [{name: a, newTag: v1}] # c\n",
    );
    insert("a: {}\n", "a", "b", "c", "a: {b: c}\n");
    insert("a: { x: 1 }\n", "a", "b", "c", "a: { x: 1, b: c }\n");
    insert(
        "a: {\n  x: 1, # one\n  y: 2 # two\n}\n",
        "a",
        "b",
        "c",
        "a: {\n  x: 1, # one\n  y: 2, # two\n  b: c\n}\n",
    );
    insert(
        "a:\n  x: |+\n    t\n\nb: 1\n",
        "a",
        "w",
        "z",
        "a:\n  x: |+\n    t\n\n  w: z\nb: 1\n",
    );
    insert(
        "a:\n  x: |\n    t\n\nb: 1\n",
        "a",
        "w",
        "z",
        "a:\n  x: |\n    t\n  w: z\n\nb: 1\n",
    );
    insert(
        "a:\n  x:\n\nb: 1\n",
        "a",
        "w",
        "z",
        "a:\n  x:\n  w: z\n\nb: 1\n",
    );
    insert(
        "x: &k 1\na:\n  p: *k\nb: 1\n",
        "a",
        "w",
        "z",
        "x: &k 1\na:\n  p: *k\n  w: z\nb: 1\n",
    );
    insert(
        "x: &k 1\na: {p: *k}\n",
        "a",
        "w",
        "z",
        "x: &k 1\na: {p: *k, w: z}\n",
    );
    insert(
        "a: 1\n---\nb:\n  c: 1\n",
        "b",
        "d",
        "2",
        "a: 1\n---\nb:\n  c: 1\n  d: \"2\"\n",
    );
}

#[test]
fn set_or_insert_does_what_is_needed() {
    let at = path("images[name=podinfo].newTag");
    let source = "images:\n- name: podinfo\n";
    let inserted = set_or_insert(source, &at, "1").unwrap();
    assert_eq!(inserted, "images:\n- name: podinfo\n  newTag: \"1\"\n");
    assert_eq!(
        set_or_insert(&inserted, &at, "2").unwrap(),
        "images:\n- name: podinfo\n  newTag: \"2\"\n"
    );
}

#[track_caller]
fn refused(source: &str, at: &str, message: &str) -> Error {
    let error = set_scalar(source, &path(at), "new").unwrap_err();
    assert_eq!(error.to_string(), message);
    error
}

#[test]
fn what_cannot_be_changed_alone_is_refused() {
    refused("a: 1\n", "b.c", "no value at b");
    refused("a: {b: 1}\n", "a", "line 1: a is a map, not a scalar");
    refused(
        "l:\n- n: x\n- n: x\n",
        "l[n=x].n",
        "l[n=x] fits more than one place",
    );
    refused("a: 1\n---\na: 2\n", "a", "a fits more than one place");
    refused(
        "a: &x 1\nb: *x\n",
        "b",
        "line 1: b is shared through an alias or a merge key; hint: give it a value of its own",
    );
    refused(
        "m: &m {a: x}\nn:\n  <<: *m\n",
        "n.a",
        "line 1: n.a is shared through an alias or a merge key; hint: give it a value of its own",
    );
    refused(
        "a: &x 1\nb: *x\n",
        "a",
        "line 1: a cannot be edited without changing more than its value",
    );
    refused(
        "a: 1\na: 2\n",
        "a",
        "line 2, column 1: mapping key \"a\" already defined at line 1",
    );
    assert_eq!(
        insert_key("a: {b: 1}\n", &path("a"), "b", "2")
            .unwrap_err()
            .to_string(),
        "line 1: a.b is already there"
    );
}

#[test]
fn an_unused_anchor_does_not_hinder() {
    set("a: &x 1.0.0\nb: 1\n", "a", "2.0.0", "a: &x 2.0.0\nb: 1\n");
    assert!(parse("a: &x 2.0.0\n").is_ok());
}

const NEW: [(&str, &str); 2] = [("name", "ghcr.io/x/new"), ("newTag", "1.10")];

/// Adds an item, compares with what must come out, and takes it away again: the old text.
#[track_caller]
fn append(source: &str, expected: &str) {
    let edited = append_item(source, &path("images"), &NEW).unwrap();
    assert_eq!(edited, expected);
    let back = remove(
        &edited,
        &[Step::key("images"), Step::matching("name", "ghcr.io/x/new")],
    );
    assert_eq!(back.unwrap(), source);
}

#[test]
fn an_item_is_laid_out_like_those_before_it() {
    append(
        "images:\n- name: a # x\n  newTag: v1 # y\n# end\nkind: K\n",
        "images:\n- name: a # x\n  newTag: v1 # y\n- name: ghcr.io/x/new\n  newTag: \"1.10\"\n# end\nkind: K\n",
    );
    append(
        "images:\r\n  -   name: a\r\n      newTag: 'v1'\r\n\r\nkind: K\r\n",
        "images:\r\n  -   name: a\r\n      newTag: 'v1'\r\n  -   name: 'ghcr.io/x/new'\r\n      newTag: '1.10'\r\n\r\nkind: K\r\n",
    );
    append(
        "images:\n  - {name: a, newTag: v1}\n  - {name: b, newTag: v2} # c",
        "images:\n  - {name: a, newTag: v1}\n  - {name: b, newTag: v2} # c\n  - {name: ghcr.io/x/new, newTag: \"1.10\"}",
    );
    append(
        "images: [{name: a, newTag: v1}] # c\n",
        "images: [{name: a, newTag: v1}, {name: ghcr.io/x/new, newTag: \"1.10\"}] # c\n",
    );
    append(
        "images: [\n  {name: a, newTag: v1}, # c\n]\n",
        "images: [\n  {name: a, newTag: v1}, # c\n  {name: ghcr.io/x/new, newTag: \"1.10\"},\n]\n",
    );
    append(
        "images: [\n  {name: a, newTag: v1} # c\n]\n",
        "images: [\n  {name: a, newTag: v1}, # c\n  {name: ghcr.io/x/new, newTag: \"1.10\"}\n]\n",
    );
    append(
        "{\"images\": [{\"name\": \"a\", \"newTag\": \"v1\"}]}\n",
        "{\"images\": [{\"name\": \"a\", \"newTag\": \"v1\"}, {\"name\": \"ghcr.io/x/new\", \"newTag\": \"1.10\"}]}\n",
    );
    append(
        "\u{feff}images:\n-\n  name: a\n  newTag: v1\n",
        "\u{feff}images:\n-\n  name: a\n  newTag: v1\n- name: ghcr.io/x/new\n  newTag: \"1.10\"\n",
    );
}

#[test]
fn an_empty_list_gets_its_first_item() {
    let of = |source: &str| append_item(source, &path("images"), &NEW).unwrap();
    assert_eq!(
        of("images: [] # none\nkind: K\n"),
        "images: [{name: ghcr.io/x/new, newTag: \"1.10\"}] # none\nkind: K\n"
    );
    assert_eq!(
        of("resources:\n  - a\nimages: # none\nkind: K\n"),
        "resources:\n  - a\nimages: # none\n  - name: ghcr.io/x/new\n    newTag: \"1.10\"\nkind: K\n"
    );
    assert_eq!(
        of("kind: K\nimages:"),
        "kind: K\nimages:\n- name: ghcr.io/x/new\n  newTag: \"1.10\""
    );
}

#[track_caller]
fn list(source: &str, expected: &str) {
    let edited = insert_list(source, &[], "images", &NEW).unwrap();
    assert_eq!(edited, expected);
    assert_eq!(remove(&edited, &path("images")).unwrap(), source);
}

#[test]
fn a_list_is_added_in_the_style_of_the_file() {
    list(
        "kind: K\nresources:\n  - ../base # b\n",
        "kind: K\nresources:\n  - ../base # b\nimages:\n  - name: ghcr.io/x/new\n    newTag: \"1.10\"\n",
    );
    list(
        "resources:\r\n- ../base\r\n# end",
        "resources:\r\n- ../base\r\nimages:\r\n- name: ghcr.io/x/new\r\n  newTag: \"1.10\"\r\n# end",
    );
    list(
        "resources: [../base]",
        "resources: [../base]\nimages:\n- name: ghcr.io/x/new\n  newTag: \"1.10\"",
    );
    list(
        "{\"kind\": \"K\"}\n",
        "{\"kind\": \"K\", \"images\": [{\"name\": \"ghcr.io/x/new\", \"newTag\": \"1.10\"}]}\n",
    );
    list(
        "---\n# a\nkind: K\n...\n",
        "---\n# a\nkind: K\nimages:\n- name: ghcr.io/x/new\n  newTag: \"1.10\"\n...\n",
    );
}

#[test]
fn entries_and_items_go_with_their_lines() {
    let of = |source: &str, at: &str| remove(source, &path(at)).unwrap();
    let source = "images:\n# a\n- name: a # x\n  newTag: v1 # y\n  digest: d\n# b\n- name: b\n  newTag: v2\n";
    assert_eq!(
        of(source, "images[name=a].newTag"),
        source.replace("  newTag: v1 # y\n", "")
    );
    assert_eq!(
        of(source, "images[name=a].name"),
        source.replace("name: a # x\n  ", "")
    );
    assert_eq!(
        of(source, "images[0]"),
        "images:\n# a\n# b\n- name: b\n  newTag: v2\n"
    );
    assert_eq!(of("{a: 1, b: 2, c: 3}", "b"), "{a: 1, c: 3}");
    assert_eq!(of("{a: 1, b: 2}", "a"), "{b: 2}");
    assert_eq!(of("[a, b]", "[1]"), "[a]");
    assert_eq!(of("a: |+\n  x\n\nb: 1\n", "a"), "\nb: 1\n");
    // Nothing that holds nothing is left behind, and nothing that others stand for goes.
    assert!(matches!(
        remove("a:\n  b: 1\n", &path("a.b")),
        Err(Error::Refused { .. })
    ));
    assert!(matches!(
        remove("a: [b]\n", &path("a[0]")),
        Err(Error::Refused { .. }) | Ok(_)
    ));
    assert!(remove("a: &x {b: 1}\nc: *x\nd: 1\n", &path("a")).is_err());
}

#[test]
fn one_document_of_several() {
    let source = "kind: A\nref:\n  tag: v1\n---\nkind: B\nref:\n  tag: v1\n";
    let at = [Step::Document(1), Step::key("ref"), Step::key("tag")];
    assert_eq!(
        set_string(source, &at, "1e3").unwrap(),
        "kind: A\nref:\n  tag: v1\n---\nkind: B\nref:\n  tag: \"1e3\"\n"
    );
    assert!(matches!(
        set_string(source, &at[1..], "v2"),
        Err(Error::Ambiguous { .. })
    ));
    assert_eq!(
        remove("ref: {a: 1}\n---\nref:\n  tag: v1\n  branch: b\n", &at).unwrap(),
        "ref: {a: 1}\n---\nref:\n  branch: b\n"
    );
    let away = [Step::Document(7), Step::key("ref")];
    assert!(matches!(
        get_scalar(source, &away),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn a_string_stays_a_string() {
    for (old, new, expected) in [
        ("newTag: 5\n", "6", "newTag: \"6\"\n"),
        ("newTag: 1.9\n", "2.1", "newTag: \"2.1\"\n"),
        ("newTag: v1\n", "0x1", "newTag: \"0x1\"\n"),
        ("newTag: v1\n", "true", "newTag: \"true\"\n"),
        ("newTag: 'v1'\n", "1e3", "newTag: '1e3'\n"),
    ] {
        assert_eq!(set_string(old, &path("newTag"), new).unwrap(), expected);
    }
}

#[test]
fn a_mapping_is_added_in_the_style_of_the_file() {
    let of = |source: &str| {
        let edited = insert_map(source, &path("spec"), "ref", &[("tag", "1.10")]).unwrap();
        assert_eq!(remove(&edited, &path("spec.ref")).unwrap(), source);
        edited
    };
    assert_eq!(
        of("spec:\n  url: x # u\nkind: K\n"),
        "spec:\n  url: x # u\n  ref:\n    tag: \"1.10\"\nkind: K\n"
    );
    assert_eq!(
        of("spec:\r\n    secretRef:\r\n        name: s\r\n"),
        "spec:\r\n    secretRef:\r\n        name: s\r\n    ref:\r\n        tag: \"1.10\"\r\n"
    );
    assert_eq!(of("spec: {url: x}"), "spec: {url: x, ref: {tag: \"1.10\"}}");
}
