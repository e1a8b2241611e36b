//! One cluster.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Assets, programs};
use crate::{Kubectl, Process};

const TOKEN: &str = "fairway-testkit";
/// Generous: other work may have the processors.
const START_LIMIT: Duration = Duration::from_mins(3);

/// How a control plane is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name: that of its kubeconfig's context, and the prefix of its keys in etcd.
    pub name: String,
    /// Whether kube-controller-manager runs too. Service accounts are then as in any cluster: a namespace gets its
    /// `default`, and Pods need one.
    pub controller_manager: bool,
    /// Further arguments of kube-apiserver.
    pub arguments: Vec<String>,
}

impl Settings {
    /// No controller manager, nothing further.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            controller_manager: false,
            arguments: Vec::new(),
        }
    }

    /// With kube-controller-manager.
    #[must_use]
    pub fn with_controller_manager(mut self) -> Self {
        self.controller_manager = true;
        self
    }
}

/// A running etcd on loopback; it ends when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    _process: Process,
    port: u16,
    _folder: TempDir,
}

impl Etcd {
    /// Starts an etcd; who uses it waits for it.
    pub fn start(assets: &Assets) -> Result<Arc<Self>> {
        let folder = tempfile::tempdir()?;
        let [port] = programs::free_ports()?;
        let process = Process::spawn(programs::etcd(assets, folder.path(), port)?)?;
        Ok(Arc::new(Self {
            _process: process,
            port,
            _folder: folder,
        }))
    }
}

/// A running kube-apiserver on loopback, with its etcd. All of it ends when this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order of their end: the API server before its etcd.
    controller_manager: Option<Process>,
    apiserver: Process,
    etcd: Arc<Etcd>,
    assets: Assets,
    settings: Settings,
    port: u16,
    kubeconfig: String,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts a control plane named `real` and waits until it is ready; about three seconds and 300 MB.
    pub async fn start(assets: &Assets) -> Result<Self> {
        Self::start_with(assets, Etcd::start(assets)?, Settings::new("real")).await
    }

    /// Starts a control plane over an etcd that others use too.
    pub async fn start_with(assets: &Assets, etcd: Arc<Etcd>, settings: Settings) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port] = programs::free_ports()?;
        let key = rcgen::KeyPair::generate().context("can't make a key for service accounts")?;
        std::fs::write(folder.path().join("sa.key"), key.serialize_pem())?;
        std::fs::write(folder.path().join("sa.pub"), key.public_key_pem())?;
        // token, user, uid, groups
        std::fs::write(
            folder.path().join("tokens.csv"),
            format!("{TOKEN},admin,admin,\"system:masters\"\n"),
        )?;
        let command = programs::kube_apiserver(assets, &settings, folder.path(), etcd.port, port)?;
        let mut plane = Self {
            controller_manager: None,
            apiserver: Process::spawn(command)?,
            etcd,
            assets: assets.clone(),
            settings,
            port,
            kubeconfig: String::new(),
            folder,
        };
        plane.wait_until_ready().await?;
        if plane.settings.controller_manager {
            let file = plane.folder.path().join("kubeconfig");
            std::fs::write(file, &plane.kubeconfig)?;
            let command = programs::kube_controller_manager(assets, plane.folder.path())?;
            plane.controller_manager = Some(Process::spawn(command)?);
            plane.wait_for_default_account().await?;
        }
        Ok(plane)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its address.
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A kubeconfig, as text (JSON, which is YAML), for a user in `system:masters`; its context has the name of the
    /// cluster.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// A kubeconfig for a service account, with a token of an hour by TokenRequest; RBAC says what it may do.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600, "audiences": []},
        });
        let answer = self.request("POST", &path, &body).await?;
        let token = answer["status"]["token"]
            .as_str()
            .context("a TokenRequest without a token")?;
        Ok(kubeconfig(
            &self.settings.name,
            self.port,
            &self.ca()?,
            token,
        ))
    }

    /// `kubectl` as the admin.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Ok(Kubectl::new(&self.kubeconfig)?.in_context(&self.settings.name))
    }

    /// kube's own client as the admin.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// One request as the admin, with a JSON body (none where it is null); the answer as it came.
    pub async fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        request(&self.client().await?, method, path, body).await
    }

    /// Ends the API server as a system does that shuts down; its data stays.
    pub async fn stop(&mut self) -> Result<()> {
        self.apiserver.terminate()?;
        if self.apiserver.wait(Duration::from_secs(10)).await.is_err() {
            self.apiserver.kill().await?;
        }
        Ok(())
    }

    /// Ends the API server at once; its data stays.
    pub async fn kill(&mut self) -> Result<()> {
        self.apiserver.kill().await
    }

    /// Starts the API server again after [`ControlPlane::stop`] or [`ControlPlane::kill`]: same port, certificate, keys and
    /// data.
    pub async fn restart(&mut self) -> Result<()> {
        let command = programs::kube_apiserver(
            &self.assets,
            &self.settings,
            self.folder.path(),
            self.etcd.port,
            self.port,
        )?;
        self.apiserver = Process::spawn(command)?;
        self.wait_until_ready().await
    }

    fn ca(&self) -> Result<String> {
        let path = self.folder.path().join("certs/apiserver.crt");
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if !self.apiserver.is_running() || started.elapsed() > START_LIMIT {
                bail!(
                    "kube-apiserver is not ready after {:?}:\n{}",
                    started.elapsed(),
                    self.apiserver.stderr()
                );
            }
            if let Ok(pem) = self.ca()
                && pem.contains("END CERTIFICATE")
            {
                self.kubeconfig = kubeconfig(&self.settings.name, self.port, &pem, TOKEN);
                let client = self.client().await?;
                let ready = http::Request::get("/readyz").body(Vec::new())?;
                if client.request_text(ready).await.is_ok()
                    && read(&client, "/api/v1/namespaces/default").await.is_ok()
                {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn wait_for_default_account(&mut self) -> Result<()> {
        let started = Instant::now();
        let client = self.client().await?;
        let path = "/api/v1/namespaces/default/serviceaccounts/default";
        while read(&client, path).await.is_err() {
            let process = self.controller_manager.as_mut().context("it was started")?;
            if !process.is_running() || started.elapsed() > START_LIMIT {
                bail!(
                    "kube-controller-manager does nothing for {:?}:\n{}",
                    started.elapsed(),
                    process.stderr()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// kube's client for the current context of a kubeconfig.
pub(super) async fn client(kubeconfig: &str) -> Result<Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Whoever came first is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    let parsed = Kubeconfig::from_yaml(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// One request with a JSON body (none where it is null); PATCH is a merge patch.
pub(super) async fn request(
    client: &Client,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Value> {
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let text = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header("content-type", kind).body(text)?;
    client
        .request(request)
        .await
        .with_context(|| format!("{method} {path}"))
}

pub(super) async fn read(client: &Client, path: &str) -> Result<Value> {
    request(client, "GET", path, &Value::Null).await
}

fn kubeconfig(name: &str, port: u16, ca: &str, token: &str) -> String {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca);
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": ca,
        }}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    value.to_string()
}
