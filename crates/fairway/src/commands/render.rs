//! `fairway build` and `fairway diff`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use fairway_apply::{Connection, Impersonation, Strictness};
use fairway_controller::build::{finish, spec};
use fairway_kustomize::{DiskTree, LoadRestrictor, Options, Order};
use fairway_types::{Kustomization, ObjectId};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::kinds::{Kind, explain};
use crate::args::{
    self, BuildArgs, BuildCommand, BuildFolderArgs, BuildKustomizationArgs, DiffKustomizationArgs,
    Global,
};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::output::field_changes;
use crate::{hub, setup};

/// Builds a folder, or a Kustomization from a local folder.
pub(crate) async fn build(global: &Global, args: BuildArgs) -> anyhow::Result<Outcome> {
    if let Some(BuildCommand::Kustomization(args)) = &args.what {
        let (kustomization, client) = kustomization(global, args).await?;
        let objects = render(&kustomization, client.as_ref(), &args.path).await?;
        print!("{}", fairway_yaml::emit::documents(&objects));
        return Ok(Outcome::Done);
    }
    folder(&args.folder)
}

/// Builds a folder. It asks nobody anything, so it needs no runtime.
pub(crate) fn folder(args: &BuildFolderArgs) -> anyhow::Result<Outcome> {
    if let Some((flag, why, hint)) = args.never.given() {
        return Err(Misuse(format!("{flag} is not for Fairway: {why}\nhint: {hint}")).into());
    }
    let options = Options {
        load_restrictor: match args.load_restrictor {
            args::Restrictor::LoadRestrictionsRootOnly => LoadRestrictor::RootOnly,
            args::Restrictor::LoadRestrictionsNone => LoadRestrictor::None,
        },
        order: match args.reorder {
            args::Order::Legacy => Order::Legacy,
            args::Order::None => Order::None,
        },
        ..Options::default()
    };
    let (tree, path) = on_disk(&args.dir)?;
    let failed = |file: &Path| format!("failed to write {}", file.display());
    let warnings = match &args.output {
        Some(into) if into.is_dir() => {
            let build = fairway_kustomize::build(&tree, &path, &options).map_err(explained)?;
            for (name, text) in build.to_files() {
                let file = into.join(name);
                std::fs::write(&file, text).with_context(|| failed(&file))?;
            }
            build.warnings
        }
        Some(file) => {
            let rendered = fairway_kustomize::render(&tree, &path, &options).map_err(explained)?;
            std::fs::write(file, rendered.yaml).with_context(|| failed(file))?;
            rendered.warnings
        }
        None => {
            let rendered = fairway_kustomize::render(&tree, &path, &options).map_err(explained)?;
            std::io::stdout()
                .write_all(rendered.yaml.as_bytes())
                .context("failed to write to standard output")?;
            rendered.warnings
        }
    };
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    Ok(Outcome::Done)
}

/// What to do about it on a line of its own.
fn explained(error: fairway_kustomize::Error) -> anyhow::Error {
    match error.next_step().map(str::to_owned) {
        Some(hint) => Hinted::new(error.without_next_step().to_string(), hint).into(),
        None => error.into(),
    }
}

/// The whole disk as a tree, and the folder's path in it: bases may be anywhere.
fn on_disk(dir: &Path) -> anyhow::Result<(DiskTree, String)> {
    let full = dir.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Hinted::new(
            format!("{}: no such file or directory", dir.display()),
            "name a folder that has a kustomization file",
        )
        .into(),
        _ => anyhow::Error::new(error).context(format!("failed to find {}", dir.display())),
    })?;
    let path = full
        .to_str()
        .with_context(|| format!("{} is not UTF-8", full.display()))?;
    Ok((DiskTree::new("/")?, path.trim_start_matches('/').to_owned()))
}

