//! `fairway get`.

use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use super::kinds::{Kind, explain, scope};
use crate::args::{Format, GetArgs, GetCommand, Global, ListArgs};
use crate::exit::{Misuse, Outcome};
use crate::hub;
use crate::output::{Table, age_since, readiness, short_revision};

/// Prints the objects, once or whenever something changes.
pub(crate) async fn run(global: &Global, args: GetArgs) -> anyhow::Result<Outcome> {
    let (kinds, list) = match args.what {
        GetCommand::Sources(args) => (vec![Kind::GitRepository], args.list),
        GetCommand::Kustomizations(list) => (vec![Kind::Kustomization], list),
        GetCommand::Clusters(list) => (vec![Kind::Cluster], list),
        GetCommand::Fleetkustomizations(list) => (vec![Kind::FleetKustomization], list),
        GetCommand::Pipelines(list) => (vec![Kind::Pipeline], list),
        GetCommand::Promotions(list) => (vec![Kind::Promotion], list),
        GetCommand::Approvals(list) => (vec![Kind::Approval], list),
        GetCommand::All(list) => (Kind::ALL.to_vec(), list),
    };
    let client = hub::client(global).await?;
    let mut shown = String::new();
    loop {
        let groups = read(&client, global, &kinds, &list).await?;
        let found: usize = groups.iter().map(|(_, objects)| objects.len()).sum();
        let text = print(&groups, &list)?;
        if !list.watch {
            if found == 0 {
                let place = if list.all_namespaces {
                    "any namespace".into()
                } else {
                    format!("namespace {}", global.namespace)
                };
                eprintln!("nothing found in {place}");
                return Ok(if list.name.is_some() || kinds.len() == 1 {
                    Outcome::NotSo
                } else {
                    Outcome::Done
                });
            }
            print!("{text}");
            return Ok(Outcome::Done);
        }
        for line in text.lines().filter(|line| {
            !shown
                .lines()
                .any(|old| without_age(old) == without_age(line))
        }) {
            println!("{line}");
        }
        shown = text;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::Done),
        }
    }
}

/// A table line without its last column, which changes by itself.
fn without_age(line: &str) -> &str {
    line.rsplit_once("   ")
        .map_or(line, |(before, _)| before.trim_end())
}

async fn read(
    client: &Client,
    global: &Global,
    kinds: &[Kind],
    list: &ListArgs,
) -> anyhow::Result<Vec<(Kind, Vec<Value>)>> {
    let mut params = ListParams::default();
    if let Some(selector) = &list.label_selector {
        params = params.labels(selector);
    }
    let mut groups = Vec::new();
    for kind in kinds {
        let api = kind.api(client, scope(global, list.all_namespaces));
        let objects = match &list.name {
            Some(name) if kinds.len() == 1 => {
                vec![
                    api.get(name)
                        .await
                        .map_err(|error| explain(error, *kind, name, &global.namespace))?,
                ]
            }
            _ => match api.list(&params).await {
                Ok(list) => list.items,
                // A cluster that was installed by an older version does not know every kind.
                Err(kube::Error::Api(status)) if status.code == 404 && kinds.len() > 1 => continue,
                Err(error) => return Err(explain(error, *kind, "", &global.namespace)),
            },
        };
        let mut values = Vec::new();
        for object in objects {
            let value = to_value(*kind, &object)?;
            if selected(&value, list)? {
                values.push(value);
            }
        }
        groups.push((*kind, values));
    }
    Ok(groups)
}

fn to_value(kind: Kind, object: &DynamicObject) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(object).context("failed to read the answer")?;
    if value["kind"].is_null() {
        let resource = kind.resource();
        value["apiVersion"] = json!(resource.api_version);
        value["kind"] = json!(resource.kind);
    }
    Ok(value)
}

/// Whether `--status-selector` lets the object through.
fn selected(object: &Value, list: &ListArgs) -> anyhow::Result<bool> {
    let Some(selector) = &list.status_selector else {
        return Ok(true);
    };
    let (condition, status) = selector.split_once('=').ok_or_else(|| {
        Misuse(format!(
            "--status-selector {selector}: write CONDITION=STATUS, for example ready=false"
        ))
    })?;
    let is = object["status"]["conditions"]
        .as_array()
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|found| {
                    found["type"]
                        .as_str()
                        .is_some_and(|kind| kind.eq_ignore_ascii_case(condition))
                })
                .and_then(|found| found["status"].as_str())
        });
    Ok(is.unwrap_or("Unknown").eq_ignore_ascii_case(status))
}

