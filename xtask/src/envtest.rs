//! `cargo xtask envtest [--flux]`: real peers for tests, built once into `target/envtest`.
//!
//! The programs are those of small Go modules of our own under `hack/envtest`, so that versions and checksums are in this
//! repository and the Go proxy is the only thing that is asked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "usage: cargo xtask envtest [--flux]

Builds etcd, kube-apiserver and kube-controller-manager into target/envtest: with an empty Go cache about eight minutes on two
cores, and seconds where nothing changed. CI builds these.
  --flux  also Flux's kustomize-controller, its `flux` command and the definitions of its kinds: about six minutes more,
          since Flux's dependencies are many; for `cargo xtask e2e`, by hand or at night";

struct Peer {
    /// The folder below `hack/envtest`.
    module: &'static str,
    program: &'static str,
    package: &'static str,
}

const KUBERNETES: &[Peer] = &[
    Peer {
        module: "etcd",
        program: "etcd",
        package: "go.etcd.io/etcd/server/v3",
    },
    Peer {
        module: "apiserver",
        program: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
    },
    Peer {
        module: "apiserver",
        program: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
];

const FLUX: &[Peer] = &[
    Peer {
        module: "flux",
        program: "kustomize-controller",
        package: "github.com/fluxcd/kustomize-controller",
    },
    Peer {
        module: "flux",
        program: "flux",
        package: "github.com/fluxcd/flux2/v2/cmd/flux",
    },
];

/// The module of the `flux` command, whose release builds embed files that are not in it.
const FLUX_MODULE: &str = "github.com/fluxcd/flux2/v2";
/// The modules whose zips hold the definitions of Flux's kinds, and the API module that tells their version.
const DEFINITIONS: &[(&str, &str)] = &[
    (
        "github.com/fluxcd/kustomize-controller",
        "github.com/fluxcd/kustomize-controller/api",
    ),
    (
        "github.com/fluxcd/source-controller",
        "github.com/fluxcd/source-controller/api",
    ),
];

/// Where the programs are.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(root()?.join("target/envtest"))
}

fn root() -> Result<&'static Path> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.context("xtask has no parent folder")
}

/// Builds what is missing or out of date; an up-to-date folder costs nothing.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let with_flux = match args {
        [] => false,
        ["--flux"] => true,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => bail!("{USAGE}"),
    };
    let target = folder()?;
    std::fs::create_dir_all(&target)?;
    let go = go_version()?;
    let modules = root()?.join("hack/envtest");
    for peer in KUBERNETES {
        build(peer, &modules.join(peer.module), &target, &go)?;
    }
    if with_flux {
        for peer in FLUX {
            build(peer, &modules.join(peer.module), &target, &go)?;
        }
        definitions(&modules.join("flux"), &target.join("flux-crds"))?;
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
    let package = peer.package;
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
        "{}: building {package} (`cargo xtask envtest --help` tells how long it takes)",
        peer.program
    );
    let unfinished = target.join(format!("{}.unfinished", peer.program));
    let mut command = Command::new("nice");
    command
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
        .arg(&unfinished);
    // Lives until the build is done.
    let sources = (peer.program == "flux")
        .then(|| complete_sources(module, &text))
        .transpose()?;
    if let Some(sources) = &sources {
        command.arg("-modfile").arg(sources.path().join("go.mod"));
    }
    let status = command
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

/// The sources of the `flux` command with something to embed: the manifests that `flux install` would apply are made when it is
/// released. A go.mod beside them says to use them.
fn complete_sources(module: &Path, go_mod: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let sources = folder.path().join("flux2");
    copy(&module_folder(module, FLUX_MODULE)?, &sources)?;
    let manifests = sources.join("cmd/flux/manifests");
    std::fs::create_dir_all(&manifests)?;
    std::fs::write(
        manifests.join("none.yaml"),
        "# This build has nothing to install.\n",
    )?;
    let replace = format!("\nreplace {FLUX_MODULE} => {}\n", sources.display());
    std::fs::write(folder.path().join("go.mod"), format!("{go_mod}{replace}"))?;
    std::fs::copy(module.join("go.sum"), folder.path().join("go.sum"))?;
    Ok(folder)
}

/// Copies the definitions of Flux's kinds out of the modules of its controllers.
fn definitions(module: &Path, target: &Path) -> Result<()> {
    std::fs::create_dir_all(target)?;
    for (controller, api) in DEFINITIONS {
        let version = go(module, &["list", "-m", "-f", "{{.Version}}", api])?;
        // Only its files are wanted, not what it requires; the checksum database vouches for it.
        let elsewhere = tempfile::tempdir()?;
        let query = format!("{controller}@{}", version.trim());
        let answer = go(elsewhere.path(), &["mod", "download", "-json", &query])?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let folder = answer["Dir"]
            .as_str()
            .with_context(|| format!("can't find the files of {query}"))?;
        copy(&Path::new(folder).join("config/crd/bases"), target)?;
    }
    println!("flux-crds: the definitions of Flux's kinds");
    Ok(())
}

fn module_folder(module: &Path, path: &str) -> Result<PathBuf> {
    go(module, &["mod", "download", path])?;
    let folder = go(module, &["list", "-m", "-f", "{{.Dir}}", path])?;
    Ok(PathBuf::from(folder.trim()))
}

/// What a go command prints.
fn go(folder: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("go")
        .args(args)
        .current_dir(folder)
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .output()
        .context("can't run go")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("go {}: {complaint}", args.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Copies the files below a folder; module folders are read-only, their copies are not.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::write(&target, std::fs::read(entry.path())?)?;
        }
    }
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

/// No debug information; and the version that a release build would state.
fn linker_flags(go_mod: &str) -> String {
    let mut flags = "-s -w".to_owned();
    if let Some(version) = line(go_mod, "\tgithub.com/fluxcd/flux2/v2 v") {
        let version = version.split(' ').next().unwrap_or_default();
        flags.extend([" -X main.VERSION=", version]);
    }
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
            linker_flags("require (\n\tgithub.com/fluxcd/flux2/v2 v2.9.5 // indirect\n)\n"),
            "-s -w -X main.VERSION=2.9.5"
        );
        assert_eq!(
            linker_flags("require go.etcd.io/etcd/server/v3 v3.7.3\n"),
            "-s -w"
        );
    }
}
