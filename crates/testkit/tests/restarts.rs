//! Watches over a restart of the API server: nothing that happened is lost without a word, on the embedded and on a real one.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use fairway_apiserver::{Config, Server};
use fairway_testkit::Kubectl;
use fairway_testkit::real::{Assets, ControlPlane};
use serde_json::Value;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn revision(kubectl: &Kubectl) -> u64 {
    let list = kubectl.ok(&["get", "--raw", MAPS]).await.unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn make(kubectl: &Kubectl, name: &str) {
    kubectl
        .ok(&["-n", "default", "create", "configmap", name])
        .await
        .unwrap();
}

/// What a watch from a revision tells within two seconds: names by kind of event, or the code that refuses it.
async fn watch(kubectl: &Kubectl, from: u64) -> Result<Vec<String>, u64> {
    let path = format!("{MAPS}?watch=true&resourceVersion={from}&timeoutSeconds=2");
    let output = kubectl.run(&["get", "--raw", path.as_str()]).await.unwrap();
    if output.code != 0 {
        let told = output.stderr;
        let expired = told.contains("Expired") || told.contains("too old resource version");
        assert!(expired, "{told}");
        return Err(410);
    }
    let mut seen = Vec::new();
    for line in output.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["type"] == "ERROR" {
            let status = &event["object"];
            assert_eq!(status["reason"], "Expired", "{status}");
            assert_eq!(status["kind"], "Status", "{status}");
            return Err(status["code"].as_u64().unwrap());
        }
        let name = event["object"]["metadata"]["name"].as_str().unwrap();
        if name != "kube-root-ca.crt" {
            seen.push(format!("{} {name}", event["type"].as_str().unwrap()));
        }
    }
    Ok(seen)
}

/// Before the server ends: a revision that is old then.
async fn before(kubectl: &Kubectl) -> u64 {
    make(kubectl, "first").await;
    let old = revision(kubectl).await;
    make(kubectl, "second").await;
    assert_eq!(
        watch(kubectl, old).await,
        Ok(vec!["ADDED second".to_owned()])
    );
    old
}

/// After it came back.
async fn after(kubectl: &Kubectl, old: u64) {
    let list = kubectl
        .ok(&["-n", "default", "get", "configmaps", "-o", "name"])
        .await
        .unwrap();
    assert!(list.contains("first") && list.contains("second"), "{list}");
    let now = revision(kubectl).await;
    assert!(now >= old, "revisions go on: {now} after {old}");
    // From before: all of it, or a clear word that it is too late for that; never a gap.
    match watch(kubectl, old).await {
        Ok(seen) => assert_eq!(seen, ["ADDED second"]),
        Err(code) => assert_eq!(code, 410),
    }
    make(kubectl, "third").await;
    kubectl
        .ok(&["-n", "default", "delete", "configmap", "first"])
        .await
        .unwrap();
    assert_eq!(
        watch(kubectl, now).await.unwrap(),
        ["ADDED third", "DELETED first"]
    );
    // Long before.
    assert_eq!(watch(kubectl, 1).await, Err(410));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_go_on_when_the_embedded_server_comes_back() {
    if !Kubectl::available() {
        eprintln!("skipped: no kubectl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        Server::start(Config {
            clusters: vec!["hub".to_owned()],
            controllers: false,
            data_dir: Some(folder.path().to_owned()),
            ..Config::default()
        })
    };
    let server = start().await.unwrap();
    let kubectl = Kubectl::new(&server.kubeconfig_for("hub").unwrap()).unwrap();
    let old = before(&kubectl).await;
    server.shutdown().await.unwrap();
    let server = start().await.unwrap();
    let kubectl = Kubectl::new(&server.kubeconfig_for("hub").unwrap()).unwrap();
    after(&kubectl, old).await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_go_on_when_a_real_server_comes_back() {
    let Some(assets) = Assets::find().filter(|_| Kubectl::available()) else {
        eprintln!("skipped: no kube-apiserver or no kubectl; see `cargo xtask envtest`");
        return;
    };
    let mut plane = ControlPlane::start(&assets).await.unwrap();
    let kubectl = plane.kubectl().unwrap();
    let old = before(&kubectl).await;
    plane.stop().await.unwrap();
    plane.restart().await.unwrap();
    after(&kubectl, old).await;
    plane.stop().await.unwrap();
}
