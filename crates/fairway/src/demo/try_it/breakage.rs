//! A version that never becomes ready is contained, named and healed by its revert.

use super::session::{Session, image_is, is_available};
use super::worst;
use crate::exit::Outcome;

/// Pushes a broken version of orders, which has no Pipeline, to dev, sees it contained, and reverts it.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let good = session.tag("orders", "dev").await?;
    let broken = format!("{}-broken", session.next_tag("orders", "dev").await?);
    let commit = session
        .push_tag("orders", "dev", &broken, &format!("orders {broken} in dev"))
        .await?;
    session.say(&format!(
        "pushed {commit}: orders {broken} in dev, an image that never becomes ready"
    ));
    let seen = session
        .expect_view(
            "apps-dev-us-west-2, the first wave, is not Ready and names the Deployment",
            |snapshot| {
                let units = snapshot.units();
                units.iter().any(|unit| {
                    unit.name == "apps-dev-us-west-2"
                        && !unit.readiness.is_ready()
                        && unit.readiness.message.contains("Deployment/orders/orders")
                })
            },
        )
        .await?;
    if seen != Outcome::Done {
        return Ok(seen);
    }
    for line in session.reasons() {
        session.say(&format!("  {line}"));
    }
    let client = session.cluster("dev-us-west-2").await?;
    let old_serves = session
        .expect("the old pod goes on serving", async || {
            is_available(&client, "orders", "orders", 1).await
        })
        .await?;
    let other = session
        .expect("myapp of the same cluster is not touched", async || {
            is_available(&client, "myapp", "myapp", 1).await
        })
        .await?;
    let other_cluster = session.cluster("dev-eu-west-1").await?;
    let waits = session
        .expect("dev-eu-west-1 waits and keeps what it has", async || {
            image_is(&other_cluster, "orders", &good).await
        })
        .await?;
    let commit = session
        .push_tag(
            "orders",
            "dev",
            &good,
            &format!("Revert \"orders {broken} in dev\""),
        )
        .await?;
    session.say(&format!("pushed {commit}: back to {good}"));
    let healed = session.expect_converged().await?;
    Ok(worst([old_serves, other, waits, healed]))
}
