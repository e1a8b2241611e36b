//! Random kustomizations, built here and by the reference.
//!
//! `KUSTOMIZE` names a kustomize binary to compare with (5.8.1); without it, `kubectl kustomize` is the reference where
//! it is at hand. `RANDOM_CASES` says how many to try and `RANDOM_SEED` with which to begin; every case is its seed's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dice;
mod layers;
mod objects;
mod values;

use std::path::{Path, PathBuf};
use std::process::Command;

use fairway_kustomize::{Bases, DiskTree, MemoryTree, Options, Order, build, build_with, render};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The program that says what is right, and the orders that it can be asked for.
struct Reference {
    program: PathBuf,
    is_kubectl: bool,
}

impl Reference {
    fn find() -> Option<Self> {
        if let Some(program) = std::env::var_os("KUSTOMIZE") {
            return Some(Self {
                program: program.into(),
                is_kubectl: false,
            });
        }
        let there = Command::new("kubectl")
            .args(["version", "--client"])
            .output();
        there
            .is_ok_and(|output| output.status.success())
            .then(|| Self {
                program: "kubectl".into(),
                is_kubectl: true,
            })
    }

    fn build(&self, directory: &Path, order: Order) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        if self.is_kubectl {
            command.arg("kustomize");
        } else {
            let order = if order == Order::Legacy {
                "legacy"
            } else {
                "none"
            };
            command.args(["build", "--reorder", order]);
        }
        let output = command.arg(directory).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }
}

#[test]
fn random_kustomizations_come_out_as_the_references() {
    let Some(reference) = Reference::find() else {
        eprintln!("skipped: there is neither KUSTOMIZE nor kubectl");
        return;
    };
    let begin = number("RANDOM_SEED", 1);
    let mut wrong = Vec::new();
    let mut built = 0;
    let cases = number("RANDOM_CASES", 12);
    for seed in begin..begin + cases {
        let directory = tempfile::tempdir().unwrap();
        let files = layers::tree(seed);
        for (path, text) in &files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let orders = [Order::Legacy, Order::None];
        for order in &orders[..if reference.is_kubectl { 1 } else { 2 }] {
            let options = Options {
                order: *order,
                ..Options::default()
            };
            let tree = DiskTree::new(directory.path()).unwrap();
            let ours = render(&tree, "top", &options).map(|rendered| rendered.yaml);
            let theirs = reference.build(&directory.path().join("top"), *order);
            built += usize::from(theirs.is_ok());
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) if ours == theirs => {}
                (Err(_), Err(theirs)) => {
                    if std::env::var_os("RANDOM_ERRORS").is_some() {
                        eprintln!("{seed}: {}", theirs.trim());
                    }
                    break;
                }
                _ => {
                    wrong.push(format!(
                        "seed {seed}, {order:?}\nours: {ours:?}\ntheirs: {theirs:?}"
                    ));
                    if let Some(keep) = std::env::var_os("RANDOM_KEEP") {
                        let keep = Path::new(&keep).join(seed.to_string());
                        for (path, text) in &files {
                            let path = keep.join(path);
                            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                            std::fs::write(path, text).unwrap();
                        }
                    }
                    break;
                }
            }
        }
    }
    eprintln!(
        "{cases} cases, {built} builds succeeded, {} differ",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(built > 0 || cases < 10, "no case can be built at all");
}

#[test]
fn all_ways_to_build_agree() {
    for seed in 0..300 {
        let tree: MemoryTree = layers::tree(seed).into_iter().collect();
        let options = Options::default();
        let plain = build(&tree, "top", &options).map(|built| built.to_yaml());
        let rendered = render(&tree, "top", &options).map(|rendered| rendered.yaml);
        let bases = Bases::default();
        for _ in 0..2 {
            let shared = build_with(&tree, "top", &options, &bases).map(|built| built.to_yaml());
            assert_eq!(shared.as_ref().ok(), plain.as_ref().ok(), "seed {seed}");
        }
        assert_eq!(rendered.ok(), plain.ok(), "seed {seed}");
    }
}
