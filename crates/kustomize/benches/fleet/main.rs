//! `cargo bench -p fairway-kustomize`: what builds of a fleet cost (apps × 3 environments × 3 regions).
//!
//! In process: cold, with what bases came to shared between builds, and after a commit that touches one app. With
//! `-- --binary PATH` (as `cargo xtask bench-kustomize` runs it): whole processes of that binary's `build DIR`, side by
//! side with those of `kubectl kustomize DIR`, and whether they print the same.

mod files;
mod process;
mod within;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the command line asks for.
struct Arguments {
    /// The apps of the largest fleet.
    apps: usize,
    /// The binary to compare with the reference.
    binary: Option<PathBuf>,
    /// The reference: a program that takes `kustomize DIR`.
    reference: PathBuf,
    /// How often everything is measured; the fastest counts.
    rounds: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut out = Arguments {
        apps: 200,
        binary: None,
        reference: "kubectl".into(),
        rounds: 5,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| {
            text.parse()
                .map_err(|_| format!("{text:?} is not a number"))
        };
        match word.as_str() {
            "--apps" => out.apps = number(value()?)?,
            "--rounds" => out.rounds = number(value()?)?,
            "--binary" => out.binary = Some(value()?.into()),
            "--reference" => out.reference = value()?.into(),
            // Cargo says so.
            "--bench" => {}
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    if out.apps == 0 || out.rounds == 0 {
        return Err("--apps and --rounds start at 1".to_owned());
    }
    Ok(out)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    match &arguments.binary {
        Some(binary) => process::compare(
            binary,
            &arguments.reference,
            arguments.apps,
            arguments.rounds,
        ),
        None => within::measure(arguments.apps, arguments.rounds),
    }
}

/// The shortest of several runs.
fn fastest<T>(
    rounds: usize,
    mut run: impl FnMut() -> Result<T, Box<dyn std::error::Error>>,
) -> Result<(Duration, T), Box<dyn std::error::Error>> {
    let mut best: Option<(Duration, T)> = None;
    for _ in 0..rounds {
        let begun = Instant::now();
        let made = run()?;
        let took = begun.elapsed();
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, made));
        }
    }
    best.ok_or_else(|| "nothing was measured".into())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

fn times(slow: Duration, fast: Duration) -> String {
    format!("{:.0}×", slow.as_secs_f64() / fast.as_secs_f64())
}
