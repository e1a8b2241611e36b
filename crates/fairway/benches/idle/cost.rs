//! What an idle process costs: read from `/proc`, and from `ss` where that is there.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a process holds, and what it does in a minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    sockets: f64,
    /// Bytes of memory in use.
    memory: f64,
    /// Seconds of processor time a minute.
    cpu: f64,
    /// Bytes received a minute; unknown without `ss`.
    received: Option<f64>,
}

impl Cost {
    /// Looks at a process for some time.
    pub(crate) async fn over(pid: i32, time: Duration) -> Result<Self> {
        let (cpu, received) = (cpu_seconds(pid)?, received(pid));
        tokio::time::sleep(time).await;
        let minutes = time.as_secs_f64() / 60.0;
        let later = self::received(pid);
        Ok(Self {
            sockets: sockets(pid)? as f64,
            memory: memory(pid)? as f64,
            cpu: (cpu_seconds(pid)? - cpu) / minutes,
            received: received
                .zip(later)
                .map(|(before, after)| after.saturating_sub(before) as f64 / minutes),
        })
    }

    pub(crate) fn columns(&self) -> String {
        let received = self
            .received
            .map_or_else(|| "?".to_owned(), |bytes| format!("{:.1} kB", bytes / 1e3));
        format!(
            "{:.2} | {:.2} MB | {:.3} s | {received}",
            self.sockets,
            self.memory / 1e6,
            self.cpu
        )
    }

    /// The columns for one of so many clusters that came on top.
    pub(crate) fn further(&self, base: &Self, clusters: usize) -> String {
        let share = |now: f64, then: f64| (now - then) / clusters.max(1) as f64;
        Self {
            sockets: share(self.sockets, base.sockets),
            memory: share(self.memory, base.memory),
            cpu: share(self.cpu, base.cpu),
            received: self
                .received
                .zip(base.received)
                .map(|(now, then)| share(now, then)),
        }
        .columns()
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.columns())
    }
}

fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(") ").context("an odd stat file")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let mut ticks = 0;
    for field in fields.get(11..15).context("a short stat file")? {
        ticks += field.parse::<u64>()?;
    }
    // USER_HZ is 100 on every architecture that Linux runs on today.
    Ok(ticks as f64 / 100.0)
}

fn memory(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kilobytes * 1024)
}

fn sockets(pid: i32) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is closed meanwhile does not count.
        let target = std::fs::read_link(entry?.path()).unwrap_or_default();
        count += usize::from(target.to_string_lossy().starts_with("socket:"));
    }
    Ok(count)
}

/// Bytes that the open connections of the process have received so far.
fn received(pid: i32) -> Option<u64> {
    let output = Command::new("ss").args(["-tinpH"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut sum = 0;
    let mut is_ours = false;
    // A line that names the process, then an indented one with numbers.
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            is_ours = line.contains(&format!("pid={pid},"));
        }
        if is_ours && let Some((_, rest)) = line.split_once("bytes_received:") {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            sum += number.parse::<u64>().unwrap_or(0);
        }
    }
    Some(sum)
}
