//! `cargo xtask envtest`: real peers for tests, built once into `target/envtest`.
//!
//! The programs are those of two small Go modules of our own under `hack/envtest`, so that versions
//! and checksums are in this repository and the Go proxy is the only thing that is asked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

struct Peer {
    /// The folder below `hack/envtest`.
    module: &'static str,
    program: &'static str,
}

const PEERS: &[Peer] = &[
    Peer {
        module: "etcd",
        program: "etcd",
    },
    Peer {
        module: "apiserver",
        program: "kube-apiserver",
    },
];

/// Builds what is missing or out of date; an up-to-date folder costs nothing.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    ensure!(args.is_empty(), "usage: cargo xtask envtest");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no parent folder")?;
    let target = root.join("target/envtest");
    std::fs::create_dir_all(&target)?;
    let go = go_version()?;
    for peer in PEERS {
        build(
            peer,
            &root.join("hack/envtest").join(peer.module),
            &target,
            &go,
        )?;
    }
    println!("KUBEBUILDER_ASSETS={}", target.display());
    Ok(())
}

fn go_version() -> Result<String> {
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output();
    let output = output.context(
        "can't run go; hint: install Go, or point KUBEBUILDER_ASSETS at a folder with etcd and kube-apiserver",
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn build(peer: &Peer, module: &Path, target: &Path, go: &str) -> Result<()> {
    let text = read(&module.join("go.mod"))?;
    let package =
        line(&text, "tool ").with_context(|| format!("{}: no tool line", module.display()))?;
    let flags = linker_flags(&text);
    // The stamp is what the program was built from, as it is: no digest to explain.
    let stamp = format!("{go}\n{flags}\n{text}\n{}", read(&module.join("go.sum"))?);
    let program = target.join(peer.program);
    let stamp_file = target.join(format!("{}.stamp", peer.program));
    if program.is_file() && std::fs::read_to_string(&stamp_file).is_ok_and(|known| known == stamp) {
        println!("{}: up to date", peer.program);
        return Ok(());
    }
    println!(
        "{}: building {package} (kube-apiserver takes about four minutes on two cores)",
        peer.program
    );
    let unfinished = target.join(format!("{}.unfinished", peer.program));
    let status = Command::new("nice")
        .args([
            "-n",
            "19",
            "go",
            "build",
            "-mod=readonly",
            "-p",
            "2",
            "-trimpath",
            "-buildvcs=false",
        ])
        .args(["-ldflags", &flags, "-o"])
        .arg(&unfinished)
        .arg(package)
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .status()
        .context("can't run go build")?;
    if !status.success() {
        bail!("{}: go build ended with {status}", peer.program);
    }
    std::fs::rename(&unfinished, &program)?;
    std::fs::write(stamp_file, stamp)?;
    Ok(())
}

fn read(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn line<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(prefix))
        .map(str::trim)
}

/// No debug information; and the version that a release build of kube-apiserver would state.
fn linker_flags(go_mod: &str) -> String {
    let mut flags = "-s -w".to_owned();
    if let Some(version) = line(go_mod, "require k8s.io/kubernetes ") {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        );
        for (name, value) in [
            ("gitVersion", version),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "archive"),
        ] {
            for package in [
                "k8s.io/component-base/version",
                "k8s.io/client-go/pkg/version",
            ] {
                flags.extend([" -X ", package, ".", name, "=", value]);
            }
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_module() {
        let flags = linker_flags("module x\n\nrequire k8s.io/kubernetes v1.36.3\n");
        assert!(
            flags.starts_with("-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 "),
            "{flags}"
        );
        assert!(
            flags.contains(" -X k8s.io/component-base/version.gitMinor=36"),
            "{flags}"
        );
        assert_eq!(
            linker_flags("require go.etcd.io/etcd/server/v3 v3.7.3\n"),
            "-s -w"
        );
    }
}
