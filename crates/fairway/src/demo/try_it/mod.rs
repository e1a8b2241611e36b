//! `fairway demo try`: each printed next step, done and checked against the running demo.

mod breakage;
mod change;
mod drift;
mod outage;
mod promote;
mod rollback;
mod session;

use std::time::Duration;

use super::place::Running;
use crate::args::{Scenario, TryArgs, TryWhat};
use crate::exit::Outcome;
use session::Session;

/// Runs the step; 0 when what was expected happened, 1 when it did not within the timeout.
pub(crate) async fn run(args: TryArgs) -> anyhow::Result<Outcome> {
    let running = Running::find(args.demo.as_deref())?;
    let mut session = Session::open(running, args.timeout).await?;
    match args.what {
        TryWhat::Drift => drift::run(&mut session).await,
        TryWhat::Change => change::run(&mut session).await,
        TryWhat::Break => breakage::run(&mut session).await,
        TryWhat::Outage => outage::run(&mut session).await,
        TryWhat::Promote => promote::run(&mut session).await,
        TryWhat::Rollback => rollback::run(&mut session).await,
    }
}

/// Plays a scenario in the demo that runs in this process.
pub(crate) async fn scenario(
    running: Running,
    scenario: Scenario,
    timeout: Duration,
) -> anyhow::Result<Outcome> {
    let mut session = Session::open(running, timeout).await?;
    match scenario {
        Scenario::Promote => promote::run(&mut session).await,
        Scenario::Rollback => rollback::run(&mut session).await,
    }
}

/// The first of several outcomes that is not as expected.
fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    outcomes
        .into_iter()
        .find(|outcome| *outcome != Outcome::Done)
        .unwrap_or(Outcome::Done)
}
