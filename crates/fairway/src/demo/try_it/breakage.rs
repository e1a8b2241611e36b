//! A version that never becomes ready is contained, named and healed by its revert.

use super::session::{Session, is_available};
use crate::exit::Outcome;

/// Pushes a broken version of myapp to dev, sees it contained, and reverts it.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let good = session.tag("myapp", "dev").await?;
    let broken = format!("{}-broken", session.next_tag("myapp", "dev").await?);
    let commit = session
        .push_tag("myapp", "dev", &broken, &format!("myapp {broken} in dev"))
        .await?;
    session.say(&format!(
        "pushed {commit}: myapp {broken} in dev, an image that never becomes ready"
    ));
    let seen = session
        .expect_view(
            "apps-dev-* are not Ready and name the Deployment",
            |snapshot| {
                let units = snapshot.units();
                let mut dev = units
                    .iter()
                    .filter(|unit| unit.name.starts_with("apps-dev-"))
                    .peekable();
                dev.peek().is_some()
                    && dev.all(|unit| {
                        !unit.readiness.is_ready()
                            && unit.readiness.message.contains("Deployment/myapp/myapp")
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
            is_available(&client, "myapp", "myapp", 1).await
        })
        .await?;
    let other = session
        .expect("orders of the same cluster is not touched", async || {
            is_available(&client, "orders", "orders", 1).await
        })
        .await?;
    let commit = session
        .push_tag(
            "myapp",
            "dev",
            &good,
            &format!("Revert \"myapp {broken} in dev\""),
        )
        .await?;
    session.say(&format!("pushed {commit}: back to {good}"));
    let healed = session.expect_converged().await?;
    Ok([old_serves, other, healed]
        .into_iter()
        .find(|outcome| *outcome != Outcome::Done)
        .unwrap_or(Outcome::Done))
}
