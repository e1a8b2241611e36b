//! `fairway unblock`, `fairway revoke` and `fairway cancel`: words to the controller, as annotations.

use fairway_types::promotion::Phase;
use fairway_types::{Promotion, names};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, json};

use super::freeze::annotate;
use super::identity::who_am_i;
use super::objects::{pipeline, promotion, promotions};
use crate::args::{CancelArgs, Global, RevokeArgs, UnblockArgs};
use crate::commands::Kind;
use crate::commands::kinds::explain;
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;

/// Lets versions that failed be promoted again.
pub(crate) async fn unblock(global: &Global, args: UnblockArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let found = pipeline(&client, &global.namespace, &args.pipeline).await?;
    let blocked: Vec<String> = found
        .status
        .iter()
        .flat_map(|status| &status.blocked_versions)
        .map(|blocked| blocked.version.clone())
        .collect();
    let wanted: Vec<String> = if args.all {
        blocked.clone()
    } else {
        args.versions
    };
    let unknown: Vec<&String> = wanted
        .iter()
        .filter(|version| !blocked.contains(version))
        .collect();
    if let Some(version) = unknown.first() {
        println!("{version} is not blocked; blocked: {}", list(&blocked));
        return Ok(Outcome::NotSo);
    }
    if wanted.is_empty() {
        println!("no version is blocked; nothing to do");
        return Ok(Outcome::Done);
    }
    let what = if args.all {
        "*".to_owned()
    } else {
        wanted.join(" ")
    };
    let value = format!("{what}@{}", Timestamp::now());
    annotate(
        &client,
        &found,
        &Map::from_iter([(names::UNBLOCK.to_owned(), json!(value))]),
    )
    .await?;
    println!(
        "✔ {}: {} may be promoted again; every gate is asked anew",
        args.pipeline,
        wanted.join(", ")
    );
    Ok(Outcome::Done)
}

fn list(versions: &[String]) -> String {
    if versions.is_empty() {
        "none".to_owned()
    } else {
        versions.join(", ")
    }
}

/// Takes verdicts back.
pub(crate) async fn revoke(global: &Global, args: RevokeArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let found = promotion(&client, &global.namespace, &args.promotion).await?;
    let status = found.status.clone().unwrap_or_default();
    let checks = status.gates.iter().chain(&status.verification);
    let known: Vec<&str> = checks.map(|check| check.name.as_str()).collect();
    if let Some(name) = args
        .check
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        return Err(Misuse(format!(
            "{name} is none of the checks of {}: {}",
            args.promotion,
            known.join(", ")
        ))
        .into());
    }
    let value = if args.all {
        "*".to_owned()
    } else {
        args.check.join(",")
    };
    mark(&client, &found, names::REVOKE, &value).await?;
    println!(
        "✔ {}: revoked {}",
        args.promotion,
        if args.all { "every verdict" } else { &value }
    );
    println!(
        "  before the commit the gates are asked again; after it, the version goes no further"
    );
    Ok(Outcome::Done)
}

/// Ends a Promotion.
pub(crate) async fn cancel(global: &Global, args: CancelArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let found = promotion(&client, &global.namespace, &args.promotion).await?;
    let phase = found
        .status
        .as_ref()
        .map(|status| status.phase)
        .unwrap_or_default();
    if phase.is_final() {
        return Err(Hinted::new(
            format!("the Promotion {} has ended: {phase}", args.promotion),
            format!(
                "to take it back: fairway rollback {} --stage {}",
                found.spec.pipeline_ref.name, found.spec.stage
            ),
        )
        .into());
    }
    let who = who_am_i(&client).await?.user;
    mark(&client, &found, names::CANCEL, &who).await?;
    let what = match phase {
        Phase::Queued | Phase::Gating => "it ends before anything is committed",
        _ => "it was committed, so it fails, with what that means for its stage",
    };
    println!("✔ {}: cancelled by {who}; {what}", args.promotion);
    Ok(Outcome::Done)
}

async fn mark(
    client: &Client,
    promotion: &Promotion,
    annotation: &str,
    value: &str,
) -> anyhow::Result<()> {
    let namespace = promotion.metadata.namespace.clone().unwrap_or_default();
    let name = promotion.metadata.name.clone().unwrap_or_default();
    let patch = json!({"metadata": {"annotations": {annotation: value}}});
    promotions(client, &namespace)
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|error| explain(error, Kind::Promotion, &name, &namespace))?;
    Ok(())
}
