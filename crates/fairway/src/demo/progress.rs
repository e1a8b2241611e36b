//! Live progress until the fleet has converged: a bar on a terminal, lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::MANAGEMENT;
use super::view::Snapshot;
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

    /// Waits until every Kustomization has applied `revision`; false when the time is over first.
    pub(crate) async fn until_converged(
        &mut self,
        view: &mut LiveView,
        revision: &str,
        timeout: Duration,
    ) -> bool {
        let converged = view
            .until(timeout, |snapshot| {
                self.show(snapshot, revision);
                snapshot.is_converged(revision).then_some(())
            })
            .await;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        converged.is_some()
    }

    fn show(&mut self, snapshot: &Snapshot, revision: &str) {
        let (ready, all) = snapshot.progress(Some(revision));
        let units = snapshot.units();
        let names = snapshot
            .clusters
            .iter()
            .filter_map(|cluster| cluster["metadata"]["name"].as_str());
        for name in names.chain([MANAGEMENT]) {
            let of: Vec<_> = units
                .iter()
                .filter(|unit| unit.cluster.as_deref().unwrap_or(MANAGEMENT) == name)
                .collect();
            let complete = of.len()
                >= if name == MANAGEMENT {
                    1
                } else {
                    snapshot.fleets.len().max(1)
                };
            if complete && of.iter().all(|unit| unit.is_at(revision)) {
                let took = self.started.elapsed();
                self.done.entry(name.to_owned()).or_insert(took);
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
