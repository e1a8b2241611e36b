//! `fairway audit`: the log in Git, and what waits in the Promotions to be pushed to it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use fairway_controller::audit::{Against, AuditLog, Entry};
use fairway_types::{Pipeline, Promotion};
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Client, ResourceExt as _};

use super::direct;
use super::news::short;
use super::objects::{pipeline, pipelines, promotions};
use crate::args::{AuditArgs, AuditFormat, Global};
use crate::commands::Kind;
use crate::commands::kinds::explain;
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;
use crate::output::{Table, cut};
use crate::promotion::Reading;

/// Prints or checks the log.
pub(crate) async fn run(global: &Global, args: AuditArgs) -> anyhow::Result<Outcome> {
    let since = args
        .since
        .as_deref()
        .map(|text| time(text, Timestamp::now()))
        .transpose()?;
    let client = hub::client(global).await?;
    let namespace = &global.namespace;
    let found = chosen(&client, namespace, args.pipeline.as_deref()).await?;
    if found.is_empty() {
        return Err(Hinted::new(
            format!("there is no Pipeline in namespace {namespace}"),
            "-n names another namespace",
        )
        .into());
    }
    let waiting = waiting(&client, namespace).await?;
    let sources: BTreeSet<&str> = found
        .iter()
        .map(|pipeline| pipeline.spec.source_ref.name.as_str())
        .collect();
    let (mut entries, mut is_clean) = (Vec::new(), true);
    for source in sources {
        let address = direct::source(&client, namespace, source)
            .await
            .ok_or_else(|| {
                Hinted::new(
                    format!("GitRepository {namespace}/{source} is not there or has no url"),
                    "the log is in the repository that the Pipeline commits to: spec.sourceRef",
                )
            })?;
        let reading = Reading::open(args.repo.as_deref(), address).await?;
        let log = AuditLog::new(reading.workspace.mirror().clone());
        if args.verify {
            is_clean &= verify(&reading, &log, since, &waiting).await?;
        } else {
            let read = log.read(since).await;
            entries.extend(read.context("failed to read the audit log")?);
        }
    }
    if args.verify {
        return Ok(if is_clean {
            Outcome::Done
        } else {
            Outcome::NotSo
        });
    }
    let names: Vec<String> = found
        .iter()
        .map(|pipeline| format!("{namespace}/{}", pipeline.name_any()))
        .collect();
    let known: BTreeSet<String> = entries.iter().map(|entry| entry.id.clone()).collect();
    let late = waiting
        .into_iter()
        .filter(|entry| !known.contains(&entry.id))
        .filter(|entry| since.is_none_or(|since| entry.time >= since));
    entries.extend(late);
    entries.retain(|entry| names.contains(&entry.pipeline));
    entries.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    print(&entries, args.output)?;
    Ok(Outcome::Done)
}

async fn chosen(
    client: &Client,
    namespace: &str,
    name: Option<&str>,
) -> anyhow::Result<Vec<Pipeline>> {
    if let Some(name) = name {
        return Ok(vec![pipeline(client, namespace, name).await?]);
    }
    let list = pipelines(client, namespace)
        .list(&ListParams::default())
        .await
        .map_err(|error| explain(error, Kind::Pipeline, "", namespace))?;
    Ok(list.items)
}

/// A time, or how long ago.
fn time(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago: std::time::Duration = text
        .parse::<fairway_types::Duration>()
        .map_err(|_| {
            Misuse(format!(
                "--since {text}: write a time such as 2026-12-27T08:00:00Z, or how long ago, such as 24h"
            ))
        })?
        .into();
    Ok(now.checked_sub(SignedDuration::try_from(ago)?)?)
}

/// The entries that Promotions hold because they could not be pushed yet.
async fn waiting(client: &Client, namespace: &str) -> anyhow::Result<Vec<Entry>> {
    let list = promotions(client, namespace)
        .list(&ListParams::default())
        .await
        .map_err(|error| explain(error, Kind::Promotion, "", namespace))?;
    let of = |promotion: &Promotion| -> Vec<Entry> {
        let status = promotion.status.clone().unwrap_or_default();
        status
            .audit
            .iter()
            .map(|record| Entry::of(promotion, record, &promotion.spec.clusters))
            .collect()
    };
    Ok(list.items.iter().flat_map(of).collect())
}

/// Says what is wrong with the log; whether nothing is.
async fn verify(
    reading: &Reading,
    log: &AuditLog,
    since: Option<Timestamp>,
    waiting: &[Entry],
) -> anyhow::Result<bool> {
    let uids: Vec<String> = waiting.iter().map(|entry| entry.uid.clone()).collect();
    let against = Against {
        since,
        waiting: &uids,
        ..Against::default()
    };
    let report = log.verify(reading.head, &against).await?;
    for finding in &report.findings {
        println!("✗ {finding}");
    }
    let tip = match report.tip {
        Some(tip) => format!(", newest {}", short(&tip.to_string())),
        None => String::new(),
    };
    println!(
        "{} {} entries{tip}, {} promotion commits on {}: {}",
        if report.is_clean() { "✔" } else { "✗" },
        report.entries,
        report.commits,
        reading.workspace.branch(),
        match report.findings.len() {
            0 => "the log is whole, and says what the commits say".to_owned(),
            1 => "1 finding".to_owned(),
            many => format!("{many} findings"),
        }
    );
    if !uids.is_empty() {
        println!("  {} entries wait to be pushed", uids.len());
    }
    Ok(report.is_clean())
}

fn print(entries: &[Entry], format: AuditFormat) -> anyhow::Result<()> {
    match format {
        AuditFormat::Jsonl => {
            for entry in entries {
                println!("{}", serde_json::to_string(entry)?);
            }
        }
        AuditFormat::Table if entries.is_empty() => eprintln!("nothing is logged"),
        AuditFormat::Table => print!("{}", table(entries).render(true)),
    }
    Ok(())
}

fn table(entries: &[Entry]) -> Table {
    let mut table = Table::new([
        "TIME",
        "PIPELINE",
        "STAGE",
        "INTENT",
        "FROM",
        "TO",
        "EVENT",
        "WHO",
        "PROMOTION",
        "MESSAGE",
    ]);
    for entry in entries {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let name = |text: &str| {
            text.split_once('/')
                .map_or(text, |(_, name)| name)
                .to_owned()
        };
        let who = entry.actor.clone().or_else(|| entry.requested_by.clone());
        table.row([
            entry.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            name(&entry.pipeline),
            entry.stage.clone(),
            entry.intent.as_str().to_owned(),
            or_none(&entry.from),
            or_none(&entry.to),
            entry.event.clone(),
            or_none(&who),
            name(&entry.promotion),
            cut(entry.message.as_deref().unwrap_or_default(), 100),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let at = |text| time(text, now).map(|time| time.to_string());
        assert_eq!(at("24h").unwrap(), "2026-01-01T00:00:00Z");
        assert_eq!(at("2025-12-31T00:00:00Z").unwrap(), "2025-12-31T00:00:00Z");
        assert!(at("yesterday").unwrap_err().is::<Misuse>());
    }
}
