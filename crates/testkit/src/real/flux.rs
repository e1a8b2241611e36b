//! Flux's own programs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::json;
use tempfile::TempDir;

use super::control_plane::read;
use super::{Assets, ControlPlane, Program, programs};
use crate::tool::Tool;
use crate::{Output, Process};

const SYSTEM: &str = "flux-system";
const START_LIMIT: Duration = Duration::from_mins(2);

/// Gives a program (its name is that of a namespace, its arguments what to run) the one file of a Pod's service account that
/// leader election reads, at its fixed path, in a mount namespace of its own.
const IN_A_POD: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
printf %s "$0" >/run/secrets/kubernetes.io/serviceaccount/namespace
exec "$@"
"#;

/// Creates the namespace `flux-system` and the definitions of Flux's kinds as its releases have them.
pub async fn install_flux_kinds(assets: &Assets, plane: &ControlPlane) -> Result<()> {
    let client = plane.client().await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
    apply(
        &client,
        &format!("/api/v1/namespaces/{SYSTEM}"),
        namespace.to_string(),
    )
    .await?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let kinds = assets.flux_kinds()?;
    for (name, text) in &kinds {
        apply(&client, &format!("{definitions}/{name}"), text.clone()).await?;
    }
    let started = Instant::now();
    for (name, _) in &kinds {
        let path = format!("{definitions}/{name}");
        loop {
            let conditions = read(&client, &path).await?["status"]["conditions"].take();
            let is_served = conditions.as_array().is_some_and(|conditions| {
                let mut all = conditions.iter();
                all.any(|c| c["type"] == "Established" && c["status"] == "True")
            });
            if is_served {
                break;
            }
            ensure!(
                started.elapsed() < START_LIMIT,
                "{name} is not served: {conditions}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Server-side applies a YAML document.
async fn apply(client: &Client, path: &str, text: String) -> Result<()> {
    let request = http::Request::patch(format!("{path}?fieldManager=flux&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(text.into_bytes())?;
    client
        .request::<serde_json::Value>(request)
        .await
        .with_context(|| path.to_owned())?;
    Ok(())
}

/// Flux's kustomize-controller, as a process; killed when dropped.
#[derive(Debug)]
pub struct KustomizeController {
    process: Process,
    metrics: u16,
    _folder: TempDir,
}

impl KustomizeController {
    /// Starts it against a cluster, with further arguments (`--enable-leader-election` for instance), and waits until it
    /// says that it is ready.
    pub async fn start(assets: &Assets, kubeconfig: &str, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig)?;
        let [metrics, health] = programs::free_ports()?;
        let program = assets.path(Program::KustomizeController)?;
        let mut command = if arguments.contains(&"--enable-leader-election") {
            let mut command = programs::clean(Path::new("unshare"));
            command
                .args([
                    "--user",
                    "--map-root-user",
                    "--mount",
                    "sh",
                    "-c",
                    IN_A_POD,
                    SYSTEM,
                ])
                .arg(&program);
            command
        } else {
            programs::clean(&program)
        };
        command
            .env("KUBECONFIG", &file)
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("RUNTIME_NAMESPACE", SYSTEM)
            .current_dir(folder.path());
        command.args([
            format!("--metrics-addr=127.0.0.1:{metrics}"),
            format!("--health-addr=127.0.0.1:{health}"),
            "--events-addr=".to_owned(),
        ]);
        command.args(arguments);
        let mut controller = Self {
            process: Process::spawn(command)?,
            metrics,
            _folder: folder,
        };
        let started = Instant::now();
        while !is_ready(health).await {
            ensure!(
                controller.process.is_running() && started.elapsed() < START_LIMIT,
                "kustomize-controller is not ready after {:?}:\n{}",
                started.elapsed(),
                controller.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(controller)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Its process id, for measurements.
    pub fn id(&self) -> i32 {
        self.process.id()
    }

    /// Where its metrics are.
    pub fn metrics(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics)
    }

    /// Ends it as `kubectl scale --replicas=0` does: it finishes, lets its Lease go, and is gone when this returns.
    pub async fn stop(mut self) -> Result<()> {
        self.process.terminate()?;
        self.process.wait(Duration::from_mins(1)).await?;
        Ok(())
    }
}

async fn is_ready(port: u16) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let request = b"GET /readyz HTTP/1.0\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && String::from_utf8_lossy(&answer).contains(" 200 OK")
}

/// The real `flux` command, kept away from the home and the kubeconfig of whoever runs the tests.
#[derive(Clone, Debug)]
pub struct FluxCommand {
    tool: Tool,
}

impl FluxCommand {
    /// For the current context of a kubeconfig, given as text.
    pub fn new(assets: &Assets, kubeconfig: &str) -> Result<Self> {
        Ok(Self {
            tool: Tool::new(&assets.path(Program::Flux)?, kubeconfig)?,
        })
    }

    /// Its home, also the working directory: a place for files.
    pub fn home(&self) -> &Path {
        self.tool.home()
    }

    /// Runs a command, whatever comes of it.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.tool.run_with(arguments, &[], "").await
    }

    /// The output of a command that must succeed: what it prints for people and for programs, in this order.
    pub async fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        let told = output.stderr.clone();
        let printed = output
            .ok()
            .with_context(|| format!("flux {}", arguments.join(" ")))?;
        Ok(format!("{told}{printed}"))
    }
}
