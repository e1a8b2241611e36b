//! `bench-reconcile` and `bench-idle`: start the benches of `crates/fairway`, release build and all.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

pub(crate) fn run(name: &str, arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["bench", "--package", "fairway", "--bench", name, "--"])
        .args(arguments)
        .status()
        .context("can't start cargo")?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}
