//! `bench-reconcile` and `bench-idle`: start the benches of `crates/fairway`, release build and all. `bench-kustomize`:
//! the one of `crates/kustomize`, on the release build of the binary.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub(crate) fn run(name: &str, arguments: &[&str]) -> Result<()> {
    bench("fairway", name, arguments)
}

/// Compares whole processes with `kubectl kustomize`. `--binary PATH` saves building the binary.
pub(crate) fn kustomize(arguments: &[&str]) -> Result<()> {
    let mut arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    if !arguments.iter().any(|word| word == "--binary") {
        arguments.extend(["--binary".to_owned(), binary()?]);
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    bench("fairway-kustomize", "fleet", &words)
}

fn bench(package: &str, name: &str, arguments: &[&str]) -> Result<()> {
    let status = cargo()
        .args(["bench", "--package", package, "--bench", name, "--"])
        .args(arguments)
        .status()
        .context("can't start cargo")?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}

/// The release build of the binary.
fn binary() -> Result<String> {
    let output = cargo()
        .args([
            "build",
            "--release",
            "--package",
            "fairway",
            "--bin",
            "fairway",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("can't start cargo")?;
    ensure!(
        output.status.success(),
        "the build ended with {}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "fairway")
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .context("cargo built no binary")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