fn print(groups: &[(Kind, Vec<Value>)], list: &ListArgs) -> anyhow::Result<String> {
    let all = || {
        groups
            .iter()
            .flat_map(|(_, objects)| objects.iter().cloned())
    };
    Ok(match list.output {
        Format::Json => {
            let mut text = serde_json::to_string_pretty(
                &json!({"apiVersion": "v1", "kind": "List", "items": all().collect::<Vec<_>>()}),
            )?;
            text.push('\n');
            text
        }
        Format::Yaml => fairway_yaml::emit::documents(&all().collect::<Vec<_>>()),
        Format::Table => {
            let mut text = String::new();
            for (kind, objects) in groups.iter().filter(|(_, objects)| !objects.is_empty()) {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(
                    &table(*kind, objects, list.all_namespaces, groups.len() > 1)
                        .render(!list.no_header),
                );
            }
            text
        }
    })
}

fn table(kind: Kind, objects: &[Value], with_namespace: bool, with_kind: bool) -> Table {
    let columns: &[&str] = match kind {
        Kind::GitRepository | Kind::Kustomization => {
            &["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE", "AGE"]
        }
        Kind::Cluster => &[
            "NAME",
            "ENVIRONMENT",
            "REGION",
            "VERSION",
            "SUSPENDED",
            "READY",
            "MESSAGE",
            "AGE",
        ],
        Kind::FleetKustomization => &["NAME", "CLUSTERS", "SUSPENDED", "READY", "MESSAGE", "AGE"],
        Kind::Pipeline => &["NAME", "VERSIONS", "SUSPENDED", "READY", "MESSAGE", "AGE"],
        Kind::Promotion => &[
            "NAME", "PIPELINE", "STAGE", "INTENT", "FROM", "TO", "PHASE", "MESSAGE", "AGE",
        ],
        Kind::Approval => &[
            "NAME",
            "PROMOTION",
            "DECISION",
            "APPROVER",
            "COMMENT",
            "AGE",
        ],
    };
    let namespace = with_namespace.then_some("NAMESPACE");
    let mut table = Table::new(namespace.into_iter().chain(columns.iter().copied()));
    for object in objects {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let name = if with_kind {
            format!("{}/{name}", kind.name().to_lowercase())
        } else {
            name.to_owned()
        };
        let state = readiness(object);
        let mut row: Vec<String> = Vec::new();
        if with_namespace {
            row.push(text(&object["metadata"]["namespace"]));
        }
        row.push(name);
        let created = created(&object["metadata"]["creationTimestamp"]);
        match kind {
            Kind::Pipeline => row.push(text(&object["status"]["summary"])),
            Kind::Promotion => {
                row.extend(promotion(object));
                row.extend([state.message, created]);
                table.row(row);
                continue;
            }
            Kind::Approval => {
                let spec = &object["spec"];
                row.extend([
                    text(&spec["promotionRef"]["name"]),
                    text(&spec["decision"]),
                    text(&spec["approver"]),
                    text(&spec["comment"]),
                    created,
                ]);
                table.row(row);
                continue;
            }
            Kind::GitRepository => row.push(revision(&object["status"]["artifact"]["revision"])),
            Kind::Kustomization => row.push(revision(&object["status"]["lastAppliedRevision"])),
            Kind::Cluster => {
                row.push(text(&object["metadata"]["labels"]["environment"]));
                row.push(text(&object["metadata"]["labels"]["region"]));
                row.push(text(&object["status"]["version"]));
            }
            Kind::FleetKustomization => {
                let counts = &object["status"]["clusters"];
                row.push(format!(
                    "{}/{}",
                    counts["ready"].as_i64().unwrap_or(0),
                    counts["matched"].as_i64().unwrap_or(0)
                ));
            }
        }
        row.push(if object["spec"]["suspend"] == true {
            "True".into()
        } else {
            "False".into()
        });
        row.push(state.status);
        row.push(state.message);
        row.push(created);
        table.row(row);
    }
    table
}

/// Pipeline, stage, intent, from, to and phase of a Promotion.
fn promotion(object: &Value) -> [String; 6] {
    let (spec, status) = (&object["spec"], &object["status"]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let to = [&status["to"], &spec["version"], &spec["rollback"]["to"]];
    [
        text(&spec["pipelineRef"]["name"]),
        text(&spec["stage"]),
        text(&spec["intent"]),
        text(&status["from"]),
        to.into_iter()
            .find_map(Value::as_str)
            .unwrap_or("-")
            .to_owned(),
        status["phase"].as_str().unwrap_or("Queued").to_owned(),
    ]
}

fn revision(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".into(), short_revision)
}

fn created(value: &Value) -> String {
    let at = value
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    age_since(at, jiff::Timestamp::now())
}
