//! `fairway trace`: from an object to the commit that it comes from.

use fairway_types::names;
use kube::api::{Api, DynamicObject};
use kube::{Client, ResourceExt as _, discovery};
use serde_json::Value;

use super::kinds::{Kind, explain};
use crate::args::{Global, TraceArgs};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;
use crate::output::readiness;

/// Prints the object, its Kustomization and its source.
pub(crate) async fn run(global: &Global, args: TraceArgs) -> anyhow::Result<Outcome> {
    let (kind, name) = match args.object.as_slice() {
        [one] => one
            .split_once('/')
            .ok_or_else(|| Misuse(format!("{one}: write KIND/NAME or KIND NAME")))?,
        [kind, name] => (kind.as_str(), name.as_str()),
        _ => return Err(Misuse("write KIND/NAME or KIND NAME".into()).into()),
    };
    let client = hub::client(global).await?;
    let (resource, object) = find(&client, global, kind, name, args.api_version.as_deref()).await?;
    let label = |key: &str| object.labels().get(key).cloned();
    let (Some(owner), Some(namespace)) = (label(names::OWNER_NAME), label(names::OWNER_NAMESPACE))
    else {
        println!(
            "{}/{name} is not managed by Fairway or Flux: it carries no owner labels",
            resource.kind
        );
        return Ok(Outcome::NotSo);
    };
    println!("\nObject:          {}/{name}", resource.kind);
    if let Some(namespace) = object.namespace() {
        println!("Namespace:       {namespace}");
    }
    println!("Status:          Managed by Fairway");
    let kustomization = Kind::Kustomization
        .api(&client, Some(&namespace))
        .get(&owner)
        .await
        .map_err(|error| {
            let error = explain(error, Kind::Kustomization, &owner, &namespace);
            error.context("the Kustomization of a fleet lives on the management cluster, ask there")
        })?;
    println!("---\nKustomization:   {owner}\nNamespace:       {namespace}");
    let spec = &kustomization.data["spec"];
    line("Target:          ", &spec["targetNamespace"]);
    line("Path:            ", &spec["path"]);
    line(
        "Revision:        ",
        &kustomization.data["status"]["lastAppliedRevision"],
    );
    state(&kustomization)?;
    let reference = &spec["sourceRef"];
    if reference["kind"] != "GitRepository" {
        println!(
            "---\n{}:   {}",
            text(&reference["kind"]),
            text(&reference["name"])
        );
        return Ok(Outcome::Done);
    }
    let place = reference["namespace"].as_str().unwrap_or(&namespace);
    let source_name = text(&reference["name"]);
    let source = Kind::GitRepository
        .api(&client, Some(place))
        .get(&source_name)
        .await
        .map_err(|error| explain(error, Kind::GitRepository, &source_name, place))?;
    println!("---\nGitRepository:   {source_name}\nNamespace:       {place}");
    let spec = &source.data["spec"];
    line("URL:             ", &spec["url"]);
    for (field, title) in [
        ("branch", "Branch:          "),
        ("tag", "Tag:             "),
        ("semver", "Tag:             "),
        ("name", "Ref:             "),
        ("commit", "Commit:          "),
    ] {
        line(title, &spec["ref"][field]);
    }
    line(
        "Revision:        ",
        &source.data["status"]["artifact"]["revision"],
    );
    state(&source)?;
    Ok(Outcome::Done)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn line(title: &str, value: &Value) {
    if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
        println!("{title}{value}");
    }
}

fn state(object: &DynamicObject) -> anyhow::Result<()> {
    let value = serde_json::to_value(object)?;
    let state = readiness(&value);
    let at = value["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["type"] == "Ready"))
        .map(|ready| text(&ready["lastTransitionTime"]))
        .unwrap_or_default();
    match state.status.as_str() {
        "True" => println!("Status:          Last reconciled at {at}"),
        "False" => println!("Status:          Last reconciliation failed at {at}"),
        _ => println!("Status:          Unknown"),
    }
    println!("Message:         {}", state.message);
    Ok(())
}

/// The object, by any name that kubectl knows its kind by.
async fn find(
    client: &Client,
    global: &Global,
    kind: &str,
    name: &str,
    api_version: Option<&str>,
) -> anyhow::Result<(kube::api::ApiResource, DynamicObject)> {
    let discovery = discovery::Discovery::new(client.clone()).run().await?;
    let mut tried = false;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let named = resource.kind.eq_ignore_ascii_case(kind)
                || resource.plural.eq_ignore_ascii_case(kind)
                || resource
                    .plural
                    .trim_end_matches('s')
                    .eq_ignore_ascii_case(kind)
                || format!("{}.{}", resource.plural, resource.group).eq_ignore_ascii_case(kind);
            if !named || api_version.is_some_and(|version| resource.api_version != version) {
                continue;
            }
            tried = true;
            let api: Api<DynamicObject> = match capabilities.scope {
                discovery::Scope::Cluster => Api::all_with(client.clone(), &resource),
                discovery::Scope::Namespaced => {
                    Api::namespaced_with(client.clone(), &global.namespace, &resource)
                }
            };
            if let Some(object) = api.get_opt(name).await? {
                return Ok((resource, object));
            }
        }
    }
    Err(if tried {
        Hinted::new(
            format!(
                "{kind}/{name} is not there in namespace {}",
                global.namespace
            ),
            "-n names another namespace",
        )
    } else {
        Hinted::new(
            format!("the cluster does not know a kind {kind}"),
            "write it as `kubectl api-resources` does",
        )
    }
    .into())
}
