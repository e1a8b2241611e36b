//! The kit's real peers: that each does what tests lean on. `cargo xtask envtest --flux` builds them; what is missing is
//! skipped.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::{Duration, Instant};

use fairway_testkit::real::{
    Assets, Clusters, ControlPlane, FluxCommand, Kubelet, KustomizeController, Program, Settings,
    SourceStandIn, install_flux_kinds,
};
use fairway_testkit::{GitServer, Kubectl};
use serde_json::{Value, json};

/// The programs, if all of these are there too.
fn assets(wanted: &[Program]) -> Option<Assets> {
    let found = Assets::find();
    let Some(assets) = found.filter(|assets| wanted.iter().all(|program| assets.has(*program)))
    else {
        eprintln!("skipped: needs {wanted:?}; see `cargo xtask envtest --flux`");
        return None;
    };
    Some(assets)
}

async fn until(what: &str, check: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(
            started.elapsed() < Duration::from_mins(2),
            "still not so: {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const WORKLOADS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'example.org/web:1'}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: web}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: migrate, image: 'example.org/migrate:1'}]}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_share_an_etcd_run_workloads_and_come_back() {
    let Some(assets) = assets(&[Program::KubeControllerManager]) else {
        return;
    };
    if !Kubectl::available() {
        eprintln!("skipped: no kubectl");
        return;
    }
    let settings = vec![
        Settings::new("hub"),
        Settings::new("dev").with_controller_manager(),
    ];
    let mut clusters = Clusters::start(&assets, settings).await.unwrap();
    let kubectl = clusters.kubectl().unwrap();
    let (hub, dev) = (kubectl.in_context("hub"), kubectl.in_context("dev"));
    let _kubelet = Kubelet::start(clusters.get("dev").unwrap()).await.unwrap();
    dev.apply(WORKLOADS).await.unwrap();
    dev.ok(&[
        "rollout",
        "status",
        "deployment/web",
        "-n",
        "web",
        "--timeout=60s",
    ])
    .await
    .unwrap();
    dev.ok(&[
        "wait",
        "--for=condition=Complete",
        "job/migrate",
        "-n",
        "web",
        "--timeout=60s",
    ])
    .await
    .unwrap();
    let none = hub.run(&["get", "namespace", "web"]).await.unwrap();
    assert!(none.stderr.contains("NotFound"), "{none:?}");

    // Garbage collection, and the end of a namespace.
    dev.ok(&["delete", "namespace", "web", "--timeout=60s"])
        .await
        .unwrap();
    let pods = dev.json(&["get", "pods", "-A"]).await.unwrap();
    assert_eq!(pods["items"], json!([]));

    // What an account may do is RBAC's to say; its token outlives a restart.
    dev.ok(&["create", "serviceaccount", "reader"])
        .await
        .unwrap();
    let kubeconfig = clusters
        .get("dev")
        .unwrap()
        .kubeconfig_of("default", "reader")
        .await
        .unwrap();
    let reader = Kubectl::new(&kubeconfig).unwrap();
    let refused = reader.run(&["get", "configmaps"]).await.unwrap();
    assert!(refused.stderr.contains("Forbidden"), "{refused:?}");
    dev.ok(&[
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    ])
    .await
    .unwrap();
    until("the account may read", async || {
        reader.run(&["get", "configmaps"]).await.unwrap().code == 0
    })
    .await;
    dev.ok(&["create", "configmap", "kept"]).await.unwrap();
    let plane = clusters.get_mut("dev").unwrap();
    plane.stop().await.unwrap();
    let away = dev.run(&["get", "configmap", "kept"]).await.unwrap();
    assert!(away.stderr.contains("refused"), "{away:?}");
    plane.restart().await.unwrap();
    dev.ok(&["get", "configmap", "kept"]).await.unwrap();
    reader.ok(&["get", "configmap", "kept"]).await.unwrap();
    plane.kill().await.unwrap();
    plane.restart().await.unwrap();
    dev.ok(&["get", "configmap", "kept"]).await.unwrap();
}

fn app(url: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: app, namespace: flux-system}}\n\
         spec: {{interval: 1m, url: {url}, ref: {{branch: main}}}}\n---\n\
         apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: app, namespace: flux-system}}\n\
         spec: {{interval: 1m, path: ./, prune: true, sourceRef: {{kind: GitRepository, name: app}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_converges() {
    let Some(assets) = assets(&[Program::KustomizeController, Program::Flux]) else {
        return;
    };
    let plane = ControlPlane::start(&assets).await.unwrap();
    install_flux_kinds(&assets, &plane).await.unwrap();
    let git = GitServer::start("app").await.unwrap();
    let map = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: default}}\ndata: {{a: {value}}}\n"
        )
    };
    let first = git
        .commit("First", &[("a.yaml", Some(&map("b")))])
        .await
        .unwrap();
    let flux = FluxCommand::new(&assets, plane.kubeconfig()).unwrap();
    let kubectl = plane.kubectl().unwrap();
    kubectl.apply(&app(&git.url())).await.unwrap();
    let source = SourceStandIn::start(plane.kubeconfig(), true)
        .await
        .unwrap();
    let controller =
        KustomizeController::start(&assets, plane.kubeconfig(), &["--enable-leader-election"])
            .await
            .unwrap();
    let value = async || -> Value {
        let map = kubectl
            .json(&["get", "configmap", "a"])
            .await
            .unwrap_or_default();
        map["data"]["a"].clone()
    };
    until("the first commit is applied", async || value().await == "b").await;
    let second = git
        .commit("Second", &[("a.yaml", Some(&map("c")))])
        .await
        .unwrap();
    assert_ne!(first, second);
    until("the second commit is applied", async || {
        value().await == "c"
    })
    .await;
    let shown = flux.ok(&["get", "kustomizations"]).await.unwrap();
    assert!(shown.contains("Applied revision: main@sha1:"), "{shown}");
    let shown = flux
        .ok(&[
            "reconcile",
            "kustomization",
            "app",
            "--with-source",
            "--timeout=1m",
        ])
        .await
        .unwrap();
    assert!(
        shown.contains(&format!("applied revision main@sha1:{second}")),
        "{shown}"
    );

    // Both let their Leases go.
    controller.stop().await.unwrap();
    source.stop().await.unwrap();
    let leases = kubectl
        .json(&["get", "leases", "-n", "flux-system"])
        .await
        .unwrap();
    let holders: Vec<_> = leases["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["spec"]["holderIdentity"])
        .collect();
    assert_eq!(holders, [&json!(""), &json!("")], "{leases}");
}
