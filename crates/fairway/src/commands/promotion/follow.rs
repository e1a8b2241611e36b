//! Waiting for a Promotion, and saying what happens meanwhile.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use fairway_types::promotion::{Phase, PromotionStatus};
use futures::StreamExt as _;
use indicatif::ProgressBar;
use kube::Client;
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::watch_object;

use super::news::news;
use super::objects::promotions;
use crate::exit::{Hinted, Outcome};
use crate::output::{cut, seconds};

/// How waiting for a Promotion ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It ended.
    Finished(Box<PromotionStatus>),
    /// The time was over first.
    TimedOut,
}

impl End {
    /// 0 for what succeeded, else 1.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Finished(status) if status.phase == Phase::Succeeded => Outcome::Done,
            Self::Finished(_) | Self::TimedOut => Outcome::NotSo,
        }
    }
}

/// Prints what happens to a Promotion until it has ended: each step a line with the time since the beginning.
pub(crate) async fn follow(
    client: &Client,
    namespace: &str,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<End> {
    let started = Instant::now();
    let shown = Lines::new(started);
    let mut before = PromotionStatus::default();
    let found = until(client, namespace, name, timeout, |status| {
        for line in news(&before, status) {
            shown.say(&line);
        }
        shown.waits(status);
        before = status.clone();
        status.phase.is_final()
    })
    .await?;
    let status = found.unwrap_or(before);
    if !status.phase.is_final() {
        shown.say(&format!(
            "still {} after {}; it goes on by itself: fairway pipeline status --watch",
            status.phase,
            seconds(timeout)
        ));
        return Ok(End::TimedOut);
    }
    shown.say(&verdict(&status));
    Ok(End::Finished(Box::new(status)))
}

fn verdict(status: &PromotionStatus) -> String {
    let to = status.to.as_deref().unwrap_or("the version");
    let from = status.from.as_deref().unwrap_or("the version before");
    match status.phase {
        Phase::Succeeded => format!("✔ {to} is verified"),
        Phase::RolledBack => format!("✗ {to} failed, and {from} is back"),
        phase => format!("✗ {phase}"),
    }
}

/// Watches a Promotion until `is_so` holds for its status; that status, or none when the time is over first.
pub(crate) async fn until(
    client: &Client,
    namespace: &str,
    name: &str,
    timeout: Duration,
    mut is_so: impl FnMut(&PromotionStatus) -> bool,
) -> anyhow::Result<Option<PromotionStatus>> {
    let api = promotions(client, namespace);
    // The first answer comes as an error of its own: a watch would try for ever what is forbidden.
    let now = super::objects::promotion(client, namespace, name).await?;
    let status = now.status.unwrap_or_default();
    if is_so(&status) {
        return Ok(Some(status));
    }
    let mut stream = std::pin::pin!(watch_object(api, name).default_backoff());
    let end = tokio::time::sleep(timeout);
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            next = stream.next() => match next {
                Some(Ok(Some(promotion))) => {
                    let status = promotion.status.unwrap_or_default();
                    if is_so(&status) {
                        return Ok(Some(status));
                    }
                }
                Some(Ok(None)) => {
                    return Err(Hinted::new(
                        format!("the Promotion {namespace}/{name} was deleted"),
                        "`fairway audit` has what happened to it",
                    )
                    .into());
                }
                Some(Err(error)) => tracing::debug!(%error, "watch interrupted"),
                None => anyhow::bail!("the watch of the Promotion {namespace}/{name} ended"),
            },
            () = &mut end => return Ok(None),
        }
    }
}

/// Lines with a time; on a terminal also what is waited for, below them.
struct Lines {
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Lines {
    fn new(started: Instant) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { started, bar }
    }

    fn say(&self, line: &str) {
        let line = format!("{:>7}  {line}", seconds(self.started.elapsed()));
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    fn waits(&self, status: &PromotionStatus) {
        if let Some(bar) = &self.bar {
            bar.set_message(cut(&waits_for(status), 90));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// What a Promotion waits for, in short.
pub(crate) fn waits_for(status: &PromotionStatus) -> String {
    if let Some(message) = super::news::attention(status) {
        return message;
    }
    let pending = |checks: &[fairway_types::Evidence]| {
        checks
            .iter()
            .find(|check| !check.passed())
            .map(|check| format!("{}: {}", check.name, check.message))
    };
    let found = match status.phase {
        Phase::Gating => pending(&status.gates),
        Phase::Committing => status
            .pull_request
            .as_ref()
            .map(|request| format!("pull request {}", request.url)),
        Phase::RollingOut | Phase::Verifying => status
            .progress
            .as_ref()
            .and_then(|progress| progress.waiting.first())
            .map(|trouble| format!("{}: {}", trouble.cluster, trouble.message))
            .or_else(|| pending(&status.verification)),
        _ => None,
    };
    found.unwrap_or_else(|| status.phase.to_string())
}
