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
