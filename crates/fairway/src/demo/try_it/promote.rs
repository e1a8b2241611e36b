//! Promote by a commit, roll back by its revert.

use super::session::Session;
use crate::args::{CommitArgs, PromoteArgs, RollbackArgs};
use crate::commands::promotion;
use crate::exit::Outcome;

/// Promotes myapp from dev to staging and rolls it back, as the commands do.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let before = session.tag("myapp", "staging").await?;
    let next = session.tag("myapp", "dev").await?;
    if before == next {
        let tag = session.next_tag("myapp", "dev").await?;
        session
            .push_tag("myapp", "dev", &tag, &format!("myapp {tag} in dev"))
            .await?;
    }
    let next = session.tag("myapp", "dev").await?;
    let commit = CommitArgs {
        repo: Some(session.running().url.clone()),
        branch: Some(session.running().branch.clone()),
        author: Some("Fairway demo <demo@fairway.dev>".into()),
        dry_run: false,
    };
    let args = PromoteArgs {
        app: "myapp".into(),
        to: "staging".into(),
        from: None,
        tag: None,
        image: None,
        commit: commit.clone(),
    };
    promotion::promote_in(args, None).await?;
    let promoted = session.expect_image("myapp", "staging", &next).await?;
    let args = RollbackArgs {
        app: "myapp".into(),
        stage: "staging".into(),
        revert: None,
        commit,
    };
    promotion::rollback_in(args, None).await?;
    let back = session.expect_image("myapp", "staging", &before).await?;
    let converged = session.expect_converged().await?;
    Ok([promoted, back, converged]
        .into_iter()
        .find(|outcome| *outcome != Outcome::Done)
        .unwrap_or(Outcome::Done))
}
