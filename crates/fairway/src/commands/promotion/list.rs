//! `fairway promotions`.

use fairway_types::Promotion;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::follow::waits_for;
use super::objects::newest_first;
use crate::args::{Format, Global, PromotionsArgs};
use crate::commands::Kind;
use crate::commands::kinds::{explain, scope};
use crate::exit::Outcome;
use crate::hub;
use crate::output::{Table, age_since, cut};

/// Prints the Promotions, the newest first.
pub(crate) async fn run(global: &Global, args: PromotionsArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let api: Api<Promotion> = match scope(global, args.all_namespaces) {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let list = api
        .list(&ListParams::default())
        .await
        .map_err(|error| explain(error, Kind::Promotion, "", &global.namespace))?;
    let wanted = |promotion: &Promotion| {
        let spec = &promotion.spec;
        args.pipeline
            .as_ref()
            .is_none_or(|name| *name == spec.pipeline_ref.name)
            && args.stage.as_ref().is_none_or(|name| *name == spec.stage)
    };
    let mut found: Vec<Promotion> = list.items.into_iter().filter(wanted).collect();
    newest_first(&mut found);
    match args.output {
        Format::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": found});
            println!("{}", serde_json::to_string_pretty(&list)?);
        }
        Format::Yaml => {
            let values: Result<Vec<_>, _> = found.iter().map(serde_json::to_value).collect();
            print!("{}", fairway_yaml::emit::documents(&values?));
        }
        Format::Table if found.is_empty() => eprintln!("no Promotion was found"),
        Format::Table => print!(
            "{}",
            table(&found, args.all_namespaces, Timestamp::now()).render(!args.no_header)
        ),
    }
    Ok(Outcome::Done)
}

fn table(promotions: &[Promotion], with_namespace: bool, now: Timestamp) -> Table {
    let columns = [
        "NAME",
        "PIPELINE",
        "STAGE",
        "INTENT",
        "FROM",
        "TO",
        "PHASE",
        "REQUESTED BY",
        "AGE",
        "MESSAGE",
    ];
    let namespace = with_namespace.then_some("NAMESPACE");
    let mut table = Table::new(namespace.into_iter().chain(columns));
    for promotion in promotions {
        let spec = &promotion.spec;
        let status = promotion.status.clone().unwrap_or_default();
        let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let mut row = Vec::new();
        if with_namespace {
            row.push(or_none(promotion.metadata.namespace.as_deref()));
        }
        let wanted = spec.version.as_deref().or(spec
            .rollback
            .as_ref()
            .and_then(|request| request.to.as_deref()));
        let created = promotion.metadata.creation_timestamp.as_ref();
        row.extend([
            or_none(promotion.metadata.name.as_deref()),
            spec.pipeline_ref.name.clone(),
            spec.stage.clone(),
            spec.intent.as_str().to_owned(),
            or_none(status.from.as_deref()),
            or_none(status.to.as_deref().or(wanted)),
            status.phase.to_string(),
            or_none(spec.requested_by.as_deref()),
            age_since(created.map(|time| time.0), now),
            message(&status),
        ]);
        table.row(row);
    }
    table
}

fn message(status: &fairway_types::PromotionStatus) -> String {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == fairway_types::names::READY)
        .map(|condition| condition.message.clone());
    let text = match &status.failure {
        Some(failure) => failure.clone(),
        None if status.phase.is_final() => ready.unwrap_or_default(),
        None => waits_for(status),
    };
    cut(&text, 100)
}
