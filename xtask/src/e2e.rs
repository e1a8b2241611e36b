//! `cargo xtask e2e [NAME]`: the suite on real clusters, with Flux's own programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::envtest;

const USAGE: &str = "usage: cargo xtask e2e [NAME]

Runs the tests of crates/fairway/tests/real and tests/idle, or those whose name holds NAME (`handover`, `flux_cli`, `least_privilege`), on real API servers
against Flux's own programs. Needs what `cargo xtask envtest --flux` builds, or KUBEBUILDER_ASSETS, and kubectl.";

const WANTED: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kustomize-controller",
    "flux",
    "flux-crds",
];

/// Runs the suite; what is missing is an error, not a pass.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let filter = match args {
        [] => None,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return Ok(());
        }
        [name] if !name.starts_with('-') => Some(*name),
        _ => bail!("{USAGE}"),
    };
    let folder = match std::env::var_os("KUBEBUILDER_ASSETS").filter(|v| !v.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => envtest::folder()?,
    };
    let missing = missing(&folder);
    ensure!(
        missing.is_empty(),
        "missing in {}: {}\nhint: `cargo xtask envtest --flux` builds them",
        folder.display(),
        missing.join(", ")
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    ensure!(
        std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file()),
        "there is no kubectl in PATH"
    );
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "test",
            "--package",
            "fairway",
            "--test",
            "real",
            "--test",
            "idle",
            "--",
        ])
        .args(["--ignored", "--test-threads=1", "--nocapture"])
        .args(filter)
        .env("KUBEBUILDER_ASSETS", &folder);
    let status = command.status().context("can't run cargo")?;
    ensure!(status.success(), "the suite ended with {status}");
    Ok(())
}

fn missing(folder: &Path) -> Vec<&'static str> {
    let is_missing = |name: &&str| !folder.join(name).exists();
    WANTED.iter().copied().filter(is_missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("etcd"), "").unwrap();
        assert_eq!(missing(folder.path()), WANTED[1..]);
    }
}
