//! A lost cluster does not stop the others, and catches up when it is back.

use super::session::{Session, image_is};
use crate::exit::Outcome;
use crate::output::readiness;

const LOST: &str = "prod-eu-west-1";
const OTHERS: [&str; 2] = ["prod-us-west-2", "prod-us-east-1"];

/// Refuses connections to one cluster, pushes a change meanwhile, and brings the cluster back.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let before = session.tag("orders", "prod").await?;
    let tag = session.next_tag("orders", "prod").await?;
    session.refuse(LOST, true).await?;
    session.say(&format!("{LOST} refuses connections"));
    // Whatever happens next, the cluster comes back.
    let outcome = during(session, &tag).await;
    session.refuse(LOST, false).await?;
    session.say(&format!("{LOST} is back"));
    let outcome = outcome?;
    let client = session.cluster(LOST).await?;
    let caught_up = session
        .expect(&format!("{LOST} has caught up: orders {tag}"), async || {
            image_is(&client, "orders", &tag).await
        })
        .await?;
    let commit = session
        .push_tag(
            "orders",
            "prod",
            &before,
            &format!("orders back to {before} in prod"),
        )
        .await?;
    session.say(&format!("pushed {commit}: orders back to {before}"));
    let converged = session.expect_converged().await?;
    Ok([outcome, caught_up, converged]
        .into_iter()
        .find(|outcome| *outcome != Outcome::Done)
        .unwrap_or(Outcome::Done))
}

async fn during(session: &mut Session, tag: &str) -> anyhow::Result<Outcome> {
    let commit = session
        .push_tag("orders", "prod", tag, &format!("orders {tag} in prod"))
        .await?;
    session.say(&format!("pushed {commit}: orders {tag} in prod"));
    for name in OTHERS {
        let client = session.cluster(name).await?;
        let outcome = session
            .expect(&format!("{name} runs orders {tag}"), async || {
                image_is(&client, "orders", tag).await
            })
            .await?;
        if outcome != Outcome::Done {
            return Ok(outcome);
        }
    }
    session
        .expect_view(&format!("Cluster {LOST} is not Ready"), |snapshot| {
            snapshot
                .clusters
                .iter()
                .any(|cluster| cluster.name() == LOST && !readiness(&cluster.object).is_ready())
        })
        .await
}
