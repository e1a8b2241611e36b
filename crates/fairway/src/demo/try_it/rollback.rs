//! A version that never becomes ready is caught in the first region, and taken back.

use fairway_types::names;
use fairway_types::promotion::Phase;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use super::session::{Session, image_is, is_available};
use super::worst;
use crate::commands::promotion::{End, pipelines};
use crate::exit::Outcome;

const APP: &str = "myapp";
/// The first wave, and the clusters that must never see the version.
const CANARY: &str = "dev-us-west-2";
const OTHERS: [&str; 2] = ["dev-us-east-1", "dev-eu-west-1"];

/// Promotes a broken version of myapp to dev, and watches it go back.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let good = session.tag(APP, "dev").await?;
    let broken = format!("{}-broken", session.next_tag(APP, "dev").await?);
    let pipeline = session.pipeline(APP).await?;
    session.say(&format!(
        "fairway promote {APP} --stage dev --version {broken} --wait   (an image that never becomes ready)"
    ));
    let end = session.promote(&pipeline, "dev", &broken).await?;
    let status = match end {
        End::Finished(status) if status.phase == Phase::RolledBack => status,
        End::Finished(_) | End::TimedOut => {
            session.say("✗ it was not taken back");
            print!("\n{}", session.picture(APP).await?);
            return Ok(Outcome::NotSo);
        }
    };
    let canary = session.cluster(CANARY).await?;
    let mut outcomes = vec![
        session
            .expect(
                "the commit that takes it back is on the branch",
                async || Ok(session.tag(APP, "dev").await? == good),
            )
            .await?,
        session
            .expect(&format!("{CANARY} runs {APP} {good} again"), async || {
                Ok(image_is(&canary, APP, &good).await?
                    && is_available(&canary, APP, APP, 1).await?)
            })
            .await?,
    ];
    for name in OTHERS {
        let sets = Api::<ReplicaSet>::namespaced(session.cluster(name).await?, APP)
            .list(&ListParams::default())
            .await?;
        let saw_it = sets.iter().any(|set| {
            serde_json::to_string(&set.spec).is_ok_and(|spec| spec.contains(&format!(":{broken}")))
        });
        session.say(&if saw_it {
            format!("✗ {name} has seen {broken}")
        } else {
            format!("✔ {name} has never seen {broken}")
        });
        outcomes.push(if saw_it {
            Outcome::NotSo
        } else {
            Outcome::Done
        });
    }
    let blocked = session
        .expect(&format!("{broken} is blocked from promotion"), async || {
            let status = session.pipeline(APP).await?.status.unwrap_or_default();
            Ok(status.blocked(&broken).is_some())
        })
        .await?;
    outcomes.push(blocked);
    match status.recovery_millis {
        Some(millis) => session.say(&format!(
            "✔ recovered {} after the first sign of the failure",
            crate::commands::promotion::time(millis)
        )),
        None => {
            session.say("✗ it was not seen healthy again");
            outcomes.push(Outcome::NotSo);
        }
    }
    print!("\n{}", session.picture(APP).await?);
    // So that the step can be tried again.
    let value = format!("{broken}@{}", jiff::Timestamp::now());
    let patch = json!({"metadata": {"annotations": {names::UNBLOCK: value}}});
    pipelines(session.hub(), &pipeline.namespace().unwrap_or_default())
        .patch(APP, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    outcomes.push(session.expect_converged().await?);
    Ok(worst(outcomes))
}