/// The Kustomization from the file that the flag names, else from the cluster; and the cluster, unless `--dry-run`.
async fn kustomization(
    global: &Global,
    args: &BuildKustomizationArgs,
) -> anyhow::Result<(Kustomization, Option<Client>)> {
    let client = if args.dry_run {
        None
    } else {
        Some(hub::client(global).await?)
    };
    if let Some(file) = &args.kustomization_file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        let found = setup::documents(&text)
            .with_context(|| file.display().to_string())?
            .into_iter()
            .find(|object| {
                object["kind"] == "Kustomization"
                    && object["metadata"]["name"] == args.name.as_str()
                    && object["apiVersion"]
                        .as_str()
                        .is_some_and(|api| api.starts_with(fairway_types::names::KUSTOMIZE_GROUP))
            });
        let found = found.ok_or_else(|| {
            Hinted::new(
                format!(
                    "{} has no Flux Kustomization named {}",
                    file.display(),
                    args.name
                ),
                "name the file that holds it with --kustomization-file",
            )
        })?;
        return Ok((
            serde_json::from_value(found).with_context(|| file.display().to_string())?,
            client,
        ));
    }
    let client = client.ok_or_else(|| Misuse("--dry-run needs --kustomization-file".into()))?;
    let object = Kind::Kustomization
        .api(&client, Some(&global.namespace))
        .get(&args.name)
        .await
        .map_err(|error| explain(error, Kind::Kustomization, &args.name, &global.namespace))?;
    Ok((
        serde_json::from_value(serde_json::to_value(object)?)?,
        Some(client),
    ))
}

/// The objects as the controller would apply them.
async fn render(
    kustomization: &Kustomization,
    client: Option<&Client>,
    dir: &Path,
) -> anyhow::Result<Vec<Value>> {
    let (tree, path) = on_disk(dir)?;
    let build = fairway_kustomize::build(&tree, &path, &spec::options(&kustomization.spec))
        .map_err(explained)?;
    let how = finish::Finish {
        variables: variables(kustomization, client).await?,
        common: kustomization.spec.common_metadata.clone(),
    };
    let objects = build.resources.into_iter().map(|resource| resource.object);
    Ok(finish::finish(objects, &how)?.objects)
}

/// The variables of `postBuild`; those of `substituteFrom` are read from the cluster.
pub(super) async fn variables(
    kustomization: &Kustomization,
    client: Option<&Client>,
) -> anyhow::Result<Option<finish::Variables>> {
    let Some(post_build) = &kustomization.spec.post_build else {
        return Ok(None);
    };
    let mut variables = finish::Variables {
        strategy: post_build.substitute_strategy.unwrap_or_default(),
        ..finish::Variables::default()
    };
    let namespace = kustomization
        .metadata
        .namespace
        .as_deref()
        .unwrap_or(fairway_types::names::SYSTEM_NAMESPACE);
    for from in &post_build.substitute_from {
        let Some(client) = client else { continue };
        let kind = serde_json::to_value(&from.kind)?;
        let reference =
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"namespace": namespace}});
        match setup::api_for(client, &reference)
            .await?
            .get_opt(&from.name)
            .await?
        {
            Some(object) if kind == "Secret" => {
                let secret: k8s_openapi::api::core::v1::Secret =
                    serde_json::from_value(serde_json::to_value(object)?)?;
                for (name, value) in secret.data.unwrap_or_default() {
                    variables.set(name, &String::from_utf8_lossy(&value.0));
                }
            }
            Some(object) => {
                for (name, value) in object.data["data"].as_object().into_iter().flatten() {
                    variables.set(name, value.as_str().unwrap_or_default());
                }
            }
            None if from.optional => {}
            None => {
                return Err(Hinted::new(
                    format!(
                        "substituteFrom: {} {namespace}/{} is not there",
                        kind.as_str().unwrap_or_default(),
                        from.name
                    ),
                    "create it, or mark the reference optional",
                )
                .into());
            }
        }
    }
    for (name, value) in &post_build.substitute {
        variables.set(name, value);
    }
    Ok(Some(variables))
}

