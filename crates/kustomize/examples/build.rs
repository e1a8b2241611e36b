//! Builds the kustomization of a directory and prints it: `build DIR [--order none]
//! [--load-restrictor LoadRestrictionsNone]`.

use std::io::Write as _;
use std::process::ExitCode;

use fairway_kustomize::{DiskTree, LoadRestrictor, Options, Order, render};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::default();
    let mut dir = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || {
            value
                .clone()
                .or_else(|| args.next())
                .ok_or("a value is missing")
        };
        match name.as_str() {
            "--order" if value()? == "none" => options.order = Order::None,
            "--load-restrictor" if value()? == "LoadRestrictionsNone" => {
                options.load_restrictor = LoadRestrictor::None;
            }
            "--flux" => options = Options::flux(),
            name if name.starts_with("--") => {}
            _ => dir = Some(name),
        }
    }
    let dir = std::fs::canonicalize(dir.ok_or("name the directory to build")?)?;
    let tree = DiskTree::new("/")?;
    let path = dir
        .to_str()
        .ok_or("the path is not UTF-8")?
        .trim_start_matches('/');
    let built = render(&tree, path, &options)?;
    for warning in &built.warnings {
        eprintln!("Warning: {warning}");
    }
    std::io::stdout().write_all(built.yaml.as_bytes())?;
    Ok(())
}
