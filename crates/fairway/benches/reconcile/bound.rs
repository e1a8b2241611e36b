//! The bound: a client that knows everything and sends just the writes that the contract needs.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::api::{APPLY, Api, JSON, MERGE};
use crate::load::{ACCOUNT, KUSTOMIZATIONS, NAMESPACE, kustomization, name, objects, upgrade};

/// Kustomizations that are worked on at the same time.
const CONCURRENCY: usize = 24;

#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Install,
    Upgrade,
    Nothing,
}

pub(crate) async fn run(
    api: &Api,
    n: usize,
    wait: bool,
    phase: Phase,
    revision: &str,
) -> Result<()> {
    let account = api.as_account(NAMESPACE, ACCOUNT)?;
    stream::iter(0..n)
        .map(|index| {
            let one = One {
                api,
                account: &account,
                index,
                revision,
            };
            async move {
                match phase {
                    Phase::Install => one.install(wait).await,
                    Phase::Upgrade => one.upgrade().await,
                    Phase::Nothing => one.nothing().await,
                }
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|()| async { Ok(()) })
        .await
}

struct One<'a> {
    api: &'a Api,
    account: &'a Api,
    index: usize,
    revision: &'a str,
}

impl One<'_> {
    fn path(&self) -> String {
        format!("{KUSTOMIZATIONS}/{}", name(self.index))
    }

    async fn install(&self, wait: bool) -> Result<()> {
        let object = kustomization(self.index, wait);
        let created = self.api.send("POST", KUSTOMIZATIONS, JSON, &object).await?;
        let finalizer = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"], "resourceVersion": created["metadata"]["resourceVersion"]}});
        self.api
            .send("PATCH", &self.path(), MERGE, &finalizer)
            .await?;
        let mut status = self.progressing();
        let objects = objects(self.index, 1)?;
        let entries: Vec<Value> = objects.iter().map(entry).collect();
        status["inventory"] = json!({"entries": entries});
        self.status(&status).await?;
        for object in &objects {
            self.apply(object).await?;
        }
        self.status(&self.ready(1)).await?;
        self.event(&created).await
    }

    async fn upgrade(&self) -> Result<()> {
        let changed = self
            .api
            .send("PATCH", &self.path(), MERGE, &upgrade())
            .await?;
        self.status(&self.progressing()).await?;
        for object in &objects(self.index, 2)? {
            if object["kind"] == "Deployment" {
                self.apply(object).await?;
            }
        }
        self.status(&self.ready(2)).await?;
        self.event(&changed).await
    }

    async fn nothing(&self) -> Result<()> {
        self.status(&self.ready(2)).await
    }

    fn progressing(&self) -> Value {
        let message = format!("Detecting drift for revision {}", self.revision);
        json!({
            "conditions": [condition("Ready", "Unknown", "Reconciliation in progress"), condition("Reconciling", "True", &message)],
            "lastAttemptedRevision": self.revision,
        })
    }

    fn ready(&self, generation: i64) -> Value {
        let message = format!("Applied revision: {}", self.revision);
        json!({
            "conditions": [condition("Ready", "True", &message), condition("Healthy", "True", "Health check passed")],
            "observedGeneration": generation,
            "lastAppliedRevision": self.revision,
            "lastAttemptedRevision": self.revision,
        })
    }

    async fn status(&self, status: &Value) -> Result<()> {
        let path = format!(
            "{}/status?fieldManager=gotk-kustomize-controller",
            self.path()
        );
        self.api
            .send("PATCH", &path, MERGE, &json!({"status": status}))
            .await?;
        Ok(())
    }

    async fn apply(&self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] = name(self.index).into();
        object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/namespace"] = NAMESPACE.into();
        let path = format!(
            "{}?force=true&fieldManager=kustomize-controller",
            path(&object)
        );
        self.account.send("PATCH", &path, APPLY, &object).await?;
        Ok(())
    }

    async fn event(&self, of: &Value) -> Result<()> {
        let metadata = &of["metadata"];
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": format!("{}.", name(self.index)), "namespace": NAMESPACE},
            "involvedObject": {"apiVersion": of["apiVersion"], "kind": of["kind"], "namespace": NAMESPACE, "name": metadata["name"], "uid": metadata["uid"]},
            "reason": "ReconciliationSucceeded", "type": "Normal", "message": "Reconciliation finished", "count": 1,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
            "source": {"component": "kustomize-controller"},
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/events");
        self.api.send("POST", &path, JSON, &event).await?;
        Ok(())
    }
}

fn entry(object: &Value) -> Value {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (group, version) = text("/apiVersion")
        .and_then(|api| api.split_once('/'))
        .unwrap_or(("", "v1"));
    let (name, kind) = (
        text("/metadata/name").unwrap_or_default(),
        text("/kind").unwrap_or_default(),
    );
    json!({"id": format!("{NAMESPACE}_{name}_{group}_{kind}"), "v": version})
}

fn path(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    let plural = match kind {
        "Ingress" => "ingresses".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    let api = object["apiVersion"].as_str().unwrap_or_default();
    let root = if api.contains('/') { "apis" } else { "api" };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("/{root}/{api}/namespaces/{NAMESPACE}/{plural}/{name}")
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Progressing", "message": message,
           "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}
