//! `fairway create cluster`.

use std::collections::BTreeMap;

use crate::args::{CreateClusterArgs, Global};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;
use crate::setup::{self, Credentials, Registration};

/// Registers a workload cluster: the flags `--kubeconfig` and `--context` name it.
pub(crate) async fn run(global: &Global, args: CreateClusterArgs) -> anyhow::Result<Outcome> {
    let registration = Registration {
        name: args.name.clone(),
        namespace: global.namespace.clone(),
        labels: labels(&args.labels)?,
    };
    if args.export && !args.export_credentials {
        print!(
            "{}",
            fairway_yaml::emit::to_string(&setup::cluster_object(&registration))
        );
        eprintln!(
            "not exported: the Secret {}-kubeconfig, which holds a credential; --export-credentials prints it too",
            registration.name
        );
        return Ok(Outcome::Done);
    }
    let context = global.context.as_deref().ok_or_else(|| {
        Misuse("name the workload cluster's context with --context; the management cluster is --management-context".into())
    })?;
    let kubeconfig = hub::read(global.kubeconfig.as_deref())?.ok_or_else(|| {
        Hinted::new(
            "found no kubeconfig",
            "name the one with the workload cluster with --kubeconfig",
        )
    })?;
    let credentials = if args.use_context_credentials {
        Credentials::OfTheContext
    } else {
        Credentials::ServiceAccount
    };
    let workload = match credentials {
        Credentials::ServiceAccount => {
            Some(hub::client_for(global.kubeconfig.as_deref(), Some(context)).await?)
        }
        Credentials::OfTheContext => None,
    };
    let stored = setup::prepare(workload.as_ref(), &kubeconfig, Some(context), credentials).await?;
    let objects = [
        setup::kubeconfig_secret(&registration, &stored),
        setup::cluster_object(&registration),
    ];
    if args.export {
        print!("{}", fairway_yaml::emit::documents(&objects));
        return Ok(Outcome::Done);
    }
    let file = args
        .management_kubeconfig
        .as_deref()
        .or(global.kubeconfig.as_deref());
    let management = hub::client_for(file, args.management_context.as_deref()).await?;
    setup::apply(&management, &objects).await?;
    if workload.is_some() {
        println!(
            "✔ service account flux-system/fairway made in the workload cluster (context {context})"
        );
    }
    println!(
        "✔ Secret {}/{}-kubeconfig stored",
        registration.namespace, registration.name
    );
    println!(
        "✔ Cluster {}/{} created",
        registration.namespace, registration.name
    );
    Ok(Outcome::Done)
}

fn labels(pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    pairs
        .iter()
        .flat_map(|pair| pair.split(','))
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Misuse(format!("--label {pair}: write KEY=VALUE")).into()),
        })
        .collect()
}
