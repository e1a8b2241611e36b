//! `fairway drill rollback`: practises a rollback, and says how long the recovery took.
//!
//! In the first stage a version that nobody can pull is promoted: it fails, and the stage goes back by itself, as it would
//! in earnest. In a later stage, which takes only what was verified before, the stage is taken back to its last verified
//! version by request, and brought forward again.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use fairway_types::pipeline::StageFailure;
use fairway_types::promotion::{Intent, Phase, RollbackRequest};
use fairway_types::reference::LocalObjectReference;
use fairway_types::{Pipeline, PromotionSpec, PromotionStatus, names};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Client, ResourceExt as _};
use serde_json::{Map, json};

use super::follow::{End, follow};
use super::freeze::annotate;
use super::news::time;
use super::objects::{pipeline, pipelines};
use super::request::{create, known, verified_before, version_of};
use crate::args::{DrillArgs, Global};
use crate::commands::Kind;
use crate::commands::kinds::explain;
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;
use crate::output::seconds;

/// What is practised.
enum Exercise {
    /// A version that fails, and is taken back by the controller.
    Failure { version: String },
    /// Back to a version by request, and forward again.
    Request { back: String, forth: String },
}

/// Practises.
pub(crate) async fn run(global: &Global, args: DrillArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let found = chosen(&client, global, args.pipeline.as_deref()).await?;
    let stage = match &args.stage {
        Some(stage) => stage.clone(),
        None => found.spec.stages[0].name.clone(),
    };
    let exercise = exercise(&found, &stage, args.version.as_deref())?;
    let name = found.name_any();
    match &exercise {
        Exercise::Failure { version } => println!(
            "drill: {name}, stage {stage}: promotes {version}, which nobody can pull, and waits until the stage is back.\n\
             A Deployment whose maxUnavailable is 0 goes on serving with its old pods meanwhile."
        ),
        Exercise::Request { back, forth } => println!(
            "drill: {name}, stage {stage}: goes back to {back}, which was verified there, and forward to {forth} again, past its gates."
        ),
    }
    if !args.yes && !agreed()? {
        println!("nothing was done");
        return Ok(Outcome::NotSo);
    }
    match exercise {
        Exercise::Failure { version } => {
            failure(&client, &found, &stage, &version, args.timeout).await
        }
        Exercise::Request { back, forth } => {
            request(&client, &found, &stage, (&back, &forth), args.timeout).await
        }
    }
}

async fn chosen(client: &Client, global: &Global, name: Option<&str>) -> anyhow::Result<Pipeline> {
    let namespace = &global.namespace;
    if let Some(name) = name {
        return pipeline(client, namespace, name).await;
    }
    let mut all = pipelines(client, namespace)
        .list(&ListParams::default())
        .await
        .map_err(|error| explain(error, Kind::Pipeline, "", namespace))?
        .items;
    let names: Vec<String> = all.iter().map(|pipeline| pipeline.name_any()).collect();
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => Err(Hinted::new(
            format!("there is no Pipeline in namespace {namespace}"),
            "-n names another namespace",
        )
        .into()),
        (Some(_), false) => Err(Misuse(format!("name one of: {}", names.join(", "))).into()),
    }
}

fn exercise(pipeline: &Pipeline, stage: &str, version: Option<&str>) -> anyhow::Result<Exercise> {
    let (index, rules) = known(pipeline, stage)?;
    let status = pipeline.status.clone().unwrap_or_default();
    let state = status.stage(stage).cloned().unwrap_or_default();
    if let Some(running) = &state.promotion {
        return Err(Hinted::new(
            format!("{stage} is not at rest: {running} goes on"),
            "a drill needs a healthy stage in which nothing goes on",
        )
        .into());
    }
    if !state.healthy {
        return Err(Hinted::new(
            format!(
                "{stage} is not healthy: {}",
                state
                    .message
                    .as_deref()
                    .unwrap_or("nothing is known of it yet")
            ),
            "a drill needs a healthy stage in which nothing goes on",
        )
        .into());
    }
    let present = version_of(&status, stage).unwrap_or_default();
    if index == 0 && (version.is_some() || pipeline.spec.moves.image.is_some()) {
        if rules.on_failure == StageFailure::Halt {
            return Err(Hinted::new(
                format!("{stage} does not go back by itself: onFailure is halt"),
                "practise in another stage with --stage",
            )
            .into());
        }
        let version = match version {
            Some(version) => version.to_owned(),
            None => format!("{}-broken-drill", present.split('@').next().unwrap_or("0")),
        };
        return Ok(Exercise::Failure { version });
    }
    if version.is_some() {
        return Err(Misuse(format!(
            "--version is for the first stage: {stage} takes only what was verified before"
        ))
        .into());
    }
    let back = verified_before(&status, stage).ok_or_else(|| {
        Hinted::new(
            format!("no version is known that {stage} had before and that was verified there"),
            "practise in the first stage, or when the stage has had two versions",
        )
    })?;
    Ok(Exercise::Request {
        back,
        forth: present,
    })
}

fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Misuse("a drill asks first; say --yes to go on unasked".into()).into());
    }
    print!("Go on? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

async fn failure(
    client: &Client,
    pipeline: &Pipeline,
    stage: &str,
    version: &str,
    timeout: Duration,
) -> anyhow::Result<Outcome> {
    let spec = PromotionSpec {
        version: Some(version.to_owned()),
        ..base(pipeline, stage, Intent::Promote)
    };
    let end = act(client, pipeline, spec, timeout).await;
    // Whatever came of it, nothing stays blocked by a drill.
    let unblock = Map::from_iter([(
        names::UNBLOCK.to_owned(),
        json!(format!("{version}@{}", Timestamp::now())),
    )]);
    annotate(client, pipeline, &unblock).await?;
    let Some(status) = end? else {
        return Ok(Outcome::NotSo);
    };
    match (status.phase, status.recovery_millis) {
        (Phase::RolledBack, Some(millis)) => {
            println!(
                "✔ drill: {stage} was healthy again {} after the first sign of the failure",
                time(millis)
            );
            Ok(Outcome::Done)
        }
        (Phase::RolledBack, None) => {
            println!("✗ drill: {stage} went back, but was not seen healthy again");
            Ok(Outcome::NotSo)
        }
        (Phase::Succeeded, _) => {
            println!(
                "✗ drill: {version} did not fail; hint: name a version that nobody can pull with --version, and take this \
                 one back with: fairway rollback {} --stage {stage}",
                pipeline.name_any()
            );
            Ok(Outcome::NotSo)
        }
        (phase, _) => {
            println!("✗ drill: it ended as {phase}, and {stage} did not go back by itself");
            Ok(Outcome::NotSo)
        }
    }
}

async fn request(
    client: &Client,
    pipeline: &Pipeline,
    stage: &str,
    (back, forth): (&str, &str),
    timeout: Duration,
) -> anyhow::Result<Outcome> {
    let there = PromotionSpec {
        rollback: Some(RollbackRequest {
            to: Some(back.to_owned()),
            ..RollbackRequest::default()
        }),
        ..base(pipeline, stage, Intent::Rollback)
    };
    // As any promotion: the gates are asked, and what was verified before the drill is verified again.
    let here = PromotionSpec {
        version: Some(forth.to_owned()),
        ..base(pipeline, stage, Intent::Promote)
    };
    let started = Instant::now();
    let first = act(client, pipeline, there, timeout).await?;
    let took = started.elapsed();
    let is_back = first.is_some_and(|status| status.phase == Phase::Succeeded);
    if is_back {
        println!(
            "✔ drill: {stage} was back at {back}, healthy and verified, after {}",
            seconds(took)
        );
    } else {
        println!("✗ drill: {stage} did not come back to {back}");
    }
    let again = act(client, pipeline, here, timeout).await?;
    let is_forth = again.is_some_and(|status| status.phase == Phase::Succeeded);
    if is_forth {
        println!("✔ drill: {stage} has {forth} again");
    } else {
        println!(
            "✗ drill: {stage} has not come back to {forth}; hint: fairway pipeline status {}",
            pipeline.name_any()
        );
    }
    Ok(if is_back && is_forth {
        Outcome::Done
    } else {
        Outcome::NotSo
    })
}

fn base(pipeline: &Pipeline, stage: &str, intent: Intent) -> PromotionSpec {
    PromotionSpec {
        pipeline_ref: LocalObjectReference {
            name: pipeline.name_any(),
        },
        stage: stage.to_owned(),
        intent,
        reason: Some("drill".to_owned()),
        ..PromotionSpec::default()
    }
}

/// Asks, and follows to the end; none when the time was over first.
async fn act(
    client: &Client,
    pipeline: &Pipeline,
    spec: PromotionSpec,
    timeout: Duration,
) -> anyhow::Result<Option<PromotionStatus>> {
    let created = create(client, pipeline, spec).await?;
    let namespace = created.namespace().unwrap_or_default();
    match follow(client, &namespace, &created.name_any(), timeout).await? {
        End::Finished(status) => Ok(Some(*status)),
        End::TimedOut => Ok(None),
    }
}
