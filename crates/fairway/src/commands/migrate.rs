//! `fairway migrate`: files, or the stored objects of a cluster, to the newest version.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::kinds::Kind;
use crate::args::{Global, MigrateArgs};
use crate::exit::{Hinted, Outcome};
use crate::hub;
use crate::migration::migrate;

/// Migrates the files that are named, else the cluster.
pub(crate) async fn run(global: &Global, args: MigrateArgs) -> anyhow::Result<Outcome> {
    if args.paths.is_empty() {
        return cluster(&hub::client(global).await?, args.dry_run).await;
    }
    let mut files = Vec::new();
    for path in &args.paths {
        if !path.exists() {
            return Err(Hinted::new(
                format!("{} is not there", path.display()),
                "name a file or folder with -f",
            )
            .into());
        }
        collect(path, &args.extensions, &mut files)?;
    }
    files.sort();
    let (mut changed, mut refused) = (0, 0);
    for file in &files {
        let outcome = one(file, args.dry_run)?;
        changed += usize::from(outcome.0);
        refused += outcome.1;
    }
    let done = if args.dry_run {
        "would change"
    } else {
        "changed"
    };
    println!(
        "{} {changed} of {} files {done}",
        if refused == 0 { "✔" } else { "✗" },
        files.len()
    );
    Ok(if refused == 0 {
        Outcome::Done
    } else {
        Outcome::NotSo
    })
}

/// The files below a folder with one of the endings; nothing hidden, and no link is followed.
fn collect(path: &Path, extensions: &[String], into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_file() {
        into.push(path.to_owned());
        return Ok(());
    }
    let failed = || format!("failed to read {}", path.display());
    for entry in std::fs::read_dir(path).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().with_context(failed)?;
        if name.starts_with('.') || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), extensions, into)?;
        } else if extensions
            .iter()
            .any(|end| name.ends_with(&format!(".{}", end.trim_start_matches('.'))))
        {
            into.push(entry.path());
        }
    }
    Ok(())
}

/// Whether the file changes, and how much of it is left to a person.
fn one(file: &Path, dry_run: bool) -> anyhow::Result<(bool, usize)> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("failed to read {shown}"))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok((false, 0));
    };
    if !text.contains(".toolkit.fluxcd.io/v1beta") {
        return Ok((false, 0));
    }
    let migration = match migrate(&text) {
        Ok(migration) => migration,
        Err(error) => {
            println!("✗ {shown}: {error}");
            println!("  hint: only YAML can be migrated; change it by hand where it is a template");
            return Ok((false, 1));
        }
    };
    for (line, what) in &migration.changes {
        println!("► {shown}:{line}: {what}");
    }
    for (line, what, hint) in &migration.refusals {
        println!("✗ {shown}:{line}: {what}");
        println!("  hint: {hint}");
    }
    for line in &migration.mentions {
        println!(
            "- {shown}:{line}: names an old version, but is no Kustomization or GitRepository; look at it (`flux migrate` knows Flux's other kinds)"
        );
    }
    let changes = migration.text != text;
    if changes && !dry_run {
        std::fs::write(file, &migration.text)
            .with_context(|| format!("failed to write {shown}"))?;
    }
    Ok((changes, migration.refusals.len()))
}

/// Writes each object again, so that it is stored in the storage version, and takes the older versions off the list of
/// stored ones.
async fn cluster(client: &Client, dry_run: bool) -> anyhow::Result<Outcome> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in Kind::ALL {
        let resource = kind.resource();
        let name = format!("{}.{}", resource.plural, resource.group);
        let Some(definition) = definitions.get_opt(&name).await? else {
            println!("- {name} is not defined");
            continue;
        };
        let storage = definition
            .spec
            .versions
            .iter()
            .find(|version| version.storage)
            .map(|version| version.name.clone())
            .context("a definition has no storage version")?;
        let stored = definition
            .status
            .and_then(|status| status.stored_versions)
            .unwrap_or_default();
        if stored.iter().all(|version| *version == storage) {
            println!("✔ {name}: stored as {storage}");
            continue;
        }
        let objects = kind
            .api(client, None)
            .list(&ListParams::default())
            .await?
            .items;
        let count = objects.len();
        if dry_run {
            println!(
                "► {name}: {count} objects would be stored as {storage}, and {stored:?} become [{storage:?}]"
            );
            continue;
        }
        for object in objects {
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let id = object.metadata.name.clone().unwrap_or_default();
            let api = kind.api(client, Some(&namespace));
            // Who writes in between has it stored anew by that very write.
            match api.replace(&id, &PostParams::default(), &object).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
                Err(error) => {
                    return Err(anyhow::Error::new(error).context(format!(
                        "failed to store {}/{namespace}/{id} again",
                        kind.name()
                    )));
                }
            }
        }
        let patch = json!({"status": {"storedVersions": [storage]}});
        definitions
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .with_context(|| format!("failed to update {name}"))?;
        println!("✔ {name}: {count} objects stored as {storage}");
    }
    Ok(Outcome::Done)
}
