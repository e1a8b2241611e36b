//! What Flux adds to a build: a kustomization made up where there is none, and the edits of its spec.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fairway_kustomize::{
    Build, Error, ErrorKind, Image, MemoryTree, Options, Patch, RootEdits, Selector, build,
};

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers: [{name: app, image: 'web:1'}]\n";

fn flux(files: &[(&str, &str)], root: RootEdits) -> Result<Build, Error> {
    let tree: MemoryTree = files.iter().copied().collect();
    build(
        &tree,
        "apps",
        &Options {
            root,
            ..Options::flux()
        },
    )
}

fn names(built: &Build) -> Vec<&str> {
    built
        .resources
        .iter()
        .map(|resource| resource.object["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[test]
fn without_a_kustomization_all_files_below_are_taken() {
    let files = [
        ("apps/b.yaml", config_map("b")),
        ("apps/a.yml", config_map("a")),
        ("apps/notes.txt", "not: [yaml".to_owned()),
        ("apps/deep/er/c.yaml", config_map("c")),
        (
            "apps/own/kustomization.yaml",
            "resources: [d.yaml]\nnamePrefix: own-\n".to_owned(),
        ),
        ("apps/own/d.yaml", config_map("d")),
        ("apps/own/ignored.yaml", config_map("ignored")),
        ("other/e.yaml", config_map("e")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let built = flux(&files, RootEdits::default()).unwrap();
    assert_eq!(names(&built), ["a", "b", "c", "own-d"]);
}

#[test]
fn a_file_that_is_no_resource_fails_the_generation() {
    let error = flux(&[("apps/a.yaml", "just text")], RootEdits::default()).unwrap_err();
    assert_eq!(error.file(), Some("apps/a.yaml"));
}

#[test]
fn the_spec_edits_the_root() {
    let files = [
        (
            "apps/kustomization.yaml",
            "resources: [web.yaml]\nnamespace: old\nimages:\n- {name: web, newTag: '2'}\n",
        ),
        ("apps/web.yaml", WEB),
        (
            "part/kustomization.yaml",
            "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\ncommonAnnotations: {part: 'yes'}\n",
        ),
    ];
    let root = RootEdits {
        namespace: Some("shop".into()),
        name_prefix: Some("p-".into()),
        name_suffix: Some("-s".into()),
        patches: vec![Patch {
            patch: r#"[{"op": "add", "path": "/spec/replicas", "value": 3}]"#.into(),
            target: Some(Selector {
                kind: "Deployment".into(),
                ..Selector::default()
            }),
        }],
        images: vec![Image {
            name: "web".into(),
            digest: "sha256:00".into(),
            ..Image::default()
        }],
        components: vec!["../part".into(), "../missing".into()],
        ignore_missing_components: true,
        build_metadata: vec!["originAnnotations".into()],
    };
    let built = flux(&files, root.clone()).unwrap();
    let object = &built.resources[0].object;
    assert_eq!(object["metadata"]["name"], "p-web-s");
    assert_eq!(object["metadata"]["namespace"], "shop");
    assert_eq!(object["metadata"]["annotations"]["part"], "yes");
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["image"],
        "web@sha256:00"
    );
    assert_eq!(built.resources[0].origin.as_deref(), Some("apps/web.yaml"));

    let strict = RootEdits {
        ignore_missing_components: false,
        ..root
    };
    assert_eq!(flux(&files, strict).unwrap_err().kind(), ErrorKind::Missing);
}

#[test]
fn a_component_of_the_spec_must_be_local() {
    for path in ["https://example.com/part", "/etc"] {
        let root = RootEdits {
            components: vec![path.into()],
            ..RootEdits::default()
        };
        let error = flux(
            &[
                ("apps/kustomization.yaml", "resources: []"),
                ("apps/a.yaml", ""),
            ],
            root,
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{path}");
    }
}

#[test]
fn an_empty_directory_is_no_build() {
    let error = flux(&[("apps/notes.txt", "")], RootEdits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
}
