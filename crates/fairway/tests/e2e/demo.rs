//! A running `fairway demo`, and what stands around it.

use std::collections::BTreeMap;

use fairway_testkit::{Output, Process, WorkClone};
use serde_json::Value;

use crate::binary::{Home, PATIENCE};
use crate::cluster::Cluster;

/// The nine clusters of the reference repository.
pub(crate) const CLUSTERS: [&str; 9] = [
    "dev-us-west-2",
    "dev-us-east-1",
    "dev-eu-west-1",
    "staging-us-west-2",
    "staging-us-east-1",
    "staging-eu-west-1",
    "prod-us-west-2",
    "prod-us-east-1",
    "prod-eu-west-1",
];

/// A demo that runs until this is dropped.
pub(crate) struct Demo {
    pub(crate) process: Process,
    pub(crate) home: Home,
    /// Path of the kubeconfig.
    pub(crate) kubeconfig: String,
    /// URL of the repository.
    pub(crate) url: String,
    /// The demo's own folder.
    pub(crate) folder: String,
}

impl Demo {
    /// The reference repository on nine clusters, converged.
    pub(crate) async fn converged() -> Self {
        let demo = Self::start(Home::new(), &["demo"], "The demo runs until Ctrl-C").await;
        let output = demo.process.stdout();
        assert!(output.contains("\nconverged in "), "{output}");
        demo
    }

    /// Clusters and Git only.
    pub(crate) async fn bare() -> Self {
        Self::start(Home::new(), &["demo", "--bare"], "Nothing is installed yet").await
    }

    /// Any other demo, as far as it says `until`.
    pub(crate) async fn start(home: Home, arguments: &[&str], until: &str) -> Self {
        let mut process = home.spawn(arguments);
        process.wait_for(until, 2 * PATIENCE).await.unwrap();
        let announced = std::fs::read_dir(home.tmp())
            .unwrap()
            .map(|entry| entry.unwrap().path().join("demo.json"))
            .find(|path| path.is_file())
            .expect("the demo says where it runs");
        let running: Value = serde_json::from_slice(&std::fs::read(announced).unwrap()).unwrap();
        let text = |key: &str| running[key].as_str().unwrap().to_owned();
        Self {
            kubeconfig: text("kubeconfig"),
            url: text("url"),
            folder: text("dir"),
            process,
            home,
        }
    }

    /// A cluster, by the demo's kubeconfig.
    pub(crate) async fn cluster(&self, name: &str) -> Cluster {
        let kubeconfig = std::fs::read_to_string(&self.kubeconfig).unwrap();
        Cluster::of(&kubeconfig, name).await
    }

    /// The management cluster.
    pub(crate) async fn hub(&self) -> Cluster {
        self.cluster("management").await
    }

    /// The nine clusters by name.
    pub(crate) async fn clusters(&self) -> BTreeMap<&'static str, Cluster> {
        let mut clusters = BTreeMap::new();
        for name in CLUSTERS {
            clusters.insert(name, self.cluster(name).await);
        }
        clusters
    }

    /// A new clone of the demo's repository.
    pub(crate) async fn clone(&self) -> WorkClone {
        WorkClone::of(&self.url).await.unwrap()
    }

    /// Runs a command against the management cluster.
    pub(crate) async fn fairway(&self, arguments: &[&str]) -> Output {
        self.at("management", arguments).await
    }

    /// Runs a command against any cluster.
    pub(crate) async fn at(&self, context: &str, arguments: &[&str]) -> Output {
        let mut all = vec!["--kubeconfig", &self.kubeconfig, "--context", context];
        all.extend(arguments);
        self.home.run(&all).await
    }

    /// Starts `fairway controller` in a process of its own on a cluster; its mirrors stay from one start to the next.
    pub(crate) fn controller(&self, context: &str) -> Process {
        let storage = self.home.path().join(format!("storage-{context}"));
        let mut all = vec![
            "controller",
            "--profile=locked",
            "--kubeconfig",
            &self.kubeconfig,
        ];
        all.extend([
            "--context",
            context,
            "--storage-path",
            storage.to_str().unwrap(),
        ]);
        self.home.spawn(&all)
    }
}

/// Commits everything and pushes; returns the revision as Flux writes it.
pub(crate) async fn push(clone: &WorkClone, message: &str) -> String {
    let commit = clone.commit_and_push(message).await.unwrap();
    format!("main@sha1:{commit}")
}

/// Lets changes of the applications reach all clusters at once; returns the revision.
pub(crate) async fn without_rollout(clone: &WorkClone) -> String {
    remove_rollout(clone);
    push(clone, "No waves").await
}

/// Takes the rollout out of the FleetKustomization of the applications.
pub(crate) fn remove_rollout(clone: &WorkClone) {
    const FILE: &str = "flux-manifests/apps-kustomization.yaml";
    let text = clone.read(FILE).unwrap();
    let (before, rest) = text.split_once("  rollout:\n").unwrap();
    let (_, after) = rest.split_once("  template:\n").unwrap();
    clone
        .write(FILE, &format!("{before}  template:\n{after}"))
        .unwrap();
}
