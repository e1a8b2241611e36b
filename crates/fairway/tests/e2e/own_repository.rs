//! `fairway demo --repo`: a person's own Flux repository, unchanged, on clusters that are found in it.

use fairway_testkit::GitServer;

use crate::binary::{Home, PATIENCE};
use crate::cluster::{SYSTEM, id, inventory};
use crate::demo::{Demo, push};

/// As `flux bootstrap` leaves it, with sources that this machine can't run.
async fn bootstrapped() -> GitServer {
    let git = GitServer::start("fleet-infra").await.unwrap();
    let sync = "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 1m, url: 'ssh://git@github.com/example/fleet-infra', ref: {branch: main}, secretRef: {name: flux-system}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 10m, path: ./clusters/staging, prune: true, sourceRef: {kind: GitRepository, name: flux-system}}
";
    let more = "\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: web, namespace: flux-system}
spec: {interval: 10m, path: ./web, prune: true, wait: true, sourceRef: {kind: GitRepository, name: flux-system}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts, namespace: flux-system}
spec: {interval: 1h, url: 'https://charts.example.com'}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: elsewhere, namespace: flux-system}
spec: {interval: 1m, url: 'https://github.com/example/elsewhere', ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: elsewhere, namespace: flux-system}
spec: {interval: 10m, path: ./, prune: true, sourceRef: {kind: GitRepository, name: elsewhere}}
";
    let web = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'example.com/web:1.0'}]}
";
    let files = [
        ("clusters/staging/flux-system/gotk-sync.yaml", Some(sync)),
        ("clusters/staging/apps.yaml", Some(more)),
        ("web/web.yaml", Some(web)),
    ];
    git.commit("Bootstrapped", &files).await.unwrap();
    git
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flux_repository_runs_as_it_is() {
    let git = bootstrapped().await;
    let head = git.head().unwrap();
    let url = git.url();
    let demo = Demo::start(Home::new(), &["demo", "--repo", &url], "Ctrl-C").await;
    let output = demo.process.stdout();
    assert!(output.contains("\nconverged in "), "{output}");
    for line in [
        "not run: HelmRepository flux-system/charts: ",
        "not run: GitRepository flux-system/elsewhere: ",
        "not run: Kustomization flux-system/elsewhere: ",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let staging = demo.cluster("staging").await;
    let web = staging
        .until_applied("web", &format!("main@sha1:{head}"))
        .await;
    assert_eq!(inventory(&web), [id("Deployment", "default", "web")]);
    let elsewhere = staging
        .get("Kustomization", SYSTEM, "elsewhere")
        .await
        .unwrap();
    assert_ne!(crate::cluster::Ready::of(&elsewhere).status, "True");

    // A push to the demo's copy rolls out; the original never hears of it.
    let clone = demo.clone().await;
    clone.replace("web/web.yaml", "web:1.0", "web:1.1").unwrap();
    let revision = push(&clone, "web 1.1").await;
    staging.until_applied("web", &revision).await;
    assert_eq!(staging.image("default", "web").await, "example.com/web:1.1");
    assert_eq!(git.head().unwrap(), head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_without_clusters_gets_an_example() {
    let git = GitServer::start("empty").await.unwrap();
    git.commit("Nothing", &[("README.md", Some("Nothing here.\n"))])
        .await
        .unwrap();
    let home = Home::new();
    let url = git.url();
    let mut process = home.spawn(&["demo", "--once", "--repo", &url]);
    let status = process.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(3), "{}", process.stderr());
    for words in [
        "found no cluster",
        "flux-manifests/",
        "clusters/",
        "hint: ",
        "--clusters FILE",
    ] {
        assert!(
            process.stderr().contains(words),
            "{words}: {}",
            process.stderr()
        );
    }
    let mut process = home.spawn(&["demo", "--once", "--repo", &url, "--branch", "nope"]);
    let status = process.wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(3), "{}", process.stderr());
    assert!(
        process.stderr().contains("nope") && process.stderr().contains("main"),
        "{}",
        process.stderr()
    );
}
