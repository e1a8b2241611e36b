//! Live progress until the fleet has converged: a bar on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::MANAGEMENT;
use super::goal::Goal;
use super::view::{Held, Snapshot};
use super::watch::LiveView;
use crate::output::seconds;

/// Shows the progress and keeps when each cluster was done.
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    last: String,
    done: BTreeMap<String, Duration>,
}

impl Progress {
    /// Time counts from `started`.
    pub(crate) fn new(started: Instant) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            started,
            bar,
            last: String::new(),
            done: BTreeMap::new(),
        }
    }

    /// Waits until every Kustomization has reached the goal; false when the time is over first.
    pub(crate) async fn until_converged(
        &mut self,
        view: &mut LiveView,
        goal: &Goal,
        timeout: Duration,
    ) -> bool {
        let converged = view
            .until(timeout, |snapshot| {
                self.show(snapshot, goal);
                goal.is_reached(snapshot).then_some(())
            })
            .await;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        converged.is_some()
    }

    fn show(&mut self, snapshot: &Snapshot, goal: &Goal) {
        let (ready, all) = goal.progress(snapshot);
        let units = snapshot.units();
        let names = snapshot.clusters.iter().map(Held::name);
        for name in names.chain([MANAGEMENT]) {
            let of: Vec<_> = units.iter().filter(|unit| unit.target() == name).collect();
            let least = if name == MANAGEMENT || !goal.is_reference {
                1
            } else {
                snapshot.fleets.len().max(1)
            };
            if of.len() >= least && of.iter().all(|unit| goal.is_done(snapshot, unit)) {
                let took = self.started.elapsed();
                self.done.entry(name.to_owned()).or_insert(took);
            } else if !goal.is_reference {
                // More Kustomizations may come with those that are done.
                self.done.remove(name);
            }
        }
        let clusters = self.done.keys().filter(|name| *name != MANAGEMENT).count();
        let message = format!(
            "Kustomizations ready, {clusters}/{} clusters",
            snapshot.clusters.len()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_length(all as u64);
                bar.set_position(ready as u64);
                bar.set_message(message);
            }
            None => {
                let line = format!("{ready}/{all} {message}");
                if line != self.last {
                    println!("{:>7}  {line}", seconds(self.started.elapsed()));
                    self.last = line;
                }
            }
        }
    }

    /// When each cluster was done, from the start.
    pub(crate) fn times(&self) -> &BTreeMap<String, Duration> {
        &self.done
    }
}
