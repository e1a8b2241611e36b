//! `fairway freeze` and `fairway unfreeze`.

use fairway_types::Pipeline;
use fairway_types::pipeline::Freeze;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Map, Value, json};

use super::identity::who_am_i;
use super::objects::{freeze_annotation, pipeline, pipelines};
use super::request::known;
use crate::args::{FreezeArgs, Global, UnfreezeArgs};
use crate::commands::Kind;
use crate::commands::kinds::explain;
use crate::exit::{Misuse, Outcome};
use crate::hub;

/// Freezes a Pipeline or a stage.
pub(crate) async fn freeze(global: &Global, args: FreezeArgs) -> anyhow::Result<Outcome> {
    let now = Timestamp::now();
    let until = until(&args, now)?;
    let client = hub::client(global).await?;
    let found = pipeline(&client, &global.namespace, &args.pipeline).await?;
    if let Some(stage) = &args.stage {
        known(&found, stage)?;
    }
    let freeze = Freeze {
        until,
        reason: Some(args.reason),
        by: Some(who_am_i(&client).await?.user),
    };
    let key = freeze_annotation(args.stage.as_deref());
    annotate(
        &client,
        &found,
        &Map::from_iter([(key, json!(serde_json::to_string(&freeze)?))]),
    )
    .await?;
    println!(
        "✔ {}: {freeze}",
        place(&args.pipeline, args.stage.as_deref())
    );
    if args.stage.is_none() {
        println!("  what was committed goes on to spread; nothing new is committed");
    }
    Ok(Outcome::Done)
}

/// Whole seconds: what the annotation holds.
fn until(args: &FreezeArgs, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
    let until = match (args.until, args.for_) {
        (Some(until), _) => until,
        (None, Some(time)) => now.checked_add(jiff::SignedDuration::try_from(time)?)?,
        (None, None) => return Ok(None),
    };
    if until <= now {
        return Err(Misuse(format!("{until} is over: nothing would be frozen")).into());
    }
    Ok(Some(Timestamp::from_second(until.as_second())?))
}

/// Takes freezes away.
pub(crate) async fn unfreeze(global: &Global, args: UnfreezeArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let found = pipeline(&client, &global.namespace, &args.pipeline).await?;
    let keys: Vec<String> = match &args.stage {
        Some(stage) => vec![freeze_annotation(Some(stage))],
        None => std::iter::once(None)
            .chain(
                found
                    .spec
                    .stages
                    .iter()
                    .map(|stage| Some(stage.name.as_str())),
            )
            .map(freeze_annotation)
            .collect(),
    };
    let set: Vec<&String> = keys
        .iter()
        .filter(|key| found.annotations().contains_key(*key))
        .collect();
    let shown = place(&args.pipeline, args.stage.as_deref());
    if set.is_empty() {
        println!("{shown} is not frozen; nothing to do");
        return Ok(Outcome::Done);
    }
    let gone = set.iter().map(|key| ((*key).clone(), Value::Null));
    annotate(&client, &found, &gone.collect()).await?;
    println!("✔ {shown}: not frozen any more");
    if args.stage.is_some() && found.annotations().contains_key(&freeze_annotation(None)) {
        println!(
            "  the whole Pipeline is frozen still: fairway unfreeze {}",
            args.pipeline
        );
        return Ok(Outcome::NotSo);
    }
    Ok(Outcome::Done)
}

fn place(pipeline: &str, stage: Option<&str>) -> String {
    match stage {
        Some(stage) => format!("{pipeline}, stage {stage}"),
        None => pipeline.to_owned(),
    }
}

/// Sets annotations of a Pipeline; null takes one away.
pub(super) async fn annotate(
    client: &Client,
    pipeline: &Pipeline,
    annotations: &Map<String, Value>,
) -> anyhow::Result<()> {
    let (namespace, name) = (
        pipeline.namespace().unwrap_or_default(),
        pipeline.name_any(),
    );
    let patch = json!({"metadata": {"annotations": annotations}});
    pipelines(client, &namespace)
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|error| explain(error, Kind::Pipeline, &name, &namespace))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_ends_in_the_future_at_a_whole_second() {
        let now: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let args = |until: Option<&str>, time: Option<u64>| FreezeArgs {
            pipeline: "myapp".into(),
            stage: None,
            until: until.map(|text| text.parse().unwrap()),
            for_: time.map(std::time::Duration::from_secs),
            reason: "r".into(),
        };
        assert_eq!(until(&args(None, None), now).unwrap(), None);
        let two_hours = until(&args(None, Some(7200)), now).unwrap().unwrap();
        assert_eq!(two_hours.to_string(), "2026-01-01T02:00:00Z");
        assert!(until(&args(Some("2025-12-31T23:00:00Z"), None), now).is_err());
        assert!(until(&args(None, Some(0)), now).is_err());
    }
}
