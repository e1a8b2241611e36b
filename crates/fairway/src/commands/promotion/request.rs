//! What `promote` and `rollback` ask a Pipeline for.

use fairway_types::pipeline::PipelineStatus;
use fairway_types::promotion::{Intent, RollbackRequest};
use fairway_types::reference::LocalObjectReference;
use fairway_types::{Pipeline, Promotion, PromotionSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};

use super::identity::who_am_i;
use super::objects::promotions;
use crate::args::{RequestArgs, RollbackArgs};
use crate::exit::{Hinted, Misuse};

/// The promotion that is asked for; none where every stage has the version of the stage before it.
pub(crate) fn promotion(
    pipeline: &Pipeline,
    stage: Option<&str>,
    version: Option<&str>,
    args: &RequestArgs,
) -> anyhow::Result<Option<PromotionSpec>> {
    let status = pipeline.status.clone().unwrap_or_default();
    let Some(stage) = stage.map_or_else(|| behind(pipeline, &status), |name| Ok(Some(name)))?
    else {
        return Ok(None);
    };
    let (index, _) = known(pipeline, stage)?;
    let version = match (version, index) {
        (Some(version), _) => version.to_owned(),
        (None, 0) => {
            return Err(Misuse(format!(
                "{stage} is the first stage: name the version with --version"
            ))
            .into());
        }
        (None, index) => {
            let before = &pipeline.spec.stages[index - 1].name;
            version_of(&status, before).ok_or_else(|| {
                Hinted::new(
                    format!("no version of the stage {before} is known yet"),
                    format!(
                        "`fairway pipeline status {}` says why; or name one with --version",
                        pipeline.name_any()
                    ),
                )
            })?
        }
    };
    Ok(Some(PromotionSpec {
        version: Some(version),
        ..base(pipeline, stage, Intent::Promote, args)
    }))
}

/// The rollback that is asked for.
pub(crate) fn rollback(pipeline: &Pipeline, args: &RollbackArgs) -> anyhow::Result<PromotionSpec> {
    let stage = &args.stage;
    known(pipeline, stage)?;
    let mut request = RollbackRequest {
        to: args.to.clone(),
        revert: args.revert.clone(),
        restore: args.restore.clone(),
    };
    if request == RollbackRequest::default() {
        let status = pipeline.status.clone().unwrap_or_default();
        let before = verified_before(&status, stage).ok_or_else(|| {
            Hinted::new(
                format!("no version is known that {stage} had before and that was verified there"),
                "name where it goes: --to VERSION, --revert COMMIT or --restore REVISION",
            )
        })?;
        request.to = Some(before);
    }
    Ok(PromotionSpec {
        rollback: Some(request),
        ..base(pipeline, stage, Intent::Rollback, &args.request)
    })
}

/// The newest version that was verified in the stage and that it has not now.
pub(crate) fn verified_before(status: &PipelineStatus, stage: &str) -> Option<String> {
    let now = version_of(status, stage);
    status
        .versions
        .iter()
        .rev()
        .filter(|record| record.stage == stage && record.revoked.is_none())
        .map(|record| &record.version)
        .find(|version| Some(*version) != now.as_ref())
        .cloned()
}

fn base(pipeline: &Pipeline, stage: &str, intent: Intent, args: &RequestArgs) -> PromotionSpec {
    PromotionSpec {
        pipeline_ref: LocalObjectReference {
            name: pipeline.name_any(),
        },
        stage: stage.to_owned(),
        intent,
        clusters: args.cluster.clone(),
        regions: args.region.clone(),
        reason: args.reason.clone(),
        ..PromotionSpec::default()
    }
}

/// The stage's place, or what the stages are called.
pub(crate) fn known(
    pipeline: &Pipeline,
    stage: &str,
) -> Result<(usize, fairway_types::pipeline::Stage), Misuse> {
    let names = pipeline.spec.stages.iter().map(|stage| stage.name.as_str());
    pipeline
        .spec
        .stage(stage)
        .map(|(index, stage)| (index, stage.clone()))
        .ok_or_else(|| {
            Misuse(format!(
                "{stage} is none of the stages of {}: {}",
                pipeline.name_any(),
                names.collect::<Vec<_>>().join(", ")
            ))
        })
}

/// The version that the overlay of a stage has.
pub(crate) fn version_of(status: &PipelineStatus, stage: &str) -> Option<String> {
    status.stage(stage).and_then(|stage| stage.version.clone())
}

/// The one stage that has another version than the stage before it.
fn behind<'p>(pipeline: &'p Pipeline, status: &PipelineStatus) -> anyhow::Result<Option<&'p str>> {
    let stages = &pipeline.spec.stages;
    let behind: Vec<&str> = stages
        .windows(2)
        .filter(|pair| {
            let before = version_of(status, &pair[0].name);
            before.is_some() && before != version_of(status, &pair[1].name)
        })
        .map(|pair| pair[1].name.as_str())
        .collect();
    match behind.as_slice() {
        [] => Ok(None),
        [stage] => Ok(Some(stage)),
        several => Err(Misuse(format!(
            "several stages are behind the one before them; name one with --stage: {}",
            several.join(", ")
        ))
        .into()),
    }
}

