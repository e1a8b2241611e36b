//! `fairway export`: objects as YAML, without what the cluster added.

use fairway_types::names;
use kube::Client;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Map, Value, json};

use super::kinds::{Kind, explain};
use crate::args::{ExportArgs, ExportCommand, ExportNames, ExportSource, Global};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;

/// Prints the named objects.
pub(crate) async fn run(global: &Global, args: ExportArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let (kind, wanted) = match args.what {
        ExportCommand::Source(ExportSource::Git(wanted)) => (Kind::GitRepository, wanted),
        ExportCommand::Kustomization(wanted) => (Kind::Kustomization, wanted),
        ExportCommand::Cluster(wanted) => (Kind::Cluster, wanted),
        ExportCommand::Fleetkustomization(wanted) => (Kind::FleetKustomization, wanted),
        ExportCommand::Pipeline(wanted) => (Kind::Pipeline, wanted),
        ExportCommand::Fleet { name } => return fleet(&client, global, name.as_deref()).await,
    };
    let objects = find(&client, global, kind, &wanted).await?;
    if objects.is_empty() {
        eprintln!(
            "there is no {} in namespace {}",
            kind.name(),
            global.namespace
        );
        return Ok(Outcome::NotSo);
    }
    for object in &objects {
        print(&plain(kind, object, &|_| true));
    }
    Ok(Outcome::Done)
}

async fn find(
    client: &Client,
    global: &Global,
    kind: Kind,
    wanted: &ExportNames,
) -> anyhow::Result<Vec<DynamicObject>> {
    let api = kind.api(client, Some(&global.namespace));
    match &wanted.name {
        Some(name) => {
            let object = api
                .get(name)
                .await
                .map_err(|error| explain(error, kind, name, &global.namespace))?;
            Ok(vec![object])
        }
        None if wanted.all => {
            let list = api
                .list(&ListParams::default())
                .await
                .map_err(|error| explain(error, kind, "", &global.namespace))?;
            Ok(list.items)
        }
        None => Err(Misuse("name an object, or say --all".into()).into()),
    }
}

/// What `kubectl apply` of the output makes again: names, labels and annotations that people set, spec.
fn plain(kind: Kind, object: &DynamicObject, keep: &dyn Fn(&str) -> bool) -> Value {
    let resource = kind.resource();
    let metadata = &object.metadata;
    let mut spec = object.data["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        // As flux prints it: what is false by default is left out; prune is required.
        spec.retain(|key, value| key == "prune" || *value != Value::Bool(false));
        for field in ["interval", "retryInterval", "timeout"] {
            let text = spec.get(field).and_then(Value::as_str);
            if let Some(duration) =
                text.and_then(|text| text.parse::<fairway_types::Duration>().ok())
            {
                spec.insert(field.to_owned(), json!(duration.to_string()));
            }
        }
    }
    let mut out = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": metadata.name, "namespace": metadata.namespace},
        "spec": spec,
    });
    let fields = [
        ("labels", metadata.labels.clone().unwrap_or_default()),
        (
            "annotations",
            metadata.annotations.clone().unwrap_or_default(),
        ),
    ];
    for (field, entries) in fields {
        let entries: Map<String, Value> = entries
            .into_iter()
            .filter(|(key, _)| {
                key != names::REQUESTED_AT && key != names::LAST_APPLIED && keep(key)
            })
            .map(|(key, value)| (key, json!(value)))
            .collect();
        if !entries.is_empty() {
            out["metadata"][field] = Value::Object(entries);
        }
    }
    out
}

fn print(object: &Value) {
    print!("---\n{}", fairway_yaml::emit::to_string(object));
}

/// What the fan-outs made, as ordinary Kustomizations for who goes on without Fairway: applied to a hub with stock Flux, they are
/// the same objects, and Flux goes on with what they manage.
async fn fleet(client: &Client, global: &Global, name: Option<&str>) -> anyhow::Result<Outcome> {
    let selector = match name {
        Some(name) => format!("{}={name}", names::FLEET_NAME),
        None => names::FLEET_NAME.to_owned(),
    };
    let list = Kind::Kustomization
        .api(client, Some(&global.namespace))
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|error| explain(error, Kind::Kustomization, "", &global.namespace))?;
    if list.items.is_empty() {
        return Err(Hinted::new(
            match name {
                Some(name) => format!(
                    "FleetKustomization {}/{name} has made no Kustomization",
                    global.namespace
                ),
                None => format!(
                    "no FleetKustomization of {} has made a Kustomization",
                    global.namespace
                ),
            },
            "`fairway get fleetkustomizations -A` lists what is; -n names another namespace",
        )
        .into());
    }
    println!(
        "# The Kustomizations of {} as stock Flux runs them.\n\
         # To leave: commit and apply this file, run `fairway uninstall` (it takes the owner references away), start Flux's controllers.",
        name.map_or_else(
            || "all FleetKustomizations".to_owned(),
            |name| format!("FleetKustomization {name}")
        )
    );
    for object in &list.items {
        // The fan-out's own labels would say that it still owns the object.
        print(&plain(Kind::Kustomization, object, &|key| {
            !key.starts_with(names::FLEET_GROUP)
        }));
    }
    eprintln!("{} Kustomizations exported", list.items.len());
    Ok(Outcome::Done)
}
