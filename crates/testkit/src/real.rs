//! Real control planes: etcd and kube-apiserver as `cargo xtask envtest` builds them, or as any
//! other envtest setup names them by `KUBEBUILDER_ASSETS`.
//!
//! There is no controller manager, so namespaces stay `Terminating`, nothing is garbage collected and
//! no workload starts; what the API server itself does is all there.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::Process;

const TOKEN: &str = "fairway-testkit";
const START_LIMIT: Duration = Duration::from_mins(1);

/// The programs of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// From `KUBEBUILDER_ASSETS`, else from `target/envtest` of this workspace; `None` where they
    /// are not there, and tests that need them skip.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("KUBEBUILDER_ASSETS")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/envtest");
        [named, Some(workspace)]
            .into_iter()
            .flatten()
            .find_map(|folder| {
                let complete = ["etcd", "kube-apiserver"]
                    .iter()
                    .all(|name| folder.join(name).is_file());
                complete.then_some(Self { folder })
            })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A running etcd and kube-apiserver on loopback. Both end when this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order of their end: the API server before its etcd.
    apiserver: Process,
    _etcd: Process,
    kubeconfig: String,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready; about three seconds and 300 MB.
    pub async fn start(assets: &Assets) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (etcd_port, api_port) = free_ports()?;
        let etcd = Process::spawn(etcd(assets, folder.path(), etcd_port))?;
        let key = rcgen::KeyPair::generate().context("can't make a key for service accounts")?;
        std::fs::write(folder.path().join("sa.key"), key.serialize_pem())?;
        std::fs::write(folder.path().join("sa.pub"), key.public_key_pem())?;
        // token, user, uid, groups
        std::fs::write(
            folder.path().join("tokens.csv"),
            format!("{TOKEN},admin,admin,\"system:masters\"\n"),
        )?;
        let apiserver = Process::spawn(kube_apiserver(assets, folder.path(), etcd_port, api_port))?;
        let mut plane = Self {
            apiserver,
            _etcd: etcd,
            kubeconfig: String::new(),
            folder,
        };
        plane.wait_until_ready(api_port).await?;
        Ok(plane)
    }

    /// A kubeconfig, as text, for a user in `system:masters`; its context is `real`.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    async fn wait_until_ready(&mut self, port: u16) -> Result<()> {
        let started = Instant::now();
        let certificate = self.folder.path().join("certs/apiserver.crt");
        loop {
            if !self.apiserver.is_running() || started.elapsed() > START_LIMIT {
                bail!(
                    "kube-apiserver is not ready after {:?}:\n{}",
                    started.elapsed(),
                    self.apiserver.stderr()
                );
            }
            if let Ok(pem) = std::fs::read_to_string(&certificate)
                && pem.contains("END CERTIFICATE")
            {
                self.kubeconfig = kubeconfig(port, &pem);
                let mut ready = true;
                for path in ["/readyz", "/api/v1/namespaces/default"] {
                    ready &= get(port, &pem, path)
                        .await
                        .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
                }
                if ready {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// One request, as the admin; the answer as it came.
async fn get(port: u16, ca: &str, path: &str) -> Result<String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("127.0.0.1")?;
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn etcd(assets: &Assets, folder: &Path, port: u16) -> Command {
    let mut command = clean(&assets.program("etcd"));
    let url = format!("http://127.0.0.1:{port}");
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args([
        "--listen-client-urls",
        &url,
        "--advertise-client-urls",
        &url,
    ]);
    command.args([
        "--listen-peer-urls",
        "http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]);
    command
}

fn kube_apiserver(assets: &Assets, folder: &Path, etcd: u16, port: u16) -> Command {
    let mut command = clean(&assets.program("kube-apiserver"));
    let path = |name: &str| folder.join(name).display().to_string();
    command.args([
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--etcd-prefix=/real".to_owned(),
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
        // There is nobody who would make the default service account of a namespace.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ]);
    command
}

/// Without the environment of whoever runs the tests; proxies in particular.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Two ports that are free now. Both are held until both are known, so that they differ.
fn free_ports() -> Result<(u16, u16)> {
    let one = TcpListener::bind("127.0.0.1:0")?;
    let two = TcpListener::bind("127.0.0.1:0")?;
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}

fn kubeconfig(port: u16, ca: &str) -> String {
    // JSON is YAML.
    let value = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "real", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": base64(ca.as_bytes()),
        }}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
        "current-context": "real",
    });
    value.to_string()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
