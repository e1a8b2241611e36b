//! The programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A real program that tests may run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The store of the API servers.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers of Kubernetes itself.
    KubeControllerManager,
    /// Flux's kustomize-controller.
    KustomizeController,
    /// The `flux` command.
    Flux,
}

impl Program {
    /// Its file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KustomizeController => "kustomize-controller",
            Self::Flux => "flux",
        }
    }
}

/// A folder with programs; etcd and kube-apiserver are there, [`Assets::has`] tells of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// From `KUBEBUILDER_ASSETS`, else from `target/envtest` of this workspace; `None` where they
    /// are not there, and tests that need them skip.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("KUBEBUILDER_ASSETS")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/envtest");
        [named, Some(workspace)]
            .into_iter()
            .flatten()
            .map(|folder| Self { folder })
            .find(|assets| assets.has(Program::Etcd) && assets.has(Program::KubeApiserver))
    }

    /// Whether a program is there.
    pub fn has(&self, program: Program) -> bool {
        self.folder.join(program.name()).is_file()
    }

    /// Where a program is.
    pub fn path(&self, program: Program) -> Result<PathBuf> {
        ensure!(
            self.has(program),
            "no {} in {}; hint: `cargo xtask envtest --flux` builds all of them",
            program.name(),
            self.folder.display()
        );
        Ok(self.folder.join(program.name()))
    }

    /// The definitions of Flux's kinds, as its releases have them: the text of each, by name.
    pub fn flux_kinds(&self) -> Result<Vec<(String, String)>> {
        let folder = self.folder.join("flux-crds");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let text = std::fs::read_to_string(entry?.path())?;
            let name = text
                .lines()
                .find_map(|line| line.strip_prefix("  name: "))
                .context("a definition without a name")?;
            found.push((name.to_owned(), text.clone()));
        }
        found.sort();
        Ok(found)
    }
}