/// Shows what applying the build of a local folder would change; nothing is written.
pub(crate) async fn diff(global: &Global, args: DiffKustomizationArgs) -> anyhow::Result<Outcome> {
    let (kustomization, client) = kustomization(global, &args.build).await?;
    let client =
        client.ok_or_else(|| Misuse("diff asks the cluster: leave --dry-run out".into()))?;
    let objects = render(&kustomization, Some(&client), &args.build.path).await?;
    let target = target(&kustomization, &client).await?;
    let mut differs = false;
    let mut wanted = BTreeSet::new();
    for mut object in objects {
        let Some(id) = ObjectId::of(&object) else {
            continue;
        };
        set_owner(&mut object, &kustomization);
        differs |= compare(&target, &object, &id).await?;
        wanted.insert(id);
    }
    if kustomization.spec.prune {
        let inventory = kustomization
            .status
            .as_ref()
            .and_then(|status| status.inventory.as_ref());
        for id in inventory
            .into_iter()
            .flat_map(|inventory| &inventory.entries)
            .filter_map(|entry| entry.object().ok())
        {
            if !wanted.contains(&id) {
                println!("► {} deleted", id.subject());
                differs = true;
            }
        }
    }
    Ok(if differs {
        Outcome::NotSo
    } else {
        Outcome::Done
    })
}

/// The cluster that the Kustomization applies to.
async fn target(kustomization: &Kustomization, client: &Client) -> anyhow::Result<Client> {
    let secret = kustomization
        .spec
        .kube_config
        .as_ref()
        .and_then(|config| config.secret_ref.as_ref());
    let Some(reference) = secret else {
        return Ok(client.clone());
    };
    let namespace = kustomization
        .metadata
        .namespace
        .as_deref()
        .unwrap_or(fairway_types::names::SYSTEM_NAMESPACE);
    let text =
        hub::kubeconfig(client, namespace, &reference.name, reference.key.as_deref()).await?;
    let connection = Connection::from_kubeconfig_yaml(&text, None, Strictness::default()).await?;
    let account = match &kustomization.spec.service_account_name {
        Some(name) => Some(name.clone()),
        None => default_account(&connection.client(), namespace).await,
    };
    Ok(match account {
        Some(name) => connection.client_as(&Impersonation::service_account(namespace, &name))?,
        None => connection.client(),
    })
}

/// The account that a Kustomization acts as where it names none: the one that `create cluster` made, where it did. What is stored
/// for such a cluster may read and impersonate, but not even dry-run a change by itself.
async fn default_account(client: &Client, namespace: &str) -> Option<String> {
    let name = fairway_types::names::APPLIER_SERVICE_ACCOUNT;
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), namespace);
    let found = accounts.get_opt(name).await.ok().flatten();
    found.map(|_| name.to_owned())
}

fn set_owner(object: &mut Value, kustomization: &Kustomization) {
    let name = kustomization.metadata.name.clone().unwrap_or_default();
    let namespace = kustomization.metadata.namespace.clone().unwrap_or_default();
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    object["metadata"]["labels"][fairway_types::names::OWNER_NAME] = json!(name);
    object["metadata"]["labels"][fairway_types::names::OWNER_NAMESPACE] = json!(namespace);
}

/// Prints how one object would change; whether it would.
async fn compare(client: &Client, object: &Value, id: &ObjectId) -> anyhow::Result<bool> {
    let api: Api<DynamicObject> = match setup::api_for(client, object).await {
        Ok(api) => api,
        Err(error) => {
            // Its definition may be part of the same build.
            println!("► {} created ({error:#})", id.subject());
            return Ok(true);
        }
    };
    let Some(live) = api
        .get_opt(&id.name)
        .await
        .with_context(|| format!("failed to read {}", id.subject()))?
    else {
        println!("► {} created", id.subject());
        return Ok(true);
    };
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply(fairway_types::names::FIELD_MANAGER).force()
    };
    let after = api
        .patch(&id.name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("{} dry-run failed", id.subject()))?;
    let changes = field_changes(&serde_json::to_value(live)?, &serde_json::to_value(after)?);
    if changes.is_empty() {
        return Ok(false);
    }
    println!("► {} changed", id.subject());
    for change in changes {
        println!("{change}");
    }
    Ok(true)
}
