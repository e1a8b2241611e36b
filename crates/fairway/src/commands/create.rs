//! `fairway create source git` and `create kustomization`.

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::{Value, json};

use super::kinds::{Kind, explain};
use crate::args::{CreateCommon, CreateKustomizationArgs, CreateSourceGitArgs, Global};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::output::readiness;
use crate::{hub, setup};

/// Creates a GitRepository.
pub(crate) async fn source_git(
    global: &Global,
    args: CreateSourceGitArgs,
) -> anyhow::Result<Outcome> {
    let mut object = envelope(global, Kind::GitRepository, &args.common)?;
    let spec = &mut object["spec"];
    spec["url"] = json!(args.url);
    let references = [
        ("branch", &args.branch),
        ("tag", &args.tag),
        ("semver", &args.tag_semver),
        ("name", &args.ref_name),
        ("commit", &args.commit),
    ];
    for (field, value) in references {
        if let Some(value) = value {
            spec["ref"][field] = json!(value);
        }
    }
    if spec["ref"].is_null() {
        return Err(Misuse(
            "name what to follow: --branch, --tag, --tag-semver, --ref-name or --commit".into(),
        )
        .into());
    }
    for (field, secret) in [
        ("secretRef", &args.secret_ref),
        ("proxySecretRef", &args.proxy_secret_ref),
    ] {
        if let Some(name) = secret {
            spec[field] = json!({ "name": name });
        }
    }
    if args.recurse_submodules {
        spec["recurseSubmodules"] = json!(true);
    }
    if !args.ignore_paths.is_empty() {
        spec["ignore"] = json!(args.ignore_paths.join("\n"));
    }
    if !args.sparse_checkout_paths.is_empty() {
        spec["sparseCheckout"] = json!(args.sparse_checkout_paths);
    }
    finish(global, Kind::GitRepository, &args.common, &object).await
}

/// Creates a Kustomization.
pub(crate) async fn kustomization(
    global: &Global,
    args: CreateKustomizationArgs,
) -> anyhow::Result<Outcome> {
    let mut object = envelope(global, Kind::Kustomization, &args.common)?;
    let spec = &mut object["spec"];
    spec["sourceRef"] = source(&args.source);
    spec["path"] = json!(args.path);
    spec["prune"] = json!(args.prune);
    // As flux has it: with `wait` everything counts, else what is named.
    if args.wait {
        spec["wait"] = json!(true);
    } else {
        for check in &args.health_check {
            let checked = health_check(check)?;
            push(&mut spec["healthChecks"], checked);
        }
    }
    if args.wait || !args.health_check.is_empty() {
        let timeout = fairway_types::Duration::from(args.health_check_timeout);
        spec["timeout"] = json!(timeout.to_string());
    }
    if let Some(interval) = args.retry_interval {
        spec["retryInterval"] = json!(fairway_types::Duration::from(interval).to_string());
    }
    for name in &args.depends_on {
        let dependency = match name.split_once('/') {
            Some((namespace, name)) => json!({"name": name, "namespace": namespace}),
            None => json!({ "name": name }),
        };
        push(&mut spec["dependsOn"], dependency);
    }
    for (field, value) in [
        ("serviceAccountName", &args.service_account),
        ("targetNamespace", &args.target_namespace),
    ] {
        if let Some(value) = value {
            spec[field] = json!(value);
        }
    }
    if let Some(name) = &args.kubeconfig_secret_ref {
        spec["kubeConfig"] = json!({"secretRef": {"name": name}});
    }
    finish(global, Kind::Kustomization, &args.common, &object).await
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn envelope(global: &Global, kind: Kind, common: &CreateCommon) -> anyhow::Result<Value> {
    let resource = kind.resource();
    let mut object = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": common.name, "namespace": global.namespace},
        "spec": {"interval": fairway_types::Duration::from(common.interval).to_string()},
    });
    for pair in &common.label {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Misuse(format!("--label {pair}: write KEY=VALUE")))?;
        object["metadata"]["labels"][key] = json!(value);
    }
    Ok(object)
}

/// `GitRepository/name.namespace`, each part but the name optional.
fn source(text: &str) -> Value {
    let (kind, rest) = text.split_once('/').unwrap_or(("GitRepository", text));
    match rest.rsplit_once('.') {
        Some((name, namespace)) => json!({"kind": kind, "name": name, "namespace": namespace}),
        None => json!({"kind": kind, "name": rest}),
    }
}

/// `Deployment/name.namespace`.
fn health_check(text: &str) -> anyhow::Result<Value> {
    let parts = text
        .split_once('/')
        .and_then(|(kind, rest)| Some((kind, rest.rsplit_once('.')?)));
    let Some((kind, (name, namespace))) = parts else {
        return Err(Misuse(format!("--health-check {text}: write KIND/NAME.NAMESPACE")).into());
    };
    let version = match kind {
        "Deployment" | "DaemonSet" | "StatefulSet" => "apps/v1",
        "HelmRelease" => "helm.toolkit.fluxcd.io/v2",
        _ => return Err(Misuse(format!("--health-check {text}: Deployment, DaemonSet, StatefulSet and HelmRelease are known; others go into the YAML")).into()),
    };
    Ok(json!({"apiVersion": version, "kind": kind, "name": name, "namespace": namespace}))
}

async fn finish(
    global: &Global,
    kind: Kind,
    common: &CreateCommon,
    object: &Value,
) -> anyhow::Result<Outcome> {
    if common.export {
        print!("---\n{}", fairway_yaml::emit::to_string(object));
        return Ok(Outcome::Done);
    }
    let client = hub::client(global).await?;
    let change = setup::apply_one(&client, object).await?;
    println!("✔ {} {}", setup::subject(object), change.word());
    println!("◎ waiting for {} reconciliation", kind.name());
    wait(
        &client,
        kind,
        &global.namespace,
        &common.name,
        common.timeout,
    )
    .await
}

/// Until the object is Ready, or says that it can't be.
async fn wait(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<Outcome> {
    let api = kind.api(client, Some(namespace));
    let started = Instant::now();
    loop {
        let object = api
            .get(name)
            .await
            .map_err(|error| explain(error, kind, name, namespace))?;
        let state = readiness(&serde_json::to_value(&object)?);
        match state.status.as_str() {
            "True" => {
                println!("✔ {}", state.message);
                return Ok(Outcome::Done);
            }
            "False" => {
                println!("✗ {}: {}", state.reason, state.message);
                return Ok(Outcome::NotSo);
            }
            _ if started.elapsed() > timeout => {
                return Err(Hinted::new(
                    format!(
                        "{} {namespace}/{name} was not reconciled within {}",
                        kind.name(),
                        fairway_types::Duration::from(timeout)
                    ),
                    "is the controller running? `fairway check` looks",
                )
                .into());
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_flux_reads_them() {
        assert_eq!(
            source("podinfo"),
            json!({"kind": "GitRepository", "name": "podinfo"})
        );
        assert_eq!(
            source("OCIRepository/a.b"),
            json!({"kind": "OCIRepository", "name": "a", "namespace": "b"})
        );
        assert_eq!(
            health_check("Deployment/web.shop").unwrap()["namespace"],
            "shop"
        );
        assert!(health_check("Deployment/web").is_err());
    }
}
