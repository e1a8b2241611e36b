//! Every directory `cases/<feature>/<case>` holds an `input` (built at `input/overlay`, or as it is) and what must come
//! out: `expected.yaml` and, where the order without the legacy sort differs, `expected-none.yaml`, as kustomize 5.8.1
//! prints them; or `error.txt`, the message.
//!
//! With `KUSTOMIZE` set to a kustomize binary, `cargo test -- --ignored` compares the expectations with it. With
//! `UPDATE_ERRORS` set, the messages are written anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use fairway_kustomize::{DiskTree, Options, Order, Recorder, build};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let dirs = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let mut out: Vec<PathBuf> = dirs(&root)
        .iter()
        .flat_map(|feature| dirs(feature))
        .collect();
    out.sort();
    out
}

fn start(case: &Path) -> &'static str {
    if case.join("input/overlay").is_dir() {
        "overlay"
    } else {
        ""
    }
}

fn built(case: &Path, order: Order) -> Result<String, String> {
    let tree = DiskTree::new(case.join("input")).unwrap();
    let recorder = Recorder::new(&tree);
    let options = Options {
        order,
        ..Options::default()
    };
    let result = build(&recorder, start(case), &options);
    // Whatever a build read, it reads the same again.
    assert!(recorder.into_read_set().same_in(&tree).unwrap());
    result
        .map(|built| built.to_yaml())
        .map_err(|error| error.to_string())
}

#[test]
fn builds_come_out_as_kustomizes() {
    let cases = cases();
    assert!(cases.len() > 25);
    let mut wrong = Vec::new();
    for case in &cases {
        let read = |name: &str| std::fs::read_to_string(case.join(name)).ok();
        if let Some(expected) = read("expected.yaml") {
            let none = read("expected-none.yaml").unwrap_or_else(|| expected.clone());
            for (order, expected) in [(Order::Legacy, expected), (Order::None, none)] {
                let found = built(case, order);
                if found.as_ref() != Ok(&expected) {
                    wrong.push(format!("{} ({order:?}): {found:#?}", case.display()));
                }
            }
            continue;
        }
        let message =
            built(case, Order::Legacy).expect_err(&format!("{} must fail", case.display())) + "\n";
        if std::env::var_os("UPDATE_ERRORS").is_some() {
            std::fs::write(case.join("error.txt"), &message).unwrap();
        }
        if read("error.txt").as_ref() != Some(&message) {
            wrong.push(format!("{}: {message}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs the kustomize binary that the variable KUSTOMIZE names"]
fn kustomize_agrees() {
    let binary = std::env::var_os("KUSTOMIZE").expect("KUSTOMIZE names a binary");
    for case in cases() {
        let run = |order: &str| {
            let dir = case.join("input").join(start(&case));
            let mut command = std::process::Command::new(&binary);
            command
                .arg("build")
                .arg(format!("--reorder={order}"))
                .arg(dir)
                .output()
                .unwrap()
        };
        if !case.join("expected.yaml").exists() {
            assert!(!run("legacy").status.success(), "{}", case.display());
            continue;
        }
        let expected = std::fs::read_to_string(case.join("expected.yaml")).unwrap();
        assert_eq!(
            String::from_utf8(run("legacy").stdout).unwrap(),
            expected,
            "{}",
            case.display()
        );
        let none = std::fs::read_to_string(case.join("expected-none.yaml")).unwrap_or(expected);
        assert_eq!(
            String::from_utf8(run("none").stdout).unwrap(),
            none,
            "{}",
            case.display()
        );
    }
}