/// Creates the Promotion in the name of whoever the API server takes us for.
pub(crate) async fn create(
    client: &Client,
    pipeline: &Pipeline,
    mut spec: PromotionSpec,
) -> anyhow::Result<Promotion> {
    let namespace = pipeline.namespace().unwrap_or_default();
    spec.requested_by = Some(who_am_i(client).await?.user);
    let mut promotion = Promotion::new("", spec);
    promotion.metadata = ObjectMeta {
        generate_name: Some(format!("{}-{}-", pipeline.name_any(), promotion.spec.stage)),
        namespace: Some(namespace.clone()),
        ..ObjectMeta::default()
    };
    promotions(client, &namespace)
        .create(&PostParams::default(), &promotion)
        .await
        .map_err(|error| {
            let message = "failed to create the Promotion";
            match &error {
                kube::Error::Api(status) if status.code == 403 => {
                    anyhow::Error::new(error).context(Hinted::new(
                        message,
                        "it takes the right to create promotions.fleet.fairway.dev in the Pipeline's namespace",
                    ))
                }
                _ => anyhow::Error::new(error).context(message),
            }
        })
}

/// What was asked for, in one line.
pub(crate) fn headline(pipeline: &Pipeline, promotion: &Promotion) -> String {
    let spec = &promotion.spec;
    let status = pipeline.status.clone().unwrap_or_default();
    let now = version_of(&status, &spec.stage);
    let what = match (&spec.version, &spec.rollback) {
        (Some(version), _) => match now {
            Some(now) => format!("{now} → {version}"),
            None => version.clone(),
        },
        (None, Some(request)) => match (&request.to, &request.revert, &request.restore) {
            (Some(version), _, _) => match now {
                Some(now) => format!("back from {now} to {version}"),
                None => format!("back to {version}"),
            },
            (_, Some(commit), _) => format!("takes back commit {commit}"),
            (_, _, Some(revision)) => format!("back to its files at {revision}"),
            _ => "back".to_owned(),
        },
        (None, None) => String::new(),
    };
    let targets: Vec<&str> = spec
        .clusters
        .iter()
        .chain(&spec.regions)
        .map(String::as_str)
        .collect();
    let only = if targets.is_empty() {
        String::new()
    } else {
        format!(" on {} only", targets.join(", "))
    };
    format!(
        "{}: {} {what}{only}   (Promotion {}, requested by {})",
        spec.pipeline_ref.name,
        spec.stage,
        promotion.name_any(),
        spec.requested_by.as_deref().unwrap_or("nobody known")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pipeline(versions: [&str; 3]) -> Pipeline {
        let stages = ["dev", "staging", "prod"];
        let spec: Vec<_> = stages
            .iter()
            .map(|name| json!({"name": name, "path": name, "clusterSelector": {}, "fleetRefs": [{"name": "apps"}]}))
            .collect();
        let status: Vec<_> = stages
            .iter()
            .zip(versions)
            .map(|(name, version)| json!({"name": name, "version": version}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "myapp", "namespace": "flux-system"},
            "spec": {"sourceRef": {"name": "flux-system"}, "move": {"image": {"name": "web"}}, "stages": spec},
            "status": {"stages": status, "versions": [
                {"stage": "prod", "version": "1", "at": "2026-01-01T00:00:00Z", "promotion": "p1"},
                {"stage": "prod", "version": "2", "at": "2026-01-02T00:00:00Z", "promotion": "p2", "revoked": "slow"},
                {"stage": "prod", "version": "3", "at": "2026-01-03T00:00:00Z", "promotion": "p3"},
            ]},
        }))
        .unwrap()
    }

    fn asked(pipeline: &Pipeline, stage: Option<&str>) -> anyhow::Result<Option<(String, String)>> {
        let spec = promotion(pipeline, stage, None, &RequestArgs::default())?;
        Ok(spec.map(|spec| (spec.stage, spec.version.unwrap_or_default())))
    }

    #[test]
    fn the_stage_that_is_behind_takes_the_version_of_the_one_before() {
        let one = asked(&pipeline(["3", "2", "2"]), None).unwrap();
        assert_eq!(one, Some(("staging".into(), "3".into())));
        assert_eq!(asked(&pipeline(["3", "3", "3"]), None).unwrap(), None);
        let several = asked(&pipeline(["3", "2", "1"]), None).unwrap_err();
        assert!(several.to_string().contains("staging, prod"), "{several}");
        let named = asked(&pipeline(["3", "2", "1"]), Some("prod")).unwrap();
        assert_eq!(named, Some(("prod".into(), "2".into())));
    }

    #[test]
    fn a_stage_that_is_not_there_and_a_first_stage_without_version_are_misuse() {
        for (stage, words) in [("qa", "dev, staging, prod"), ("dev", "--version")] {
            let error = asked(&pipeline(["3", "2", "1"]), Some(stage)).unwrap_err();
            assert!(
                error.is::<Misuse>() && error.to_string().contains(words),
                "{error}"
            );
        }
    }

    #[test]
    fn a_rollback_goes_to_what_was_verified_last_and_not_revoked() {
        let args = |to: Option<&str>| RollbackArgs {
            name: "myapp".into(),
            stage: "prod".into(),
            to: to.map(str::to_owned),
            revert: None,
            restore: None,
            request: RequestArgs::default(),
            commit: crate::args::CommitArgs {
                repo: None,
                branch: None,
                author: None,
                dry_run: false,
            },
        };
        let back = |pipeline: &Pipeline, to| {
            let spec = rollback(pipeline, &args(to)).unwrap();
            assert_eq!(spec.intent, Intent::Rollback);
            spec.rollback.and_then(|request| request.to)
        };
        assert_eq!(back(&pipeline(["3", "3", "3"]), None).as_deref(), Some("1"));
        assert_eq!(back(&pipeline(["3", "3", "1"]), None).as_deref(), Some("3"));
        assert_eq!(
            back(&pipeline(["3", "3", "3"]), Some("2")).as_deref(),
            Some("2")
        );
    }
}
