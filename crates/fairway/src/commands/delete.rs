//! `fairway delete`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use kube::api::DeleteParams;

use super::kinds::{Kind, explain};
use crate::args::{DeleteArgs, DeleteCommand, DeleteSource, Global};
use crate::exit::{Misuse, Outcome};
use crate::hub;

/// Deletes one object, after a question.
pub(crate) async fn run(global: &Global, args: DeleteArgs) -> anyhow::Result<Outcome> {
    let (kind, wanted) = match args.what {
        DeleteCommand::Source(DeleteSource::Git(wanted)) => (Kind::GitRepository, wanted),
        DeleteCommand::Kustomization(wanted) => (Kind::Kustomization, wanted),
        DeleteCommand::Cluster(wanted) => (Kind::Cluster, wanted),
        DeleteCommand::Fleetkustomization(wanted) => (Kind::FleetKustomization, wanted),
    };
    let (namespace, name) = (&global.namespace, &wanted.name);
    let api = kind.api(&hub::client(global).await?, Some(namespace));
    let object = api
        .get(name)
        .await
        .map_err(|error| explain(error, kind, name, namespace))?;
    let prunes = kind == Kind::Kustomization && object.data["spec"]["prune"] == true;
    if !wanted.silent {
        let also = if prunes {
            " and everything that it applied"
        } else {
            ""
        };
        if !std::io::stdin().is_terminal() {
            return Err(Misuse(format!(
                "delete asks first; say --silent to delete {} {namespace}/{name}{also} unasked",
                kind.name()
            ))
            .into());
        }
        print!("Delete {} {namespace}/{name}{also}? [y/N] ", kind.name());
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !answer.trim().eq_ignore_ascii_case("y") {
            println!("nothing was deleted");
            return Ok(Outcome::NotSo);
        }
    }
    println!("► deleting {} {name} in {namespace} namespace", kind.name());
    api.delete(name, &DeleteParams::background())
        .await
        .map_err(|error| explain(error, kind, name, namespace))?;
    println!("✔ {} deleted", kind.name());
    Ok(Outcome::Done)
}
