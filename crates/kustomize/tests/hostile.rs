//! Input that tries to take the machine ends in an error, and soon.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fairway_kustomize::{ErrorKind, MemoryTree, Options, build};

fn fails(tree: &MemoryTree, path: &str) -> ErrorKind {
    let begun = Instant::now();
    let kind = build(tree, path, &Options::default()).unwrap_err().kind();
    assert!(
        begun.elapsed() < Duration::from_mins(1),
        "it took {:?}",
        begun.elapsed()
    );
    kind
}

#[test]
fn kustomizations_that_double_at_each_layer() {
    let mut tree = MemoryTree::new();
    tree.insert("l0/kustomization.yaml", "commonLabels: {a: b}\n");
    for layer in 1..50 {
        let below = layer - 1;
        tree.insert(
            format!("l{layer}/kustomization.yaml"),
            format!("resources: [../l{below}, ../l{below}]\n"),
        );
    }
    assert_eq!(fails(&tree, "l49"), ErrorKind::Limit);
}

#[test]
fn a_chain_of_kustomizations_without_end() {
    let mut tree = MemoryTree::new();
    for layer in 0..500 {
        tree.insert(
            format!("l{layer}/kustomization.yaml"),
            format!("resources: [../l{}]\n", layer + 1),
        );
    }
    assert_eq!(fails(&tree, "l0"), ErrorKind::Limit);
}

#[test]
fn values_nested_without_end() {
    let deep = format!(
        "apiVersion: v1\nkind: X\nmetadata: {{name: a}}\nspec: {}1{}\n",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let mut tree = MemoryTree::new();
    tree.insert("kustomization.yaml", "resources: [x.yaml]\n");
    tree.insert("x.yaml", deep);
    assert_eq!(fails(&tree, ""), ErrorKind::Syntax);
}

#[test]
fn a_patch_that_copies_and_copies() {
    let mut patch = String::from("- {op: add, path: /spec, value: {l: [[x]]}}\n");
    for _ in 0..64 {
        patch.push_str("- {op: copy, from: /spec/l, path: /spec/l/-}\n");
    }
    let mut kustomization =
        String::from("resources: [x.yaml]\npatches:\n- target: {kind: X}\n  patch: |\n");
    for line in patch.lines() {
        writeln!(kustomization, "    {line}").unwrap();
    }
    let mut tree = MemoryTree::new();
    tree.insert("kustomization.yaml", kustomization);
    tree.insert("x.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: a}\n");
    assert_eq!(fails(&tree, ""), ErrorKind::Limit);
}

#[test]
fn definitions_that_refer_to_themselves() {
    let mut tree = MemoryTree::new();
    tree.insert("kustomization.yaml", "resources: []\ncrds: [c.yaml]\n");
    let properties = "kind: {}, apiVersion: {}, metadata: {}, next: {$ref: a.X}";
    tree.insert(
        "c.yaml",
        format!("a.X: {{Schema: {{properties: {{{properties}}}}}}}\n"),
    );
    assert_eq!(fails(&tree, ""), ErrorKind::Limit);
}

#[test]
fn the_deepest_values_fit_a_small_stack() {
    let depth = 190;
    let nest = |inner: &str| format!("{}{inner}{}", "{a: ".repeat(depth), "}".repeat(depth));
    let object = |inner: &str| {
        format!(
            "apiVersion: v1\nkind: X\nmetadata: {{name: a}}\nspec: {}\n",
            nest(inner)
        )
    };
    let mut tree = MemoryTree::new();
    tree.insert(
        "kustomization.yaml",
        "resources: [x.yaml]\nnamePrefix: p-\ncommonLabels: {l: v}\nimages: [{name: i, newTag: t}]\npatches:\n\
         - path: patch.yaml\n- target: {kind: X}\n  patch: '- {op: add, path: /spec/b, value: 1}'\n",
    );
    tree.insert("x.yaml", object("i:1"));
    tree.insert("patch.yaml", object("i:2"));
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let run = thread.spawn(move || build(&tree, "", &Options::default()).unwrap().to_yaml());
    assert!(run.unwrap().join().unwrap().contains("a: i:2"));
}

#[test]
fn long_lists_with_keys() {
    let list = |from: usize, value: &str| {
        (from..from + 20_000).fold(String::new(), |mut out, at| {
            writeln!(out, "    - {{name: e{at}, value: {value}}}").unwrap();
            out
        })
    };
    let pod = |list: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: c\n    env:\n{list}"
        )
    };
    let mut tree = MemoryTree::new();
    tree.insert(
        "kustomization.yaml",
        "resources: [x.yaml]\npatches: [{path: p.yaml}]\n",
    );
    tree.insert("x.yaml", pod(&list(0, "old")));
    tree.insert("p.yaml", pod(&list(10_000, "new")));
    let begun = Instant::now();
    let built = build(&tree, "", &Options::default()).unwrap();
    let env = built.resources[0].object["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    assert_eq!(env.len(), 30_000);
    assert_eq!(
        env[0],
        serde_json::json!({"name": "e10000", "value": "new"})
    );
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it took {:?}",
        begun.elapsed()
    );
}
