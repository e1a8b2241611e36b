//! A pushed commit rolls out.

use super::session::Session;
use crate::exit::Outcome;

/// Pushes the next patch version of orders, which has no Pipeline, to dev and waits until every dev cluster runs it.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let tag = session.next_tag("orders", "dev").await?;
    let commit = session
        .push_tag("orders", "dev", &tag, &format!("orders {tag} in dev"))
        .await?;
    session.say(&format!("pushed {commit}: orders {tag} in dev"));
    let outcome = session.expect_image("orders", "dev", &tag).await?;
    if outcome == Outcome::Done {
        return session.expect_converged().await;
    }
    Ok(outcome)
}
