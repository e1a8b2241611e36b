//! A hub, clusters, and Kustomizations of one source that go to each of them.

use std::time::{Duration, Instant};

use fairway_testkit::{GitServer, Process};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::servers::{HUB, Servers};

pub(crate) const APPS: usize = 20;
pub(crate) const OBJECTS: usize = 10;
const SYSTEM: &str = "flux-system";
/// Generous: other work may have the processors.
const PATIENCE: Duration = Duration::from_mins(5);
const KUSTOMIZATIONS: &str =
    "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations";

/// A converged fleet and the controller that keeps it so.
pub(crate) struct Fleet {
    pub(crate) servers: Servers,
    hub: Client,
    git: GitServer,
    controller: Process,
    _folder: TempDir,
}

fn config_map(app: usize, object: usize, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app-{app}-{object}, namespace: default}}\ndata: {{value: {value}}}\n"
    )
}

impl Fleet {
    pub(crate) async fn start(servers: Servers) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, servers.kubeconfig(HUB)).unwrap();
        let fairway = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
            command.env_clear();
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command.args(arguments).arg("--kubeconfig").arg(&kubeconfig);
            command
        };
        let installed = fairway(&["install", "--replicas=0"])
            .output()
            .await
            .unwrap();
        assert!(installed.status.success(), "{installed:?}");
        let git = repository().await;
        let hub = client(&servers.kubeconfig(HUB)).await;
        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "fleet", "namespace": SYSTEM},
            "spec": {"interval": "2s", "url": git.url(), "ref": {"branch": "main"}},
        });
        let path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories";
        send(&hub, "POST", path, &source).await;
        for name in servers.names() {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM},
                "stringData": {"value": servers.kubeconfig(name)},
            });
            let path = "/api/v1/namespaces/flux-system/secrets";
            send(&hub, "POST", path, &secret).await;
            for app in 0..APPS {
                send(&hub, "POST", KUSTOMIZATIONS, &kustomization(name, app)).await;
            }
        }
        let mut command = fairway(&["controller", "--profile=flux"]);
        command
            .arg("--storage-path")
            .arg(folder.path().join("storage"));
        let fleet = Self {
            controller: Process::spawn(command).unwrap(),
            servers,
            hub,
            git,
            _folder: folder,
        };
        fleet.until_applied().await;
        fleet
    }

    pub(crate) fn clusters(&self) -> usize {
        self.servers.names().len()
    }

    /// Waits until everything is ready at the head of the repository.
    async fn until_applied(&self) {
        let revision = format!("main@sha1:{}", self.git.head().unwrap());
        let started = Instant::now();
        loop {
            let list = send(&self.hub, "GET", KUSTOMIZATIONS, &Value::Null).await;
            let items = list["items"].as_array().unwrap();
            let behind = items.iter().find(|item| !is_ready_at(item, &revision));
            let Some(behind) = behind else { return };
            assert!(
                started.elapsed() < PATIENCE,
                "{}\n{}",
                behind["status"],
                self.controller.stderr()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Changes an object as a person does with kubectl, and says how long that lasted.
    pub(crate) async fn edit_by_hand(&self, round: usize) -> Duration {
        let name = &self.servers.names()[round % self.clusters()];
        let cluster = client(&self.servers.kubeconfig(name)).await;
        let path = format!("/api/v1/namespaces/default/configmaps/app-{round}-3");
        let before = send(&cluster, "GET", &path, &Value::Null).await;
        let edit = json!({"data": {"value": "by hand"}});
        send(&cluster, "PATCH", &path, &edit).await;
        let started = Instant::now();
        loop {
            let now = send(&cluster, "GET", &path, &Value::Null).await;
            if now["data"] == before["data"] {
                return started.elapsed();
            }
            assert!(started.elapsed() < PATIENCE, "{now}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A commit that changes one object of one application.
    pub(crate) async fn change_one_app(&self) {
        let file = ("apps/app-7/4.yaml", config_map(7, 4, "changed"));
        self.git
            .commit("Change one", &[(file.0, Some(&file.1))])
            .await
            .unwrap();
        self.until_applied().await;
    }
}

fn is_ready_at(object: &Value, revision: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        && object["status"]["lastAppliedRevision"] == revision
}

fn kustomization(cluster: &str, app: usize) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": format!("{cluster}-app-{app}"), "namespace": SYSTEM},
        "spec": {
            "interval": "10s", "path": format!("./apps/app-{app}"), "prune": true, "wait": true,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "kubeConfig": {"secretRef": {"name": cluster}},
        },
    })
}

async fn repository() -> GitServer {
    let git = GitServer::start("fleet").await.unwrap();
    let clone = git.clone_to_work().await.unwrap();
    for app in 0..APPS {
        for object in 0..OBJECTS {
            let path = format!("apps/app-{app}/{object}.yaml");
            clone
                .write(&path, &config_map(app, object, "first"))
                .unwrap();
        }
    }
    clone.commit_and_push("Import").await.unwrap();
    git
}

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Value {
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(serde_json::to_vec(body).unwrap())
        .unwrap();
    match client.request(request).await {
        Ok(answer) => answer,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}
