//! `cargo xtask bench-idle`: what each further cluster costs when nothing happens.
//!
//! Simulated clusters in this process, `fairway controller` in one of its own. Each cluster is registered and gets one
//! Kustomization of some objects; when all are ready, the controller's sockets, memory, processor time and the bytes that it
//! receives are measured over an idle time.

mod cost;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use fairway_apply::{Connection, Strictness};
use fairway_testkit::{Fleet, GitServer, Process};
use kube::Client;
use serde_json::{Value, json};
use tokio::process::Command;

use cost::Cost;

const HUB: &str = "management";
const SYSTEM: &str = "flux-system";

/// What an idle cluster costs.
#[derive(Parser, Debug)]
#[command(name = "bench-idle")]
struct Args {
    /// How many clusters, one measurement for each number
    #[arg(long, value_delimiter = ',', default_value = "1,50,200")]
    clusters: Vec<usize>,
    /// How long to look, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Longest that anything may take, in seconds
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            // What was started ends with this process, however it ends.
            tokio::select! {
                result = run(args) => result,
                _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            }
        })
}

async fn run(args: Args) -> Result<()> {
    let (limit, idle) = (
        Duration::from_secs(args.limit),
        Duration::from_secs(args.seconds),
    );
    let mut measured: Vec<(usize, Cost)> = Vec::new();
    for clusters in args.clusters {
        let cost = measure(clusters, idle, limit)
            .await
            .with_context(|| format!("{clusters} clusters"))?;
        println!("{clusters} clusters: {cost}");
        measured.push((clusters, cost));
    }
    println!(
        "\n| clusters | sockets | memory | CPU a minute | received a minute | a further cluster: sockets | memory | CPU a minute | received a minute |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut previous: Option<(usize, Cost)> = None;
    for (clusters, cost) in measured {
        let further = previous.map_or_else(
            || "– | – | – | –".to_owned(),
            |(before, base)| cost.further(&base, clusters.saturating_sub(before)),
        );
        println!("| {clusters} | {} | {further} |", cost.columns());
        previous = Some((clusters, cost));
    }
    Ok(())
}

async fn measure(clusters: usize, idle: Duration, limit: Duration) -> Result<Cost> {
    let names: Vec<String> = (0..clusters).map(|index| format!("c{index}")).collect();
    let mut all = vec![HUB];
    all.extend(names.iter().map(String::as_str));
    let fleet = Fleet::start(&all).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, fleet.kubeconfig_for(HUB)?)?;
    let installed = fairway(&["install", "--replicas=0"], &kubeconfig)
        .output()
        .await?;
    ensure!(
        installed.status.success(),
        "fairway install: {}",
        String::from_utf8_lossy(&installed.stderr)
    );
    let git = GitServer::start("idle").await?;
    git.commit("Import", &[("app/app.yaml", Some(APP))]).await?;
    let hub =
        Connection::from_kubeconfig_yaml(&fleet.kubeconfig_for(HUB)?, None, Strictness::trusted())
            .await?
            .client();
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "fleet"},
        "spec": {"interval": "1m", "url": git.url(), "ref": {"branch": "main"}},
    });
    create(
        &hub,
        "apis/source.toolkit.fluxcd.io/v1",
        "gitrepositories",
        &source,
    )
    .await?;
    for name in &names {
        register(&hub, name, &fleet.kubeconfig_for(name)?).await?;
    }
    let mut command = fairway(&["controller", "--profile=flux"], &kubeconfig);
    command
        .arg("--storage-path")
        .arg(folder.path().join("storage"));
    let controller = Process::spawn(command)?;
    until_ready(&hub, clusters, limit)
        .await
        .with_context(|| controller.stderr())?;
    // Events, and the last status.
    tokio::time::sleep(Duration::from_secs(5)).await;
    Cost::over(controller.id(), idle).await
}

fn fairway(arguments: &[&str], kubeconfig: &Path) -> Command {
    let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_fairway")));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig);
    command
}

async fn create(hub: &Client, group: &str, plural: &str, object: &Value) -> Result<()> {
    let path = format!("/{group}/namespaces/{SYSTEM}/{plural}");
    let request = http::Request::post(&path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object)?)?;
    hub.request::<Value>(request).await.context(path)?;
    Ok(())
}

async fn register(hub: &Client, name: &str, kubeconfig: &str) -> Result<()> {
    let secret_name = format!("{name}-kubeconfig");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret_name},
        "stringData": {"value": kubeconfig},
    });
    create(hub, "api/v1", "secrets", &secret).await?;
    let cluster = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name},
        "spec": {"kubeConfig": {"secretRef": {"name": secret_name}}},
    });
    create(hub, "apis/fleet.fairway.dev/v1alpha1", "clusters", &cluster).await?;
    let kustomization = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": name},
        "spec": {
            "interval": "10m", "path": "./app", "prune": true, "wait": true,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "kubeConfig": {"secretRef": {"name": secret_name}},
        },
    });
    let group = "apis/kustomize.toolkit.fluxcd.io/v1";
    create(hub, group, "kustomizations", &kustomization).await
}

async fn until_ready(hub: &Client, clusters: usize, limit: Duration) -> Result<()> {
    let path = format!("/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{SYSTEM}/kustomizations");
    let started = Instant::now();
    loop {
        let list: Value = hub
            .request(http::Request::get(&path).body(Vec::new())?)
            .await?;
        let items = list["items"].as_array().context("no list")?;
        let ready = items.iter().filter(|item| is_ready(item)).count();
        if ready >= clusters {
            return Ok(());
        }
        ensure!(started.elapsed() < limit, "{ready} of {clusters} are ready");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Four kinds of objects: each is a watch.
const APP: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: default}
data: {value: one}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec:
  selector: {app: app}
  ports: [{name: http, port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: 1
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      containers: [{name: app, image: 'ghcr.io/example/app:1.0.0'}]
";
