//! In the place of Flux's source-controller, which is not among the programs: one of its modules
//! (`github.com/fluxcd/pkg/artifact`) is not to be had from every module proxy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::control_plane::{client, read, request};

const KIND: &str = "/apis/source.toolkit.fluxcd.io/v1/gitrepositories";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases";
const LEASE: &str = "source-controller-leader-election";
/// Seconds, as Flux has it.
const LEASE_DURATION: u64 = 35;
const FINALIZER: &str = "finalizers.fluxcd.io";
const TURN: Duration = Duration::from_millis(250);

/// Follows the GitRepositories of a cluster as source-controller does, by the `git` command, and serves their artifacts:
/// same revision, conditions, finalizer, field manager and Lease, the last if it is asked to lead. It asks the Git server
/// every quarter second, whatever the interval, and knows public repositories and the branch, tag and commit of a
/// reference; nothing else. What it writes is its own reading of Flux's sources, so it shows what a consumer of artifacts
/// does, not what source-controller does.
pub struct SourceStandIn {
    follow: JoinHandle<()>,
    serve: JoinHandle<()>,
    client: Client,
    name: Option<String>,
}

impl SourceStandIn {
    /// Starts against the cluster of a kubeconfig; with `leads` it works only while it holds source-controller's Lease.
    pub async fn start(kubeconfig: &str, leads: bool) -> Result<Self> {
        let client = client(kubeconfig).await?;
        let folder = Arc::new(tempfile::tempdir()?);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let serve = tokio::spawn(serve(listener, folder.clone()));
        let name = leads.then(|| format!("stand-in_{}", address.trim_start_matches("http://")));
        let follower = Follower {
            client: client.clone(),
            folder,
            address,
            name: name.clone(),
            observed: None,
            served: BTreeMap::new(),
        };
        Ok(Self {
            follow: tokio::spawn(follower.run()),
            serve,
            client,
            name,
        })
    }

    /// Ends it, as `kubectl scale --replicas=0` does: it lets its Lease go.
    pub async fn stop(self) -> Result<()> {
        self.follow.abort();
        let path = format!("{LEASES}/{LEASE}");
        if let Some(name) = &self.name
            && let Ok(lease) = read(&self.client, &path).await
            && lease["spec"]["holderIdentity"] == name.as_str()
        {
            let released = json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}});
            request(&self.client, "PATCH", &path, &released).await?;
        }
        Ok(())
    }
}

impl Drop for SourceStandIn {
    fn drop(&mut self) {
        self.follow.abort();
        self.serve.abort();
    }
}

