//! What may be read: links, and files outside of a kustomization's directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::Path;

use fairway_kustomize::{DiskTree, Error, ErrorKind, LoadRestrictor, Options, render};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn built(root: &Path, path: &str, load_restrictor: LoadRestrictor) -> Result<String, Error> {
    let options = Options {
        load_restrictor,
        ..Options::default()
    };
    let tree = DiskTree::new(root).unwrap();
    render(&tree, path, &options).map(|rendered| rendered.yaml)
}

#[test]
fn a_link_counts_for_where_it_leads() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "app/kustomization.yaml", "resources: [link.yaml]\n");
    write(root, "app/real.yaml", MAP);
    symlink("real.yaml", root.join("app/link.yaml")).unwrap();
    assert_eq!(built(root, "app", LoadRestrictor::RootOnly).unwrap(), MAP);

    write(root, "out/kustomization.yaml", "resources: [link.yaml]\n");
    symlink("../app/real.yaml", root.join("out/link.yaml")).unwrap();
    let error = built(root, "out", LoadRestrictor::RootOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("is not in or below"), "{error}");
    assert_eq!(built(root, "out", LoadRestrictor::None).unwrap(), MAP);
}

#[test]
fn a_linked_directory_is_the_one_it_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "base/kustomization.yaml", "resources: [a.yaml]\n");
    write(root, "base/a.yaml", MAP);
    write(
        root,
        "top/kustomization.yaml",
        "resources: [linked]\nnamePrefix: p-\n",
    );
    symlink("../base", root.join("top/linked")).unwrap();
    let text = built(root, "top", LoadRestrictor::RootOnly).unwrap();
    assert_eq!(text, MAP.replace("name: a", "name: p-a"));

    // A link to a directory above is a cycle like any other.
    write(root, "loop/kustomization.yaml", "resources: [up]\n");
    symlink("..", root.join("loop/up")).unwrap();
    let error = built(root, "loop", LoadRestrictor::RootOnly).unwrap_err();
    assert!(error.to_string().contains("cycle detected"), "{error}");
}

#[test]
fn what_leads_out_of_the_tree_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("tree");
    write(&root, "app/kustomization.yaml", "resources: [link.yaml]\n");
    write(directory.path(), "secret.yaml", MAP);
    symlink("../../secret.yaml", root.join("app/link.yaml")).unwrap();
    for restrictor in [LoadRestrictor::RootOnly, LoadRestrictor::None] {
        assert!(built(&root, "app", restrictor).is_err());
    }
}
