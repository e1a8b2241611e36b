//! `fairway reconcile`: asks for a reconciliation and waits for its end.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::kinds::{Kind, explain};
use crate::args::{Global, ReconcileArgs, ReconcileCommand, ReconcileSource, WaitArgs};
use crate::exit::{Hinted, Outcome};
use crate::hub;
use crate::output::{readiness, short_revision};

/// Reconciles the named object now.
pub(crate) async fn run(global: &Global, args: ReconcileArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let (kind, wait) = match args.what {
        ReconcileCommand::Source(ReconcileSource::Git(wait)) => (Kind::GitRepository, wait),
        ReconcileCommand::Kustomization { wait, with_source } => {
            if with_source {
                let source = source_of(&client, global, &wait.name).await?;
                let wait = WaitArgs {
                    name: source.1,
                    timeout: wait.timeout,
                };
                if reconcile(&client, Kind::GitRepository, &source.0, &wait).await?
                    == Outcome::NotSo
                {
                    return Ok(Outcome::NotSo);
                }
            }
            (Kind::Kustomization, wait)
        }
        ReconcileCommand::Cluster(wait) => (Kind::Cluster, wait),
        ReconcileCommand::Fleetkustomization(wait) => (Kind::FleetKustomization, wait),
        ReconcileCommand::Pipeline(wait) => (Kind::Pipeline, wait),
    };
    reconcile(&client, kind, &global.namespace, &wait).await
}

/// Namespace and name of a Kustomization's GitRepository.
async fn source_of(
    client: &Client,
    global: &Global,
    name: &str,
) -> anyhow::Result<(String, String)> {
    let object = Kind::Kustomization
        .api(client, Some(&global.namespace))
        .get(name)
        .await
        .map_err(|error| explain(error, Kind::Kustomization, name, &global.namespace))?;
    let reference = &object.data["spec"]["sourceRef"];
    if reference["kind"] != "GitRepository" {
        return Err(Hinted::new(
            format!(
                "the source of {name} is a {}",
                reference["kind"]
                    .as_str()
                    .unwrap_or("reference without kind")
            ),
            "leave --with-source out: only a GitRepository can be reconciled here",
        )
        .into());
    }
    let namespace = reference["namespace"].as_str().unwrap_or(&global.namespace);
    Ok((
        namespace.to_owned(),
        reference["name"].as_str().unwrap_or_default().to_owned(),
    ))
}

async fn reconcile(
    client: &Client,
    kind: Kind,
    namespace: &str,
    wait: &WaitArgs,
) -> anyhow::Result<Outcome> {
    let api = kind.api(client, Some(namespace));
    let name = &wait.name;
    let before = api
        .get(name)
        .await
        .map_err(|error| explain(error, kind, name, namespace))?;
    if before.data["spec"]["suspend"] == true {
        return Err(Hinted::new(
            format!("{} {namespace}/{name} is suspended", kind.name()),
            format!(
                "resume it first: fairway resume {} {name} -n {namespace}",
                word(kind)
            ),
        )
        .into());
    }
    let token = jiff::Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {fairway_types::names::REQUESTED_AT: token}}});
    api.patch(name, &PatchParams::apply("fairway"), &Patch::Merge(patch))
        .await
        .map_err(|error| explain(error, kind, name, namespace))?;
    println!("► {} {namespace}/{name} annotated", kind.name());
    let started = Instant::now();
    while started.elapsed() < wait.timeout {
        let object = api
            .get(name)
            .await
            .map_err(|error| explain(error, kind, name, namespace))?;
        if let Some(outcome) = finished(kind, &object, &token) {
            return Ok(outcome);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Hinted::new(
        format!("{} {namespace}/{name} was not reconciled within {}", kind.name(), fairway_types::Duration::from(wait.timeout)),
        "is `fairway controller` running, and is it the leader? `fairway events` shows what it last did",
    )
    .into())
}

/// The outcome once the request was handled and the object has settled; prints it.
fn finished(kind: Kind, object: &DynamicObject, token: &str) -> Option<Outcome> {
    let mut value = json!({"metadata": {"generation": object.metadata.generation}});
    value["status"] = object.data["status"].clone();
    let handled = value["status"]["lastHandledReconcileAt"].as_str() == Some(token);
    let state = readiness(&value);
    let working = value["status"]["conditions"]
        .as_array()
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|c| c["type"] == "Reconciling" && c["status"] == "True")
        });
    if !handled
        || (state.status == "Unknown"
            || (working && !state.is_ready() && state.reason == "Progressing"))
    {
        return None;
    }
    if state.is_ready() {
        let revision = [
            &value["status"]["lastAppliedRevision"],
            &value["status"]["artifact"]["revision"],
        ]
        .into_iter()
        .find_map(Value::as_str);
        match revision {
            Some(revision) => {
                println!("✔ {} at revision {}", kind.name(), short_revision(revision));
            }
            None => println!("✔ {}: {}", kind.name(), state.message),
        }
        Some(Outcome::Done)
    } else {
        println!("✗ {}: {}: {}", kind.name(), state.reason, state.message);
        Some(Outcome::NotSo)
    }
}

/// The word for a kind after `fairway resume`.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::GitRepository => "source git",
        Kind::Kustomization => "kustomization",
        Kind::Cluster => "cluster",
        Kind::FleetKustomization => "fleetkustomization",
        Kind::Pipeline => "pipeline",
        Kind::Promotion => "promotion",
        Kind::Approval => "approval",
    }
}
