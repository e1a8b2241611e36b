//! Every directory `golden/<feature>/<case>` holds an `input` (built at `input/overlay`, or as it is) and what must come
//! out: `expected.yaml` and, where the order without the legacy sort differs, `expected-none.yaml`, as kustomize 5.8.1
//! prints them; or `error.txt`, the message. `warnings.txt` holds what is said beside.
//!
//! Where `kubectl` is at hand, or the variable KUSTOMIZE names a kustomize 5.8.1, the expectations are compared with it.
//! With `UPDATE_ERRORS` set, messages and warnings are written anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use fairway_kustomize::{Build, DiskTree, Options, Order, Recorder, build};

/// What kustomize 5.5.0, which is in kubectl, does otherwise than 5.8.1.
const NEWER_THAN_KUBECTL: [&str; 3] = [
    "patches/delete-rename-and-old-fields",
    "replacements/fields-indexes-delimiters",
    "replacements/inside-texts",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<PathBuf> {
    let root = root();
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

fn built(case: &Path, order: Order) -> Result<Build, String> {
    let tree = DiskTree::new(case.join("input")).unwrap();
    let recorder = Recorder::new(&tree);
    let options = Options {
        order,
        ..Options::default()
    };
    let result = build(&recorder, start(case), &options);
    // Whatever a build read, it reads the same again.
    assert!(recorder.into_read_set().same_in(&tree).unwrap());
    result.map_err(|error| error.to_string())
}

#[test]
fn builds_come_out_as_kustomizes() {
    let cases = cases();
    assert!(cases.len() > 60);
    let update = std::env::var_os("UPDATE_ERRORS").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        let read = |name: &str| std::fs::read_to_string(case.join(name)).ok();
        if let Some(expected) = read("expected.yaml") {
            let none = read("expected-none.yaml").unwrap_or_else(|| expected.clone());
            for (order, expected) in [(Order::Legacy, expected), (Order::None, none)] {
                let found = built(case, order);
                let text = found.as_ref().map(Build::to_yaml);
                if text.as_ref() != Ok(&expected) {
                    wrong.push(format!("{} ({order:?}): {text:#?}", case.display()));
                }
                let warnings = found.map_or_else(|_| Vec::new(), |built| built.warnings);
                let warnings: String = warnings.iter().map(|line| line.clone() + "\n").collect();
                if update && !warnings.is_empty() {
                    std::fs::write(case.join("warnings.txt"), &warnings).unwrap();
                }
                if read("warnings.txt").unwrap_or_default() != warnings {
                    wrong.push(format!("{}: {warnings}", case.display()));
                }
            }
            continue;
        }
        let message =
            built(case, Order::Legacy).expect_err(&format!("{} must fail", case.display())) + "\n";
        if update {
            std::fs::write(case.join("error.txt"), &message).unwrap();
        }
        if read("error.txt").as_ref() != Some(&message) {
            wrong.push(format!("{}: {message}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reference_agrees() {
    let kustomize = std::env::var_os("KUSTOMIZE");
    let kubectl = Command::new("kubectl")
        .args(["version", "--client"])
        .output();
    if kustomize.is_none() && kubectl.is_err() {
        eprintln!("skipped: there is neither KUSTOMIZE nor kubectl");
        return;
    }
    for case in cases() {
        let directory = case.join("input").join(start(&case));
        let run = |order: &str| {
            let mut command = match &kustomize {
                Some(program) => {
                    let mut command = Command::new(program);
                    command.arg("build").arg(format!("--reorder={order}"));
                    command
                }
                None => {
                    let mut command = Command::new("kubectl");
                    command.arg("kustomize");
                    command
                }
            };
            command.arg(&directory).output().unwrap()
        };
        let newer = NEWER_THAN_KUBECTL
            .iter()
            .any(|newer| case == root().join(newer));
        if newer && kustomize.is_none() {
            continue;
        }
        let Ok(expected) = std::fs::read_to_string(case.join("expected.yaml")) else {
            assert!(!run("legacy").status.success(), "{}", case.display());
            continue;
        };
        let said = |order: &str| String::from_utf8(run(order).stdout).unwrap();
        assert_eq!(said("legacy"), expected, "{}", case.display());
        if kustomize.is_some() {
            let none = std::fs::read_to_string(case.join("expected-none.yaml")).unwrap_or(expected);
            assert_eq!(said("none"), none, "{}", case.display());
        }
    }
}
