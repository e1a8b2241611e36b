//! The smoke test of `fairway controller` on a real kube-apiserver: apply, prune, and drift seen by watch.

use fairway_testkit::real::{Assets, ControlPlane};
use fairway_testkit::{GitServer, Process};
use serde_json::json;

use crate::binary::{Home, PATIENCE, until};
use crate::cluster::{Cluster, SYSTEM, documents, id, inventory};

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{value: {value}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_applies_prunes_and_watches_on_a_real_api_server() {
    let Some(assets) = Assets::find() else {
        eprintln!("skipped: no etcd and kube-apiserver; `cargo xtask envtest` builds them");
        return;
    };
    let plane = ControlPlane::start(&assets).await.unwrap();
    let cluster = Cluster::of(plane.kubeconfig(), "real").await;
    let home = Home::new();
    let kubeconfig = home.write("kubeconfig", plane.kubeconfig());
    let kubeconfig = kubeconfig.to_str().unwrap();
    let output = home
        .run(&["install", "--replicas=0", "--kubeconfig", kubeconfig])
        .await;
    assert_eq!(output.code, 0, "{output:?}");

    let git = GitServer::start("real").await.unwrap();
    let first = git
        .commit(
            "First",
            &[
                ("app/one.yaml", Some(&map("one", "a"))),
                ("app/two.yaml", Some(&map("two", "a"))),
            ],
        )
        .await
        .unwrap();
    for object in documents(&format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: fleet, namespace: {SYSTEM}}}\n\
         spec: {{interval: 1s, url: {url}, ref: {{branch: main}}}}\n---\n\
         apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: app, namespace: {SYSTEM}}}\n\
         spec: {{interval: 10m, retryInterval: 1s, path: ./app, prune: true, wait: true, sourceRef: {{kind: GitRepository, name: fleet}}}}\n",
        url = git.url(),
    )) {
        cluster.apply(&object).await;
    }
    let mut controller: Process =
        home.spawn(&["controller", "--profile=locked", "--kubeconfig", kubeconfig]);
    cluster
        .until_applied("app", &format!("main@sha1:{first}"))
        .await;
    let one = cluster.get("ConfigMap", "default", "one").await.unwrap();
    assert_eq!(one["data"], json!({"value": "a"}));

    // A commit that changes one object and removes another.
    let second = git
        .commit(
            "Second",
            &[
                ("app/one.yaml", Some(&map("one", "b"))),
                ("app/two.yaml", None),
            ],
        )
        .await
        .unwrap();
    let app = cluster
        .until_applied("app", &format!("main@sha1:{second}"))
        .await;
    cluster.until_gone("ConfigMap", "default", "two").await;
    assert_eq!(inventory(&app), [id("ConfigMap", "default", "one")]);

    // A hand edit is put back; the interval is ten minutes, so it was the watch that saw it.
    cluster
        .edit(
            "ConfigMap",
            "default",
            "one",
            json!({"data": {"value": "by hand"}}),
        )
        .await;
    until("the edit is put back", async || {
        let one = cluster.get("ConfigMap", "default", "one").await.unwrap();
        (one["data"]["value"] == "b")
            .then_some(())
            .ok_or_else(|| one["data"].to_string())
    })
    .await;
    cluster.delete("ConfigMap", "default", "one").await;
    until("the deletion is put back", async || {
        cluster
            .get("ConfigMap", "default", "one")
            .await
            .ok_or("still away".to_owned())
    })
    .await;

    let get = home
        .run(&["get", "kustomizations", "app", "--kubeconfig", kubeconfig])
        .await;
    assert_eq!(get.code, 0, "{get:?}");
    assert!(get.stdout.contains("True"), "{get:?}");
    controller.terminate().unwrap();
    assert!(controller.wait(PATIENCE).await.unwrap().success());
    let left = std::fs::read_dir(home.tmp()).unwrap().count();
    assert_eq!(left, 0, "the controller removes its mirrors");
}
