//! A pushed commit rolls out.

use super::session::Session;
use crate::exit::Outcome;

/// Pushes the next patch version of myapp to dev and waits until every dev cluster runs it.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let tag = session.next_tag("myapp", "dev").await?;
    let commit = session
        .push_tag("myapp", "dev", &tag, &format!("myapp {tag} in dev"))
        .await?;
    session.say(&format!("pushed {commit}: myapp {tag} in dev"));
    let outcome = session.expect_image("myapp", "dev", &tag).await?;
    if outcome == Outcome::Done {
        return session.expect_converged().await;
    }
    Ok(outcome)
}
