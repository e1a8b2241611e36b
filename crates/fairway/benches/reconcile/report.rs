//! The table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Run;
use crate::engine::Kind;
use crate::measure::Counted;

/// One phase of one run.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) run: Run,
    pub(crate) phase: &'static str,
    pub(crate) took: Duration,
    /// How many Kustomizations got there.
    pub(crate) count: usize,
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// Bytes at the peak, since the start.
    pub(crate) memory: u64,
    pub(crate) counted: Counted,
}

/// What Kustomizations consist of here, and what the engines write besides.
const MANAGED: [&str; 4] = ["serviceaccounts", "services", "deployments", "ingresses"];
const OBJECTS: f64 = MANAGED.len() as f64;

impl Row {
    /// Requests about managed objects, for each: (applies, dry-runs, anything else).
    fn per_object(&self) -> (f64, f64, f64) {
        let mut sums = (0, 0, 0);
        for ((verb, resource), count) in &self.counted.requests {
            if !MANAGED.contains(&resource.as_str()) {
                continue;
            }
            match verb.as_str() {
                "APPLY" => sums.0 += count,
                "APPLY dry" => sums.1 += count,
                "WATCH" | "LIST" => {}
                _ => sums.2 += count,
            }
        }
        let share = |sum: u64| sum as f64 / (self.run.n as f64 * OBJECTS);
        (share(sums.0), share(sums.1), share(sums.2))
    }

    /// Requests about each Kustomization: (status patches, others but for what the bench itself sent, events).
    fn per_kustomization(&self) -> (f64, f64, f64) {
        let sum = |wanted: &str, verbs: &[&str]| -> u64 {
            let requests = self.counted.requests.iter();
            requests
                .filter(|((verb, resource), _)| {
                    resource == wanted && verbs.contains(&verb.as_str())
                })
                .map(|(_, count)| count)
                .sum()
        };
        let writes = ["APPLY", "PATCH", "PUT", "POST", "GET"];
        let n = self.run.n as f64;
        // Created in the first phase, patched in the second.
        let own = if self.phase == "no-op" { 0.0 } else { 1.0 };
        (
            sum("kustomizations/status", &writes) as f64 / n,
            (sum("kustomizations", &writes) as f64 / n - own).max(0.0),
            sum("events", &writes) as f64 / n,
        )
    }

    pub(crate) fn line(&self) -> String {
        let (applies, dry, other) = self.per_object();
        let (status, metadata, events) = self.per_kustomization();
        format!(
            "{:>5} {:<8} {:<7} {:<8} {:>8.2}s  cpu {:>7.2}s  api cpu {:>7.2}s  peak {:>6.1} MB  object: {applies:.2} applies {dry:.2} dry-runs {other:.2} other  \
             Kustomization: {status:.2} status {metadata:.2} metadata {events:.2} events",
            self.run.n,
            self.run.engine.name(),
            mode(self.run.wait),
            self.phase,
            self.took.as_secs_f64(),
            self.cpu,
            self.counted.cpu,
            self.memory as f64 / 1e6,
        )
    }
}

fn mode(wait: bool) -> &'static str {
    if wait { "wait" } else { "no wait" }
}

/// All phases of all runs.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn failed(&mut self, run: Run, error: &anyhow::Error) {
        self.failures.push(format!(
            "{} with {} ({}): {error:#}",
            run.engine.name(),
            run.n,
            mode(run.wait)
        ));
    }

    /// The same phase by another engine.
    fn other(&self, row: &Row, engine: Kind) -> Option<f64> {
        let other = self.rows.iter().find(|other| {
            other.run.engine == engine
                && other.phase == row.phase
                && other.run.n == row.run.n
                && other.run.wait == row.run.wait
        })?;
        let complete = other.count >= other.run.n && row.count >= row.run.n;
        (complete && !row.took.is_zero()).then(|| other.took.as_secs_f64() / row.took.as_secs_f64())
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| N | mode | phase | engine | time | × bound | Flux takes | CPU | API server CPU | peak memory | per object: apply / dry-run / other | per Kustomization: status / metadata / events |\n\
             |--:|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        let order = |phase: &str| {
            ["install", "upgrade", "no-op"]
                .iter()
                .position(|p| *p == phase)
        };
        rows.sort_by_key(|row| (row.run.n, !row.run.wait, order(row.phase)));
        for row in rows {
            let (applies, dry, other) = row.per_object();
            let (status, metadata, events) = row.per_kustomization();
            let bound = self
                .other(row, Kind::Bound)
                .map_or_else(|| "–".to_owned(), |ratio| format!("{:.2}", 1.0 / ratio));
            let flux = match row.run.engine {
                Kind::Fairway => self.other(row, Kind::Flux),
                _ => None,
            };
            let flux = flux.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.1} ×"));
            let time = if row.count < row.run.n {
                format!("> limit ({} of {})", row.count, row.run.n)
            } else {
                format!("{:.2} s", row.took.as_secs_f64())
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {time} | {bound} | {flux} | {:.2} s | {:.2} s | {:.0} MB | {applies:.2} / {dry:.2} / {other:.2} | {status:.2} / {metadata:.2} / {events:.2} |",
                row.run.n,
                mode(row.run.wait),
                row.phase,
                row.run.engine.name(),
                row.cpu,
                row.counted.cpu,
                row.memory as f64 / 1e6,
            );
        }
        for failure in &self.failures {
            let _ = writeln!(text, "\nNot complete: {failure}");
        }
        text
    }
}
