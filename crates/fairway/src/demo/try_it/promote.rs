//! A good version goes through all stages by itself, in waves.

use fairway_types::Promotion;
use kube::ResourceExt as _;

use super::session::Session;
use super::worst;
use crate::exit::Outcome;

const APP: &str = "myapp";

/// Promotes the next version of myapp to dev, and follows it through the other stages.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let tag = session.next_tag(APP, "dev").await?;
    let pipeline = session.pipeline(APP).await?;
    session.say(&format!(
        "fairway promote {APP} --stage dev --version {tag} --wait"
    ));
    let mut outcomes = vec![session.promote(&pipeline, "dev", &tag).await?.outcome()];
    for stage in pipeline.spec.stages.iter().skip(1) {
        if outcomes.last() != Some(&Outcome::Done) {
            break;
        }
        let stage = &stage.name;
        let Some(made) = automatic(session, stage, &tag).await? else {
            session.say(&format!("✗ {stage} does not take {tag} by itself"));
            outcomes.push(Outcome::NotSo);
            break;
        };
        session.say(&format!(
            "{stage} takes {tag} by itself: {}",
            made.name_any()
        ));
        outcomes.push(session.follow(&made.name_any()).await?.outcome());
    }
    for stage in &pipeline.spec.stages {
        if outcomes.iter().all(|outcome| *outcome == Outcome::Done) {
            outcomes.push(session.expect_image(APP, &stage.name, &tag).await?);
        }
    }
    print!("\n{}", session.picture(APP).await?);
    if outcomes.iter().all(|outcome| *outcome == Outcome::Done) {
        outcomes.push(session.expect_converged().await?);
    }
    Ok(worst(outcomes))
}

/// The Promotion that was made for a stage when the version was verified in the stage before.
async fn automatic(session: &Session, stage: &str, tag: &str) -> anyhow::Result<Option<Promotion>> {
    session
        .until(async || {
            let all = session.promotions(APP).await?;
            Ok(all.into_iter().find(|promotion| {
                promotion.spec.stage == stage && promotion.spec.version.as_deref() == Some(tag)
            }))
        })
        .await
}