/// Serves the files below a folder.
async fn serve(listener: tokio::net::TcpListener, folder: Arc<TempDir>) {
    while let Ok((stream, _)) = listener.accept().await {
        let folder = folder.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| artifact(&folder, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

async fn artifact(
    folder: &TempDir,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, http::Error> {
    let path = request.uri().path().trim_start_matches('/');
    let content = if path.contains("..") {
        None
    } else {
        let file = folder.path().join("served").join(path);
        tokio::fs::read(file).await.ok()
    };
    let status = content
        .as_ref()
        .map_or(StatusCode::NOT_FOUND, |_| StatusCode::OK);
    let body = Full::new(Bytes::from(content.unwrap_or_default()));
    Response::builder().status(status).body(body)
}

struct Follower {
    client: Client,
    folder: Arc<TempDir>,
    address: String,
    /// Its name in the Lease.
    name: Option<String>,
    /// What the Lease said, and since when.
    observed: Option<(Value, tokio::time::Instant)>,
    /// The artifact of each GitRepository, by its path.
    served: BTreeMap<String, Value>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            if self.leads().await
                && let Ok(list) = read(&self.client, KIND).await
            {
                for object in list["items"].as_array().into_iter().flatten() {
                    // What fails is tried again at the next turn.
                    if let Err(error) = self.reconcile(object).await {
                        let _ = self.complain(object, &error).await;
                    }
                }
            }
            tokio::time::sleep(TURN).await;
        }
    }

    /// Takes or renews the Lease.
    async fn leads(&mut self) -> bool {
        let Some(name) = &self.name else { return true };
        let path = format!("{LEASES}/{LEASE}");
        let now = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string();
        let mut spec = json!({"holderIdentity": name, "leaseDurationSeconds": LEASE_DURATION, "renewTime": now});
        let Ok(mut lease) = read(&self.client, &path).await else {
            spec["acquireTime"] = json!(now);
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": LEASE}, "spec": spec,
            });
            return request(&self.client, "POST", LEASES, &lease).await.is_ok();
        };
        let holder = lease["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if holder != *name && !holder.is_empty() {
            let since = match &self.observed {
                Some((seen, since)) if *seen == lease["spec"] => *since,
                _ => tokio::time::Instant::now(),
            };
            let duration = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(0);
            self.observed = Some((lease["spec"].clone(), since));
            if since.elapsed() < Duration::from_secs(duration) {
                return false;
            }
        }
        // With its resource version, so that of two only one takes it.
        if let (Some(old), Some(new)) = (lease["spec"].as_object_mut(), spec.as_object_mut()) {
            old.append(new);
        }
        request(&self.client, "PUT", &path, &lease).await.is_ok()
    }

    async fn reconcile(&mut self, object: &Value) -> Result<()> {
        let metadata = &object["metadata"];
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        let path = format!(
            "/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/gitrepositories/{name}"
        );
        let finalizers: Vec<&Value> = metadata["finalizers"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        if !metadata["deletionTimestamp"].is_null() {
            self.served.remove(&path);
            let others: Vec<_> = finalizers
                .into_iter()
                .filter(|f| **f != FINALIZER)
                .collect();
            let patch = json!({"metadata": {"finalizers": others}});
            request(&self.client, "PATCH", &path, &patch).await?;
            return Ok(());
        }
        if !finalizers.iter().any(|f| **f == FINALIZER) {
            let mut all = finalizers;
            let finalizer = json!(FINALIZER);
            all.push(&finalizer);
            let patch = json!({"metadata": {"finalizers": all}});
            request(
                &self.client,
                "PATCH",
                &format!("{path}?fieldManager=source-controller"),
                &patch,
            )
            .await?;
        }
        if object["spec"]["suspend"] == true {
            return Ok(());
        }
        let (revision, commit) = revision(&object["spec"]).await?;
        let status = &object["status"];
        let requested = &metadata["annotations"]["reconcile.fluxcd.io/requestedAt"];
        let is_known = self.served.get(&path).is_some_and(|served| {
            served["revision"] == revision.as_str() && *served == status["artifact"]
        });
        if is_known
            && status["observedGeneration"] == metadata["generation"]
            && (requested.is_null() || *requested == status["lastHandledReconcileAt"])
            && status["conditions"][0]["status"] == "True"
        {
            return Ok(());
        }
        let artifact = match self.served.get(&path) {
            Some(served) if served["revision"] == revision.as_str() => served.clone(),
            _ => {
                self.store(&object["spec"], &namespace, &name, &revision, &commit)
                    .await?
            }
        };
        self.served.insert(path.clone(), artifact.clone());
        let message = format!("stored artifact for revision '{revision}'");
        let condition = |kind: &str| condition(object, kind, "True", "Succeeded", &message);
        let mut status = json!({
            "observedGeneration": metadata["generation"],
            "artifact": artifact,
            "conditions": [condition("Ready"), condition("ArtifactInStorage")],
        });
        if !requested.is_null() {
            status["lastHandledReconcileAt"] = requested.clone();
        }
        let path = format!("{path}/status?fieldManager=source-controller");
        request(&self.client, "PATCH", &path, &json!({"status": status})).await?;
        Ok(())
    }

    async fn complain(&self, object: &Value, error: &anyhow::Error) -> Result<()> {
        let metadata = &object["metadata"];
        let message = format!("{error:#}");
        if object["status"]["conditions"][0]["message"] == message.as_str() {
            return Ok(());
        }
        let condition = condition(object, "Ready", "False", "GitOperationFailed", &message);
        let status =
            json!({"observedGeneration": metadata["generation"], "conditions": [condition]});
        let path = format!(
            "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/gitrepositories/{}/status?fieldManager=source-controller",
            text(&metadata["namespace"]),
            text(&metadata["name"])
        );
        request(&self.client, "PATCH", &path, &json!({"status": status})).await?;
        Ok(())
    }

    /// Makes the archive of a commit; the artifact that describes it.
    async fn store(
        &self,
        spec: &Value,
        namespace: &str,
        name: &str,
        revision: &str,
        commit: &str,
    ) -> Result<Value> {
        let mirror = self
            .folder
            .path()
            .join(format!("mirror-{namespace}-{name}"));
        if !mirror.exists() {
            std::fs::create_dir(&mirror)?;
            git(&mirror, &["init", "--quiet", "--bare", "."]).await?;
        }
        git(&mirror, &["fetch", "--quiet", &text(&spec["url"]), commit]).await?;
        let file = format!("gitrepository/{namespace}/{name}/{commit}.tar.gz");
        let path: PathBuf = self.folder.path().join("served").join(&file);
        std::fs::create_dir_all(path.parent().context("it has one")?)?;
        let output = format!("--output={}", path.display());
        let left_out = [".gitignore", ".gitmodules", ".gitattributes"]
            .map(|name| format!(":(exclude,glob)**/{name}"));
        let mut arguments = vec!["archive", "--format=tar.gz", &output, commit, "--", "."];
        arguments.extend(left_out.iter().map(String::as_str));
        git(&mirror, &arguments).await?;
        let bytes = std::fs::read(&path)?;
        let digest = Sha256::digest(&bytes)
            .iter()
            .fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
        Ok(json!({
            "path": file,
            "url": format!("{}/{file}", self.address),
            "revision": revision,
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
            "lastUpdateTime": now(),
        }))
    }
}

/// The revision that a spec names now, as Flux writes it, and its commit.
async fn revision(spec: &Value) -> Result<(String, String)> {
    let reference = &spec["ref"];
    if let Some(commit) = reference["commit"].as_str() {
        let branch = reference["branch"]
            .as_str()
            .map(|b| format!("{b}@"))
            .unwrap_or_default();
        return Ok((format!("{branch}sha1:{commit}"), commit.to_owned()));
    }
    let (kind, name) = match (reference["tag"].as_str(), reference["branch"].as_str()) {
        (Some(tag), _) => ("tags", tag),
        (None, branch) => ("heads", branch.unwrap_or("master")),
    };
    let listed = git(
        Path::new("/"),
        &[
            "ls-remote",
            &text(&spec["url"]),
            &format!("refs/{kind}/{name}"),
        ],
    )
    .await?;
    let commit = listed.split_whitespace().next();
    let commit = commit.with_context(|| format!("unable to resolve '{name}'"))?;
    Ok((format!("{name}@sha1:{commit}"), commit.to_owned()))
}

/// A condition that keeps its time where it only says again what it said.
fn condition(object: &Value, kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let old = conditions.into_iter().flatten().find(|c| c["type"] == kind);
    let since = old
        .filter(|c| c["status"] == status)
        .map(|c| text(&c["lastTransitionTime"]));
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": object["metadata"]["generation"],
        "lastTransitionTime": since.unwrap_or_else(now),
    })
}

fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "git {}: {error}",
        arguments.join(" ")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
