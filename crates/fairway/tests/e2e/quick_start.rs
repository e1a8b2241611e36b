//! The quick start of the documentation, run as it is written: from nothing to nine green clusters, again without a change, and
//! away again without a loss.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use fairway_testkit::{Kubectl, Output};
use serde_json::Value;
use tokio::process::Command;

use crate::binary::{Home, finish, until};
use crate::cluster::{Cluster, Id, Ready, SYSTEM};
use crate::demo::{CLUSTERS, Demo};

const STEPS: &str = include_str!("../../src/demo/quick_start.sh");

/// A shell in the person's home, with the binary and kubectl in the path.
async fn shell(demo: &Demo, script: &str) -> Output {
    let folder = Path::new(env!("CARGO_BIN_EXE_fairway")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.env_clear().current_dir(demo.home.path());
    command
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("HOME", demo.home.path())
        .env("TMPDIR", demo.home.tmp())
        .env("KUBECONFIG", &demo.kubeconfig)
        .env("FLEET_URL", &demo.url)
        .args(["-euc", script])
        .stdin(Stdio::null());
    finish(command).await
}

#[test]
fn the_documentation_has_the_steps_that_the_demo_prints() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block: String = STEPS
        .lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("    {line}\n")
            }
        })
        .collect();
    assert!(page.contains(&block), "README.md lacks:\n{block}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_steps_from_nothing_to_nine_green_clusters() {
    if !Kubectl::available() {
        eprintln!("skipped: there is no kubectl");
        return;
    }
    let demo = Demo::start(Home::new(), &["demo", "--bare"], "Nothing is installed yet").await;
    for line in STEPS.lines().filter(|line| !line.is_empty()) {
        assert!(
            demo.process.stdout().contains(line),
            "{line}\n{}",
            demo.process.stdout()
        );
    }
    let output = shell(&demo, STEPS).await;
    assert_eq!(output.code, 0, "{output:?}");
    let hub = demo.hub().await;
    all_green(&hub).await;
    let managed = workloads(&demo).await;
    assert!(managed.len() >= 9 * 6, "{managed:?}");

    // The same again: no commit, no write.
    let clone = demo.clone().await;
    let head = clone.git(&["rev-parse", "HEAD"]).await.unwrap();
    let bootstrap = STEPS
        .lines()
        .find(|line| line.starts_with("fairway bootstrap"))
        .unwrap();
    let again = shell(&demo, bootstrap).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        again.stdout.contains("nothing was committed")
            && !again.stdout.contains("configured")
            && !again.stdout.contains("created"),
        "{again:?}"
    );
    clone.pull().await.unwrap();
    assert_eq!(clone.git(&["rev-parse", "HEAD"]).await.unwrap(), head);
    let check = shell(&demo, "fairway check --context management").await;
    assert_eq!(check.code, 0, "{check:?}");

    // And away: with one cluster that can't be reached.
    let before = hub.contents().await;
    let look = shell(&demo, "fairway uninstall --context management --dry-run").await;
    assert_eq!(look.code, 0, "{look:?}");
    assert_eq!(hub.contents().await.len(), before.len());
    let refused = shell(&demo, "fairway uninstall --context management").await;
    assert_eq!(refused.code, 2, "{refused:?}");
    let output = shell(&demo, "fairway uninstall --context management --yes").await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains("no workload was deleted"),
        "{output:?}"
    );
    assert_eq!(workloads(&demo).await, managed);
    hub.until_gone(
        "CustomResourceDefinition",
        "",
        "kustomizations.kustomize.toolkit.fluxcd.io",
    )
    .await;
    hub.until_gone("Namespace", "", SYSTEM).await;
}

/// Every Cluster and Kustomization is Ready: two for each cluster, and the hub's own.
async fn all_green(hub: &Cluster) {
    until("everything is Ready", async || {
        for (kind, wanted) in [("Cluster", 9), ("Kustomization", 19)] {
            let objects = hub.list(kind, SYSTEM).await;
            let ready = objects
                .iter()
                .filter(|object| Ready::of(object).status == "True")
                .count();
            if ready != wanted {
                return Err(format!("{ready} of {wanted} {kind}s"));
            }
        }
        Ok(())
    })
    .await;
}

/// The uids of all Deployments by cluster.
async fn workloads(demo: &Demo) -> BTreeMap<(String, Id), Value> {
    let mut found = BTreeMap::new();
    for name in CLUSTERS {
        for object in demo.cluster(name).await.list("Deployment", "").await {
            let id = crate::cluster::id_of(&object);
            found.insert((name.to_owned(), id), object["metadata"]["uid"].clone());
        }
    }
    found
}
