//! Changed and broken input: whatever stands in the files, a build ends soon, with a result or an error.
//!
//! Each target takes texts of the golden cases and of its own, changes them by seed, and builds. It fails on a panic (an
//! overflow among them, in builds that check for it), on a build that takes longer than [`LONGEST`], and on one whose text
//! is out of proportion. `FUZZ_SECONDS` says how long each target runs, `FUZZ_SEED` where it begins; `FUZZ_KEEP` names a
//! folder for the input that is being tried, for what kills the process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod change;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairway_kustomize::{MemoryTree, Options, render};

use change::Changer;

/// A build of such small files that takes longer hangs, even on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(20);
/// More text than this cannot come of so small files.
const MOST_BYTES: usize = 64 << 20;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The files of a case below a folder, by their paths in it.
type Files = Vec<(String, Vec<u8>)>;

fn files(root: &Path) -> Files {
    let mut out = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                out.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

/// The inputs of the golden cases of some features.
fn cases(features: &[&str]) -> Vec<Files> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut out = Vec::new();
    for feature in features {
        let mut cases: Vec<PathBuf> = std::fs::read_dir(golden.join(feature))
            .unwrap()
            .map(|entry| entry.unwrap().path().join("input"))
            .collect();
        cases.sort();
        out.extend(cases.iter().map(|case| files(case)));
    }
    out
}

/// Builds changed cases until the time is over. `wanted` chooses the files that are changed.
fn run(target: &str, cases: &[Files], wanted: impl Fn(&str) -> bool) {
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 2));
    let texts: Vec<&[u8]> = cases
        .iter()
        .flatten()
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    let mut seed = number("FUZZ_SEED", 1);
    let (mut built, mut refused) = (0_u64, 0_u64);
    while Instant::now() < until {
        let mut changer = Changer::new(seed, &texts);
        let mut case = cases[changer.below(cases.len())].clone();
        let chosen: Vec<usize> = (0..case.len()).filter(|at| wanted(&case[*at].0)).collect();
        if !chosen.is_empty() {
            let at = chosen[changer.below(chosen.len())];
            changer.change(&mut case[at].1);
        }
        if let Some(keep) = std::env::var_os("FUZZ_KEEP") {
            let keep = Path::new(&keep).join(target);
            let _ = std::fs::remove_dir_all(&keep);
            for (path, bytes) in &case {
                let path = keep.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
        }
        let top = if case.iter().any(|(path, _)| path.starts_with("overlay/")) {
            "overlay"
        } else {
            ""
        };
        let tree: MemoryTree = case.into_iter().collect();
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| render(&tree, top, &Options::default())));
        let took = begun.elapsed();
        let result = result.unwrap_or_else(|_| panic!("{target}: seed {seed} panics"));
        assert!(took < LONGEST, "{target}: seed {seed} takes {took:?}");
        match result {
            Ok(rendered) => {
                assert!(
                    rendered.yaml.len() < MOST_BYTES,
                    "{target}: seed {seed} grows to {}",
                    rendered.yaml.len()
                );
                built += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
        seed += 1;
    }
    eprintln!("{target}: up to seed {seed}, {built} built, {refused} refused");
    assert!(
        refused > 0,
        "{target}: nothing was refused: is anything changed?"
    );
}

const ALL: [&str; 16] = [
    "components",
    "configurations",
    "generators",
    "images",
    "labels",
    "metadata",
    "names",
    "namespace",
    "order",
    "patches",
    "plugins",
    "replacements",
    "replicas",
    "resources",
    "vars",
    "openapi",
];

#[test]
fn the_yaml_reader() {
    run("yaml", &cases(&["resources", "names", "images"]), |path| {
        !path.ends_with("kustomization.yaml")
    });
}

#[test]
fn the_kustomization_reader() {
    run("kustomization", &cases(&ALL), |path| {
        path.ends_with("kustomization.yaml")
    });
}

#[test]
fn patches() {
    run(
        "patches",
        &cases(&["patches", "openapi", "plugins"]),
        |_| true,
    );
}

#[test]
fn replacements() {
    run(
        "replacements",
        &cases(&["replacements", "vars", "configurations"]),
        |_| true,
    );
}
