//! Promote by a commit, roll back by its revert.

use super::session::Session;
use crate::args::{CommitArgs, PromoteArgs, RequestArgs, RollbackArgs};
use crate::commands::promotion::direct;
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
        name: "myapp".into(),
        stage: Some("staging".into()),
        version: None,
        request: RequestArgs::default(),
        from: None,
        image: None,
        commit: commit.clone(),
    };
    direct::promote(args, None).await?;
    let promoted = session.expect_image("myapp", "staging", &next).await?;
    let args = RollbackArgs {
        name: "myapp".into(),
        stage: "staging".into(),
        to: None,
        revert: None,
        restore: None,
        request: RequestArgs::default(),
        commit,
    };
    direct::rollback(args, None).await?;
    let back = session.expect_image("myapp", "staging", &before).await?;
    let converged = session.expect_converged().await?;
    Ok([promoted, back, converged]
        .into_iter()
        .find(|outcome| *outcome != Outcome::Done)
        .unwrap_or(Outcome::Done))
}
