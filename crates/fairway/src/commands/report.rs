//! `fairway stats`, `debug`, `envsubst`, `version` and `logs`.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};
use serde_json::{Value, json};

use super::kinds::{Kind, explain, scope};
use super::render;
use crate::args::{DebugCommand, Global, VersionArgs, VersionFormat};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::output::{Table, readiness};
use crate::{hub, setup};

/// How many objects of each kind there are, and how they are.
pub(crate) async fn stats(global: &Global, all_namespaces: bool) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let mut table = Table::new(["RECONCILERS", "RUNNING", "FAILING", "SUSPENDED", "STORAGE"]);
    for kind in Kind::ALL {
        let list = match kind
            .api(&client, scope(global, all_namespaces))
            .list(&ListParams::default())
            .await
        {
            Ok(list) => list.items,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(explain(error, kind, "", &global.namespace)),
        };
        let (mut running, mut failing, mut suspended, mut bytes) = (0, 0, 0, 0);
        for object in list {
            let value = serde_json::to_value(&object)?;
            if value["spec"]["suspend"] == true {
                suspended += 1;
            } else {
                running += 1;
            }
            failing += u32::from(readiness(&value).status == "False");
            bytes += value["status"]["artifact"]["size"].as_i64().unwrap_or(0);
        }
        table.row([
            kind.name().to_owned(),
            running.to_string(),
            failing.to_string(),
            suspended.to_string(),
            size(bytes),
        ]);
    }
    print!("{}", table.render(true));
    Ok(Outcome::Done)
}

fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    if bytes == 0 {
        return "-".into();
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A Kustomization from inside.
pub(crate) async fn debug(global: &Global, command: DebugCommand) -> anyhow::Result<Outcome> {
    let DebugCommand::Kustomization {
        name,
        show_status,
        show_vars,
        show_history,
    } = command;
    if !show_status && !show_vars && !show_history {
        return Err(Misuse(
            "say what to show: --show-status, --show-vars or --show-history".into(),
        )
        .into());
    }
    let client = hub::client(global).await?;
    let object = Kind::Kustomization
        .api(&client, Some(&global.namespace))
        .get(&name)
        .await
        .map_err(|error| explain(error, Kind::Kustomization, &name, &global.namespace))?;
    if show_status {
        let mut status = object.data["status"].clone();
        if let Some(status) = status.as_object_mut() {
            // As long as the cluster's inventory; `tree` shows it.
            status.remove("inventory");
            status.remove("history");
        }
        print!("{}", fairway_yaml::emit::to_string(&status));
    }
    if show_vars {
        let kustomization = serde_json::from_value(serde_json::to_value(&object)?)?;
        let variables = render::variables(&kustomization, Some(&client)).await?;
        for (key, value) in variables.iter().flat_map(|variables| &variables.values) {
            println!("{key}={value}");
        }
    }
    if show_history {
        let mut table = Table::new(["LAST RECONCILED", "STATUS", "TOTAL", "DURATION", "REVISION"]);
        for entry in object.data["status"]["history"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            table.row([
                text(&entry["lastReconciled"]),
                text(&entry["lastReconciledStatus"]),
                entry["totalReconciliations"].to_string(),
                text(&entry["lastReconciledDuration"]),
                text(&entry["metadata"]["revision"]),
            ]);
        }
        print!("{}", table.render(true));
    }
    Ok(Outcome::Done)
}

/// Replaces `${VAR}` in what comes in by the environment, as `postBuild` would.
pub(crate) fn envsubst(strict: bool) -> anyhow::Result<Outcome> {
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .context("failed to read standard input")?;
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let lookup = |name: &str| environment.get(name).map(String::as_str);
    let output = fairway_controller::build::substitute::substitute(&input, &lookup, strict)
        .map_err(|error| {
            Hinted::new(
                format!("failed to substitute: {error}"),
                "without --strict a missing variable is empty",
            )
        })?;
    print!("{output}");
    Ok(Outcome::Done)
}

/// This program's version, and the controller's.
pub(crate) async fn version(global: &Global, args: VersionArgs) -> anyhow::Result<Outcome> {
    let mut versions = json!({"fairway": format!("v{}", env!("CARGO_PKG_VERSION"))});
    if !args.client {
        let api: Api<Deployment> = Api::namespaced(hub::client(global).await?, &global.namespace);
        if let Some(deployment) = api.get_opt(setup::CONTROLLER).await? {
            let image = deployment
                .spec
                .template
                .spec
                .and_then(|spec| spec.containers.into_iter().next())
                .and_then(|container| container.image)
                .unwrap_or_default();
            let tag = image.rsplit_once(':').map_or("unknown", |(_, tag)| tag);
            versions["controller"] = json!(tag);
        }
    }
    match args.output {
        VersionFormat::Yaml => print!("{}", fairway_yaml::emit::to_string(&versions)),
        VersionFormat::Json => println!("{}", serde_json::to_string_pretty(&versions)?),
    }
    Ok(Outcome::Done)
}

/// The last lines that the controller's pods wrote.
pub(crate) async fn logs(global: &Global, tail: i64) -> anyhow::Result<Outcome> {
    let api: Api<Pod> = Api::namespaced(hub::client(global).await?, &global.namespace);
    let selector = ListParams::default().labels(&format!("app={}", setup::CONTROLLER));
    let pods = api.list(&selector).await?.items;
    if pods.is_empty() {
        println!(
            "no pod of the controller runs in namespace {}",
            global.namespace
        );
        return Ok(Outcome::NotSo);
    }
    let params = LogParams {
        tail_lines: Some(tail),
        ..LogParams::default()
    };
    for pod in pods {
        let name = pod.name_any();
        let text = api.logs(&name, &params).await.with_context(|| {
            format!("failed to read the log of pod {}/{name}", global.namespace)
        })?;
        print!("{text}");
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_for_people() {
        assert_eq!(
            (size(0), size(512), size(5 << 20)),
            ("-".into(), "512.0 B".into(), "5.0 MiB".into())
        );
    }
}
