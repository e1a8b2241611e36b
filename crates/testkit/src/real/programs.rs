//! How the programs of a control plane are started.

use std::net::TcpListener;
use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::{Assets, Program, Settings};

pub(super) fn etcd(assets: &Assets, folder: &Path, port: u16) -> Result<Command> {
    let mut command = clean(&assets.path(Program::Etcd)?);
    let url = format!("http://127.0.0.1:{port}");
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args([
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        &url,
        "--listen-peer-urls",
        "http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]);
    Ok(command)
}

pub(super) fn kube_apiserver(
    assets: &Assets,
    settings: &Settings,
    folder: &Path,
    etcd: u16,
    port: u16,
) -> Result<Command> {
    let mut command = clean(&assets.path(Program::KubeApiserver)?);
    let path = |name: &str| folder.join(name).display().to_string();
    command.args([
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        format!("--etcd-prefix=/{}", settings.name),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
        format!("--cert-dir={}", path("certs")),
        format!("--token-auth-file={}", path("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-account-issuer=https://127.0.0.1".to_owned(),
        format!("--service-account-key-file={}", path("sa.pub")),
        format!("--service-account-signing-key-file={}", path("sa.key")),
    ]);
    if !settings.controller_manager {
        // There is nobody who would make the default service account of a namespace.
        command.arg("--disable-admission-plugins=ServiceAccount");
    }
    command.args(&settings.arguments);
    Ok(command)
}

pub(super) fn kube_controller_manager(assets: &Assets, folder: &Path) -> Result<Command> {
    let mut command = clean(&assets.path(Program::KubeControllerManager)?);
    let path = |name: &str| folder.join(name).display().to_string();
    command.args([
        format!("--kubeconfig={}", path("kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        format!("--service-account-private-key-file={}", path("sa.key")),
        format!("--root-ca-file={}", path("certs/apiserver.crt")),
        "--kube-api-qps=300".to_owned(),
        "--kube-api-burst=600".to_owned(),
        // What needs nodes or a cloud is left out.
        format!("--controllers={}", CONTROLLERS.join(",")),
    ]);
    Ok(command)
}

const CONTROLLERS: &[&str] = &[
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
];

/// Without the environment of whoever runs the tests; proxies in particular.
pub(super) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Ports that are free now. All are held until all are known, so that they differ.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
