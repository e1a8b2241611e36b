//! Flux's own kustomize-controller builds from what Fairway serves, on a real API server.

use std::time::{Duration, Instant};

use fairway_apply::{Connection, Strictness};
use fairway_controller::{Controller, Engine, Options, Profile};
use fairway_testkit::GitServer;
use fairway_testkit::real::{
    Assets, ControlPlane, KustomizeController, Program, install_flux_kinds,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(2);

fn config_map(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: default\ndata:\n  key: \"{value}\"\n"
    )
}

async fn until(what: &str, flux: &KustomizeController, check: impl AsyncFn() -> Option<()>) {
    let begun = Instant::now();
    while check().await.is_none() {
        assert!(begun.elapsed() < PATIENCE, "{what}:\n{}", flux.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_builds_from_what_fairway_serves() {
    let Some(assets) = Assets::find().filter(|assets| assets.has(Program::KustomizeController))
    else {
        eprintln!("skipped: no kustomize-controller; hint: `cargo xtask envtest --flux` builds it");
        return;
    };
    let plane = ControlPlane::start(&assets).await.unwrap();
    install_flux_kinds(&assets, &plane).await.unwrap();
    let git = GitServer::start("fleet").await.unwrap();
    let files = [
        ("apps/a.yaml", Some(config_map("1"))),
        ("apps/logo.png", Some("x".to_owned())),
    ];
    let files: Vec<(&str, Option<&str>)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_deref()))
        .collect();
    let first = git.commit("One", &files).await.unwrap();

    let hub = Connection::from_kubeconfig_yaml(plane.kubeconfig(), None, Strictness::default())
        .await
        .unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut options = Options::new(data.path(), Profile::Flux);
    options.controllers = [Controller::Source].into();
    let engine = Engine::start(hub, options).await.unwrap();
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "fleet", "namespace": "flux-system"},
        "spec": {"interval": "10m", "url": git.url(), "ref": {"branch": "main"}},
    });
    let sources = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories";
    plane.request("POST", sources, &source).await.unwrap();
    let kustomization = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": "flux-system"},
        "spec": {"interval": "10m", "path": "./apps", "prune": true,
                 "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
    });
    let kustomizations =
        "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations";
    plane
        .request("POST", kustomizations, &kustomization)
        .await
        .unwrap();
    let flux = KustomizeController::start(&assets, plane.kubeconfig(), &[])
        .await
        .unwrap();

    let read = async |path: &str| plane.request("GET", path, &Value::Null).await.ok();
    let applied = async |commit: &str, value: &str| {
        let object = read(&format!("{kustomizations}/apps")).await?;
        let map = read("/api/v1/namespaces/default/configmaps/a").await?;
        let is_so = object["status"]["lastAppliedRevision"] == format!("main@sha1:{commit}")
            && map["data"]["key"] == value;
        is_so.then_some(())
    };
    let commit = first.to_string();
    until("the first commit", &flux, async || {
        applied(&commit, "1").await
    })
    .await;
    let commit = git
        .replace("apps/a.yaml", "\"1\"", "\"2\"")
        .await
        .unwrap()
        .to_string();
    engine.poke_all();
    until("the second commit", &flux, async || {
        applied(&commit, "2").await
    })
    .await;
    let source = read(&format!("{sources}/fleet")).await.unwrap();
    assert_eq!(
        source["status"]["artifact"]["revision"],
        format!("main@sha1:{commit}")
    );
    flux.stop().await.unwrap();
    engine.shutdown().await;
}
