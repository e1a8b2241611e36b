//! `cargo xtask crds [--check]`: writes the CustomResourceDefinitions of `fairway-types` to `config/crd`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

const HEADER: &str = "# Made by `cargo xtask crds` from crates/types; do not edit.\n";

/// Writes the files, or with `--check` says which ones differ.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let check = match args {
        [] => false,
        ["--check"] => true,
        _ => bail!("usage: cargo xtask crds [--check]"),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/crd");
    let mut differing = Vec::new();
    for (name, text) in files()? {
        let path = folder.join(name);
        if check {
            if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                differing.push(path.display().to_string());
            }
        } else {
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    bail!(
        "not up to date: {}\nhint: run cargo xtask crds",
        differing.join(", ")
    )
}

/// One file for each CRD, named as Flux names its own, and the kustomization that lists them.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let mut list = String::from(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n",
    );
    for crd in fairway_types::crds() {
        let text = |pointer: &str| {
            crd.pointer(pointer)
                .and_then(serde_json::Value::as_str)
                .with_context(|| format!("a CRD has no {pointer}"))
        };
        let name = format!(
            "{}_{}.yaml",
            text("/spec/group")?,
            text("/spec/names/plural")?
        );
        list.extend(["- ", name.as_str(), "\n"]);
        files.push((
            PathBuf::from(name),
            format!("{HEADER}{}", fairway_yaml::emit::to_string(&crd)),
        ));
    }
    files.push((PathBuf::from("kustomization.yaml"), list));
    Ok(files)
}
