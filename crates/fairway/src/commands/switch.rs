//! `fairway suspend` and `fairway resume`.

use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::kinds::{Kind, explain};
use crate::args::{Global, SwitchArgs, SwitchCommand, SwitchNames, SwitchSource};
use crate::exit::Outcome;
use crate::hub;

/// Sets `spec.suspend` of the named objects.
pub(crate) async fn run(
    global: &Global,
    args: SwitchArgs,
    suspend: bool,
) -> anyhow::Result<Outcome> {
    let (kind, SwitchNames { names, all }) = match args.what {
        SwitchCommand::Source(SwitchSource::Git(names)) => (Kind::GitRepository, names),
        SwitchCommand::Kustomization(names) => (Kind::Kustomization, names),
        SwitchCommand::Cluster(names) => (Kind::Cluster, names),
        SwitchCommand::Fleetkustomization(names) => (Kind::FleetKustomization, names),
        SwitchCommand::Pipeline(names) => (Kind::Pipeline, names),
    };
    let api = kind.api(&hub::client(global).await?, Some(&global.namespace));
    let names = if all {
        let list = api
            .list(&ListParams::default())
            .await
            .map_err(|error| explain(error, kind, "", &global.namespace))?;
        list.items.iter().map(|object| object.name_any()).collect()
    } else {
        names
    };
    if names.is_empty() {
        println!(
            "there is no {} in namespace {}",
            kind.name(),
            global.namespace
        );
        return Ok(Outcome::NotSo);
    }
    for name in &names {
        api.patch(
            name,
            &PatchParams::apply("fairway"),
            &Patch::Merge(json!({"spec": {"suspend": suspend}})),
        )
        .await
        .map_err(|error| explain(error, kind, name, &global.namespace))?;
        let done = if suspend { "suspended" } else { "resumed" };
        println!("{} {}/{name} {done}", kind.name(), global.namespace);
    }
    Ok(Outcome::Done)
}
