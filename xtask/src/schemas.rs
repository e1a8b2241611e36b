//! `cargo xtask schemas`: the compact table of built-in Kubernetes types in `crates/schema/data`.

use anyhow::{Result, bail};

/// Regenerates the files, or with `--check` fails if they differ.
pub fn run(args: &[&str]) -> Result<()> {
    if !matches!(args, [] | ["--check"]) {
        bail!("unknown arguments {args:?}; usage: cargo xtask schemas [--check]");
    }
    Ok(())
}
