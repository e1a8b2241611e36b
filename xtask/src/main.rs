//! Project tasks: `cargo xtask TASK [ARGS]`.

mod bench;
mod crds;
mod deps;
mod e2e;
mod envtest;
mod protobuf;
mod schemas;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["bench-idle", rest @ ..] => bench::run("idle", rest),
        ["bench-kustomize", rest @ ..] => bench::kustomize(rest),
        ["bench-reconcile", rest @ ..] => bench::run("reconcile", rest),
        ["crds", rest @ ..] => crds::run(rest),
        ["deps"] => deps::run(),
        ["e2e", rest @ ..] => e2e::run(rest),
        ["envtest", rest @ ..] => envtest::run(rest),
        ["protobuf", rest @ ..] => protobuf::run(rest),
        ["schemas", rest @ ..] => schemas::run(rest),
        _ => {
            eprintln!(
                "usage: cargo xtask crds [--check] | schemas [--check] | protobuf [--check] | deps | envtest [--flux] | e2e [NAME] | bench-reconcile | bench-idle | bench-kustomize"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
