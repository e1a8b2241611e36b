//! Whole processes, side by side with the reference's.

use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::files::{self, ENVIRONMENTS, REGIONS, cluster_path, overlay};
use crate::{fastest, milliseconds, times};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What one run took and printed.
struct Run {
    peak_kib: u64,
    output: Vec<u8>,
}

pub(crate) fn compare(binary: &Path, reference: &Path, apps: usize, rounds: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    println!(
        "{:24} {:>12} {:>10} {:>12} {:>10} {:>7} {:>7}",
        "whole process", "reference", "memory", "fairway", "memory", "faster", "smaller"
    );
    let row = |name: &str, root: &Path, paths: &[String], rounds: (usize, usize)| -> Result<()> {
        let (slow, theirs) = fastest(rounds.0, || run_all(reference, "kustomize", root, paths))?;
        let (fast, ours) = fastest(rounds.1, || run_all(binary, "build", root, paths))?;
        if theirs.output != ours.output {
            return Err(format!("{name}: the outputs differ").into());
        }
        print_row(name, slow, theirs.peak_kib, fast, ours.peak_kib);
        Ok(())
    };
    for count in [10, 50, apps] {
        let root = directory.path().join(count.to_string());
        for (path, text) in files::fleet(count) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().ok_or("a file has a folder")?)?;
            fs::write(path, text)?;
        }
        if count == 10 {
            let small = [overlay(0, "prod", "ams")];
            row("one overlay", &root, &small, (rounds, rounds * 4))?;
        }
        let one = [cluster_path("prod", "ams")];
        let slow_rounds = if count > 50 { 1 } else { rounds };
        row(
            &format!("a cluster of {count} apps"),
            &root,
            &one,
            (slow_rounds, rounds),
        )?;
        if count == apps {
            let all: Vec<String> = ENVIRONMENTS
                .iter()
                .flat_map(|environment| REGIONS.map(|region| cluster_path(environment, region)))
                .collect();
            row("all nine clusters", &root, &all, (1, rounds))?;
        }
    }
    Ok(())
}

fn print_row(name: &str, slow: Duration, slow_kib: u64, fast: Duration, fast_kib: u64) {
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    println!(
        "{name:24} {:>12} {:>10} {:>12} {:>10} {:>7} {:>6.1}×",
        milliseconds(slow),
        mib(slow_kib),
        milliseconds(fast),
        mib(fast_kib),
        times(slow, fast),
        slow_kib as f64 / fast_kib.max(1) as f64
    );
}

/// The builds one after the other; the most memory that any of them took.
fn run_all(program: &Path, verb: &str, root: &Path, paths: &[String]) -> Result<Run> {
    let mut all = Run {
        peak_kib: 0,
        output: Vec::new(),
    };
    for path in paths {
        let run = run(program, verb, &root.join(path))?;
        all.peak_kib = all.peak_kib.max(run.peak_kib);
        all.output.extend(run.output);
    }
    Ok(all)
}

fn run(program: &Path, verb: &str, path: &Path) -> Result<Run> {
    let mut child = Command::new(program)
        .arg(verb)
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("can't start {}: {error}", program.display()))?;
    let status = format!("/proc/{}/status", child.id());
    let mut stdout = child.stdout.take().ok_or("the output is piped")?;
    let mut output = Vec::new();
    let mut piece = vec![0; 1 << 20];
    let mut peak_kib = 0;
    // The peak is still to be read as long as the process writes: it has done all its work by then.
    loop {
        let count = stdout.read(&mut piece)?;
        peak_kib = peak_kib.max(peak(&status));
        if count == 0 {
            break;
        }
        output.extend_from_slice(&piece[..count]);
    }
    let done = child.wait()?;
    if !done.success() {
        return Err(format!("{} {verb} {}: {done}", program.display(), path.display()).into());
    }
    Ok(Run { peak_kib, output })
}

/// `VmHWM`, the most memory that the process held so far; zero where the system does not tell.
fn peak(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or_default()
}
