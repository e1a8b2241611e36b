//! What a phase costs: processor time and memory of processes, requests that the API server counted.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::api::Api;

/// Processor time in seconds, of a process and of what it started and waited for.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything.
    let rest = stat.rsplit_once(") ").context("an odd stat file")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let mut ticks = 0;
    // utime, stime, cutime, cstime
    for field in fields.get(11..15).context("a short stat file")? {
        ticks += field.parse::<u64>()?;
    }
    // USER_HZ is 100 on every architecture that Linux runs on today.
    Ok(ticks as f64 / 100.0)
}

/// The most memory that a process ever held, in bytes.
pub(crate) fn peak_memory(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// What a request is: verb (`APPLY` is server-side apply) with `dry` where nothing was stored, and resource.
pub(crate) type Request = (String, String);

/// What the API server has counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) requests: BTreeMap<Request, u64>,
    /// Processor time of the API server itself, in seconds.
    pub(crate) cpu: f64,
}

impl Counted {
    pub(crate) async fn read(api: &Api) -> Result<Self> {
        let text = api.text("/metrics").await?;
        let mut counted = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("apiserver_request_total{") {
                let Some((labels, value)) = rest.rsplit_once("} ") else {
                    continue;
                };
                let label = |name: &str| label(labels, name).unwrap_or_default();
                let mut verb = label("verb").to_owned();
                if !label("dry_run").is_empty() {
                    verb.push_str(" dry");
                }
                let mut resource = label("resource").to_owned();
                if !label("subresource").is_empty() {
                    resource.push('/');
                    resource.push_str(label("subresource"));
                }
                let count = value.parse::<f64>().unwrap_or_default() as u64;
                *counted.requests.entry((verb, resource)).or_default() += count;
            } else if let Some(value) = line.strip_prefix("process_cpu_seconds_total ") {
                counted.cpu = value.parse().unwrap_or_default();
            }
        }
        Ok(counted)
    }

    /// What was counted since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut requests = BTreeMap::new();
        for (request, count) in &self.requests {
            let more = count
                - before
                    .requests
                    .get(request)
                    .copied()
                    .unwrap_or(0)
                    .min(*count);
            if more > 0 {
                requests.insert(request.clone(), more);
            }
        }
        Self {
            requests,
            cpu: self.cpu - before.cpu,
        }
    }
}

fn label<'t>(labels: &'t str, name: &str) -> Option<&'t str> {
    let start = labels.find(&format!("{name}=\""))?;
    // `resource` is also the end of `subresource`.
    if start > 0 && !labels[..start].ends_with(',') {
        let rest = &labels[start + name.len()..];
        return label(rest, name);
    }
    let value = &labels[start + name.len() + 2..];
    value.split_once('"').map(|(value, _)| value)
}
