//! `fairway demo try`: each printed next step, done and checked against the running demo.

mod breakage;
mod change;
mod drift;
mod outage;
mod promote;
mod session;

use crate::args::{TryArgs, TryWhat};
use crate::exit::Outcome;
use session::Session;

/// Runs the step; 0 when what was expected happened, 1 when it did not within the timeout.
pub(crate) async fn run(args: TryArgs) -> anyhow::Result<Outcome> {
    let mut session = Session::open(&args).await?;
    match args.what {
        TryWhat::Drift => drift::run(&mut session).await,
        TryWhat::Change => change::run(&mut session).await,
        TryWhat::Break => breakage::run(&mut session).await,
        TryWhat::Outage => outage::run(&mut session).await,
        TryWhat::Promote => promote::run(&mut session).await,
    }
}
